// What applications do with a connection that stays: subscribe, publish, read.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { before, test } from "node:test";
import { promisify } from "node:util";
import { connect } from "./connect.mjs";
import { AUTH, journal, record, startNode, token, until } from "./nodes.mjs";

let node;
before(async () => { node = await startNode(); });

test("a handler gets what is published, with the fields of the publication", async () => {
  const client = connect(node.url);
  const got = [];
  client.subscribe("kept:1", (publication) => got.push(publication));
  const { position } = await client.publish("kept:1", { any: "json" });
  assert.match(position, /-1$/);
  await until("the publication", () => got.length);
  assert.deepEqual(got[0].data, { any: "json" });
  assert.equal(got[0].channel, "kept:1");
  assert.equal(got[0].position, position);
  client.close();
});

test("an iterator gets publications in order and ends at close", async () => {
  const client = connect(node.url);
  const subscription = client.subscribe("news");
  const got = [];
  const done = (async () => { for await (const { data } of subscription) { got.push(data); } })();
  for (const n of [1, 2, 3]) await client.publish("news", n);
  await until("all", () => got.length == 3);
  client.close();
  await done;
  assert.deepEqual(got, [1, 2, 3]);
});

test("publications that arrive before the handler or the iterator are not lost", async () => {
  const client = connect(node.url);
  const late = client.subscribe("early");
  await client.publish("early", 1);
  await client.publish("early", 2);
  const got = [];
  late.on("publication", ({ data }) => got.push(data));
  assert.deepEqual(got, [1, 2]);
  client.close();
});

test("leaving an iterator unsubscribes", async () => {
  const client = connect(node.url);
  const subscription = client.subscribe("left");
  await client.publish("left", 1);
  for await (const _ of subscription) break;
  const again = journal(client.subscribe("left"));
  await again.until("subscribed");
  assert.deepEqual(again.of("gap"), []);
  client.close();
});

test("binary stays binary, text stays text, and any JSON comes back as it was", async () => {
  const client = connect(node.url);
  const got = [];
  client.subscribe("kinds", (publication) => got.push(publication));
  const bytes = Uint8Array.from({ length: 20_000 }, (_, at) => at);
  await client.publish("kinds", Uint8Array.of(0xff, 0xfe, 0));
  await client.publish("kinds", bytes.buffer);
  await client.publish("kinds", "no {json", { text: true });
  for (const value of ["a text", null, 0, false, [1, { a: "ü" }]]) await client.publish("kinds", value);
  await until("all", () => got.length == 8);
  assert.deepEqual(got[0].bytes, Uint8Array.of(0xff, 0xfe, 0));
  assert.deepEqual(got[1].bytes, bytes);
  assert.equal(got[2].text, "no {json");
  assert.deepEqual(got.slice(3).map(({ data }) => data), ["a text", null, 0, false, [1, { a: "ü" }]]);
  client.close();
});

test("two subscriptions of one channel share one, and the other goes on when one ends", async () => {
  const client = connect(node.url);
  const [one, two] = [journal(client.subscribe("shared")), journal(client.subscribe("shared"))];
  await Promise.all([one.until("subscribed"), two.until("subscribed")]);
  const third = client.subscribe("shared");
  const three = journal(third);
  await client.publish("shared", 1);
  third.unsubscribe();
  await client.publish("shared", 2);
  await two.until("publication", 2);
  assert.deepEqual([one.data, two.data, three.data], [[1, 2], [1, 2], [1]]);
  client.close();
});

test("a subscription that joins a channel late gets the past that it asks for, once, before the present", async () => {
  const client = connect(node.url);
  const first = journal(client.subscribe("kept:late"));
  const publications = [];
  const publish = (n) => publications.push(client.publish("kept:late", n));
  for (let n = 1; n <= 30; n++) publish(n);
  await first.until("publication", 10);
  const late = journal(client.subscribe("kept:late", { last: 5 }));
  const since = journal(client.subscribe("kept:late", { since: first.of("publication")[2].position }));
  for (let n = 31; n <= 60; n++) publish(n);
  await Promise.all(publications);
  for (const each of [first, late, since]) await until("the last", () => each.data.at(-1) == 60);
  assert.deepEqual(first.data, Array.from({ length: 60 }, (_, at) => at + 1));
  assert.deepEqual(since.data, first.data.slice(3));
  assert.deepEqual(late.data, first.data.slice(-late.data.length));
  assert.ok(late.data.length >= 5);
  client.close();
});

