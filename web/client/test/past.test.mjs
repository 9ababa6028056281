// Subscriptions that begin in the past: `last`, `since: "first"` and a position, also when the connection is lost meanwhile.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { connect } from "./connect.mjs";
import { journal, startNode, startProxy, until } from "./nodes.mjs";

let node;
before(async () => { node = await startNode(); });
const publish = async (channel, ...values) => { for (const value of values) await node.publish(channel, value); };

describe("a subscription that begins in the past", { concurrency: 4 }, () => {
  test("with last gets the newest and then what is new, once and in order, also over a loss", async () => {
    await publish("kept:last", 1, 2, 3, 4, 5);
    const proxy = await startProxy(node);
    const client = connect(proxy.url);
    const last = journal(client.subscribe("kept:last", { last: 2 }));
    await last.until("publication", 2);
    proxy.refuses = true;
    proxy.cut();
    await publish("kept:last", 6, 7, 8);
    proxy.refuses = false;
    await last.until("publication", 5);
    assert.deepEqual(last.data, [4, 5, 6, 7, 8]);
    assert.deepEqual(last.of("gap"), []);
    client.close();
  });

  test("with last on an empty history resumes without a gap", async () => {
    const proxy = await startProxy(node);
    const client = connect(proxy.url);
    const last = journal(client.subscribe("kept:empty", { last: 2 }));
    await last.until("subscribed");
    proxy.cut();
    await publish("kept:empty", 1);
    await last.until("publication");
    await last.until("subscribed", 2);
    assert.deepEqual([last.data, last.of("gap")], [[1], []]);
    client.close();
  });

  test("with first gets everything that is kept, and a gap first where the front was trimmed", async () => {
    await publish("kept:first", 1, 2, 3);
    await publish("few:first", ...Array.from({ length: 200 }, (_, at) => at));
    const client = connect(node.url);
    const [all, few] = [journal(client.subscribe("kept:first", { since: "first" })), journal(client.subscribe("few:first", { since: "first" }))];
    await all.until("publication", 3);
    await until("the last", () => few.data.at(-1) == 199);
    assert.deepEqual([all.data, all.of("gap")], [[1, 2, 3], []]);
    assert.deepEqual(few.entries.slice(0, 3).map(({ event }) => event), ["subscribed", "gap", "publication"]);
    assert.deepEqual(few.of("gap"), [{ reason: "not_recovered" }]);
    assert.deepEqual(few.data, few.data.map((_, at) => few.data[0] + at));
    client.close();
  });

  test("with first beside another subscription gets the same", async () => {
    await publish("kept:beside", 1, 2, 3);
    await publish("few:beside", ...Array.from({ length: 200 }, (_, at) => at));
    const client = connect(node.url);
    const now = ["kept:beside", "few:beside"].map((channel) => journal(client.subscribe(channel)));
    for (const each of now) await each.until("subscribed");
    const [all, few] = ["kept:beside", "few:beside"].map((channel) => journal(client.subscribe(channel, { since: "first" })));
    await all.until("publication", 3);
    await until("the last", () => few.data.at(-1) == 199);
    assert.deepEqual([all.data, all.of("gap")], [[1, 2, 3], []]);
    assert.deepEqual(few.of("gap"), [{ reason: "not_recovered" }]);
    assert.deepEqual(now.flatMap(({ data }) => data), []);
    client.close();
  });

  test("from a stored position continues there, in another client", async () => {
    const first = connect(node.url);
    const before = first.subscribe("kept:stored", () => {});
    await journal(before).until("subscribed");
    await publish("kept:stored", 1, 2);
    await until("both", () => before.position?.endsWith("-2"));
    first.close();
    await publish("kept:stored", 3);
    const client = connect(node.url);
    const after = journal(client.subscribe("kept:stored", { since: before.position }));
    await after.until("publication");
    assert.deepEqual([after.data, after.of("gap")], [[3], []]);
    client.close();
  });

  test("from a position of 2100 publications ago beside another subscription gets all of them, page by page", async () => {
    const big = await startNode({ rules: `[{ pattern = "**", subscribe = "anyone", publish = "anyone", history = { size = 5000, age = "10m" } }]` });
    const client = connect(big.url);
    const now = client.subscribe("pages", () => {});
    await journal(now).until("subscribed");
    const numbers = Array.from({ length: 2100 }, (_, at) => at);
    for (let at = 0; at < numbers.length; at += 700) await Promise.all(numbers.slice(at, at + 700).map((n) => client.publish("pages", n)));
    const { publications } = await client.history("pages", { since: `${now.position.split("-")[0]}-0`, limit: 1 });
    const since = journal(client.subscribe("pages", { since: publications[0].position }));
    await since.until("publication", 2099);
    assert.deepEqual(since.data, numbers.slice(1));
    client.close();
  });
});
