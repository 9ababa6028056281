// What the client does about lost connections: it resumes, tells every gap, and publishes everything once or says so.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { connect } from "./connect.mjs";
import { AUTH, journal, record, startNode, startProxy, startRedis, token, until } from "./nodes.mjs";

let redis;
before(async () => { redis = await startRedis(); });

const numbers = (count, from = 1) => Array.from({ length: count }, (_, at) => from + at);

describe("a lost connection", { concurrency: 4 }, () => {

test("on two nodes and Redis, a client whose connections are cut gets every publication of a history channel once and in order", async () => {
  const [a, b] = [await startNode(redis), await startNode(redis)];
  const proxy = await startProxy(a);
  const client = connect(proxy.url);
  const kept = journal(client.subscribe("kept:cut"));
  const quiet = journal(client.subscribe("kept:quiet"));
  await kept.until("subscribed");
  let n = 0;
  for (let round = 0; round < 3; round++) {
    proxy.target = round % 2 ? a.port : b.port;
    for (let each = 0; each < 20; each++) {
      if (each == 10) proxy.cut();
      await b.publish("kept:cut", ++n);
    }
    await kept.until("subscribed", round + 2);
  }
  await b.publish("kept:quiet", "later");
  await until("the last", () => kept.data.at(-1) == n);
  await quiet.until("publication");
  assert.deepEqual(kept.data, numbers(n));
  assert.deepEqual([...kept.of("gap"), ...quiet.of("gap")], []);
  client.close();
});

test("a killed node is left for another, or for its successor", async () => {
  const node = await startNode(redis);
  const client = connect(node.url);
  const kept = journal(client.subscribe("kept:killed"));
  await kept.until("subscribed");
  await node.publish("kept:killed", 1);
  await kept.until("publication");
  await node.kill();
  const states = record(client);
  await states.until("waiting");
  const successor = await startNode({ ...redis, port: node.port });
  await successor.publish("kept:killed", 2);
  await kept.until("publication", 2);
  assert.deepEqual(kept.data, [1, 2]);
  client.close();
});

test("a client with a wrong path is told the socket's reason, and its commands that there was no connection", async () => {
  const node = await startNode();
  const client = connect(node.url.replace(/\/ws$/, "/wss"), { timeout: 1_000 });
  const states = record(client);
  await states.until("waiting");
  const { reason } = states.states.find(({ state }) => state == "waiting");
  assert.match(reason, /404|network error/);
  await assert.rejects(client.publish("news", 1), { code: "timeout", message: "no connection in time" });
  client.close();
});

test("a channel without history tells a gap after each loss, before its next publication", async () => {
  const node = await startNode();
  const proxy = await startProxy(node);
  const client = connect(proxy.url);
  const news = journal(client.subscribe("news"));
  await news.until("subscribed");
  assert.deepEqual(news.of("gap"), []);
  for (const round of [1, 2]) {
    proxy.cut();
    await news.until("subscribed", round + 1);
    await node.publish("news", round);
    await news.until("publication", round);
  }
  assert.deepEqual(news.entries.map(({ event }) => event), ["subscribed", "subscribed", "gap", "publication", "subscribed", "gap", "publication"]);
  assert.deepEqual(news.of("gap")[0], { reason: "reconnected" });
  client.close();
});

test("a history that no longer has everything is told as a gap, and the channel goes on behind it", async () => {
  const node = await startNode();
  const proxy = await startProxy(node);
  const client = connect(proxy.url);
  const few = journal(client.subscribe("few:1"));
  await few.until("subscribed");
  await node.publish("few:1", 1);
  await few.until("publication");
  proxy.refuses = true;
  proxy.cut();
  // Together: the longer it takes, the longer the client waits before its next attempt.
  const rest = numbers(200, 2);
  await Promise.all(numbers(10).map(async () => { while (rest.length) await node.publish("few:1", rest.shift()); }));
  proxy.refuses = false;
  await few.until("gap");
  await node.publish("few:1", "after");
  await until("the next", () => few.data.at(-1) == "after");
  assert.deepEqual(few.data, [1, "after"]);
  assert.deepEqual(few.of("gap"), [{ reason: "not_recovered" }]);
  proxy.cut();
  await few.until("subscribed", 3);
  assert.equal(few.of("gap").length, 1);
  client.close();
});

test("the gap that a node tells reaches every subscription of the channel", async () => {
  const own = await startRedis();
  const node = await startNode(own);
  const client = connect(node.url);
  const [news, again] = [journal(client.subscribe("news")), journal(client.subscribe("news"))];
  await again.until("subscribed");
  await own.restart();
  await Promise.all([news.until("gap"), again.until("gap")]);
  assert.equal(news.of("gap")[0].reason, "broker_reconnected");
  client.close();
});

test("a node that drains is left for the announced time, and nothing is lost, doubled or told as a gap", async () => {
  const [a, b] = [await startNode({ ...redis, "drain.period": "1s" }), await startNode(redis)];
  const proxy = await startProxy(a);
  const client = connect(proxy.url);
  const states = record(client);
  const kept = journal(client.subscribe("kept:drain"));
  await kept.until("subscribed");
  proxy.target = b.port;
  let n = 0;
  const results = [];
  const timer = setInterval(() => results.push(client.publish("kept:drain", ++n)), 2);
  await a.drain();
  await states.until("open", 2);
  await until("more", () => n > 200);
  clearInterval(timer);
  await Promise.all(results);
  await until("the last", () => kept.data.length >= n);
  assert.deepEqual(kept.data, numbers(n));
  assert.deepEqual(kept.of("gap"), []);
  const waiting = states.states.find(({ state }) => state == "waiting");
  assert.equal(waiting.code, 1012);
  client.close();
});

for (const [who, settings, options] of [["a user", AUTH, { token: () => token("ada") }], ["an anonymous client", {}, {}]]) {
  test(`${who} publishes while connections are cut: everything is there once and in order`, async () => {
    const node = await startNode({ ...redis, "broker.prefix": `${who.replaceAll(" ", "")}:`, ...settings });
    const proxy = await startProxy(node);
    const client = connect(proxy.url, options);
    const kept = journal(client.subscribe("kept:publish"));
    await kept.until("subscribed");
    const pending = [];
    for (let n = 1; n <= 300; n++) {
      pending.push(client.publish("kept:publish", n));
      if (n % 50 == 25) {
        proxy.mute = true; // the node takes them, and the answers do not arrive
        await new Promise((resolve) => setTimeout(resolve, 20));
        proxy.cut();
        proxy.mute = false;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const results = await Promise.all(pending);
    const { publications } = await client.history("kept:publish", { limit: 1000 });
    assert.deepEqual(publications.map(({ data }) => data), numbers(300));
    assert.deepEqual(results.map(({ position }) => position), publications.map(({ position }) => position));
    client.close();
  });
}

test("a publication without history that was sent and not answered is rejected, and one that was not sent is published", async () => {
  const node = await startNode();
  const proxy = await startProxy(node);
  const client = connect(proxy.url);
  const news = journal(client.subscribe("news"));
  await news.until("subscribed");
  proxy.stalled = true;
  const sent = client.publish("news", "sent");
  proxy.refuses = true;
  proxy.cut();
  await assert.rejects(sent, { code: "unknown_outcome", temporary: true });
  const queued = client.publish("news", "queued");
  proxy.refuses = proxy.stalled = false;
  await queued;
  await news.until("publication");
  assert.deepEqual(news.data, ["queued"]);
  client.close();
});

test("the queue of commands is bounded, and a command without an answer rejects in time", async () => {
  const client = connect("ws://127.0.0.1:9/ws", { timeout: 300 });
  const results = numbers(1030).map((n) => client.publish("news", n).catch(({ code }) => code));
  const codes = await Promise.all(results);
  assert.equal(codes.filter((code) => code == "queue_full").length, 6);
  assert.equal(codes.filter((code) => code == "timeout").length, 1024);
  await assert.rejects(client.publish("news", "x".repeat(5 << 20)), { code: "queue_full", temporary: true });
  client.close();
});

test("a publication larger than the node accepts is rejected, and the connection comes back for the others", async () => {
  const node = await startNode();
  const client = connect(node.url);
  const kept = journal(client.subscribe("kept:large"));
  await kept.until("subscribed");
  await assert.rejects(client.publish("kept:large", "x".repeat(100_000)), { code: "too_large", temporary: false });
  await client.publish("kept:large", "small");
  await kept.until("publication");
  assert.deepEqual(kept.of("gap"), []);
  client.close();
});

test("a connection that died without a close is noticed and replaced", async () => {
  const node = await startNode({ "session.ping_interval": "1s" });
  const proxy = await startProxy(node);
  const client = connect(proxy.url);
  const states = record(client);
  const kept = journal(client.subscribe("kept:dead"));
  await kept.until("subscribed");
  proxy.stalled = true;
  await node.publish("kept:dead", 1);
  const [, waiting] = await until("the loss", () => states.states.filter(({ state }) => state != "connecting").length > 1 && states.states.filter(({ state }) => state != "connecting"));
  assert.deepEqual([waiting.state, waiting.code], ["waiting", 4009]);
  proxy.stalled = false;
  proxy.cut();
  await kept.until("publication");
  client.close();
});

test("a handshake that hangs is given up and tried again", async () => {
  const node = await startNode();
  const proxy = await startProxy(node);
  proxy.stalled = true;
  const client = connect(proxy.url);
  await until("the attempt", () => proxy.connections);
  proxy.cut();
  proxy.stalled = false;
  await record(client).until("open");
  client.close();
});

});