test("unsubscribe, then subscribe at once: nothing of the old subscription, nothing twice", async () => {
  const client = connect(node.url);
  const publisher = connect(node.url);
  let n = 0;
  const timer = setInterval(() => publisher.publish("kept:again", ++n).catch(() => {}), 1);
  for (let round = 0; round < 20; round++) {
    const old = client.subscribe("kept:again");
    const before = journal(old);
    await before.until("publication");
    old.unsubscribe();
    const count = before.entries.length;
    const next = client.subscribe("kept:again", { since: old.position });
    const after = journal(next);
    await after.until("publication", 3);
    assert.equal(before.entries.length, count);
    const all = [...before.data, ...after.data];
    assert.deepEqual(all, Array.from(all, (_, at) => all[0] + at));
    assert.deepEqual(after.of("gap"), []);
    next.unsubscribe();
  }
  clearInterval(timer);
  client.close();
  publisher.close();
});

test("echo: false leaves out one's own publications, and another echo on the channel is a fault of the program", async () => {
  const [client, other] = [connect(node.url), connect(node.url)];
  const got = journal(client.subscribe("kept:echo", { echo: false }));
  assert.throws(() => client.subscribe("kept:echo"), { code: "echo_conflict" });
  await got.until("subscribed");
  await client.publish("kept:echo", "mine");
  await other.publish("kept:echo", "theirs");
  await got.until("publication");
  assert.deepEqual(got.data, ["theirs"]);
  client.close();
  other.close();
});

test("history and presence are read; joins and leaves are told", async () => {
  const client = connect(node.url);
  const room = journal(client.subscribe("kept:room"));
  await room.until("join");
  for (const n of [1, 2, 3]) await client.publish("kept:room", n);
  const { publications, position } = await client.history("kept:room", { limit: 2 });
  assert.deepEqual(publications.map(({ data }) => data), [2, 3]);
  assert.equal(publications[1].position, position);
  assert.deepEqual(await client.presence("kept:room"), { members: [{ user: null, sessions: 1 }], truncated: undefined });
  await assert.rejects(client.history("none"), { code: "not_found", temporary: false });
  client.close();
});

test("a refused subscription tells why and is over; the connection stays", async () => {
  const node = await startNode(AUTH);
  const client = connect(node.url, { token: () => token("ada", { subscribe: ["secret:mine"] }) });
  const refused = journal(client.subscribe("secret:other"));
  const [error] = await refused.until("error");
  assert.equal(error.code, "forbidden");
  const allowed = journal(client.subscribe("secret:mine"));
  await allowed.until("subscribed");
  await assert.rejects(client.publish("secret:mine", 1), { code: "forbidden", temporary: false });
  const iteration = (async () => { for await (const _ of client.subscribe("secret:other")); })();
  await assert.rejects(iteration, { code: "forbidden" });
  assert.equal(client.state, "open");
  client.close();
});

test("a thousand channels are subscribed in few commands, also those with odd names", async () => {
  const node = await startNode({ "session.channels_max": 2000 });
  const client = connect(node.url);
  const names = ["__proto__", "constructor", "1", "ä/ö:ü", ...Array.from({ length: 900 }, (_, at) => `kept:${at}:${"x".repeat(60)}`)];
  const journals = names.map((name) => journal(client.subscribe(name)));
  for (const each of journals) await each.until("subscribed");
  await client.publish("__proto__", 1);
  await journals[0].until("publication");
  client.close();
});

test("close ends everything: states, promises, iterators", async () => {
  const client = connect(node.url);
  const { states } = record(client);
  await client.publish("news", 1);
  const iteration = (async () => { for await (const _ of client.subscribe("news")); })();
  const late = client.history("kept:1");
  client.close();
  await assert.rejects(late, { code: "closed" });
  await iteration;
  assert.equal(client.state, "closed");
  assert.deepEqual(states.map(({ state }) => state), ["connecting", "open", "closed"]);
  await assert.rejects(client.publish("news", 2), { code: "closed" });
  const after = journal(client.subscribe("news"));
  assert.equal((await after.until("error"))[0].code, "closed");
});

test("a fault in a handler is reported as the application's, and the other handlers are called", async () => {
  // In a process of its own: the test runner takes uncaught exceptions for its own.
  const program = `
    import { WebSocket } from "ws";
    import { connect } from "./dist/index.js";
    const faults = [], got = [];
    process.on("uncaughtException", (error) => faults.push(error.message));
    const client = connect("${node.url}", { WebSocket });
    client.subscribe("faulty", () => { throw new Error("of the application"); });
    client.subscribe("faulty", ({ data }) => got.push(data));
    await client.publish("faulty", 1);
    await client.publish("faulty", 2);
    while (faults.length < 2 || got.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    client.close();
    console.log(JSON.stringify({ faults, got }));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], { cwd: new URL("..", import.meta.url), timeout: 20_000 });
  assert.deepEqual(JSON.parse(stdout), { faults: ["of the application", "of the application"], got: [1, 2] });
});
