// `tidegate/fallback` in faults that pass, beside slow requests, and on long histories.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import * as fallback from "tidegate/fallback";
import { connect as connectWith } from "./connect.mjs";
import { AUTH, journal, startHttpProxy, startNode, until } from "./nodes.mjs";

const numbers = (count, from = 1) => Array.from({ length: count }, (_, at) => from + at);

let node;
before(async () => { node = await startNode({ ...AUTH, "presence.grace": "0s" }); });

/** A client whose transport is the given one, because the proxy allows no other. */
async function start(transport, target = node, options = {}) {
  const proxy = await startHttpProxy(target);
  proxy.buffers = transport == "poll";
  const client = connectWith(proxy.url, { WebSocket: class { constructor() { throw new Error("blocked"); } }, ...options }, fallback);
  return { proxy, client };
}

describe("a client without WebSockets", { concurrency: 3 }, () => {
  test("a client that polls returns to event streams when they get through, and loses nothing of a channel with history", async () => {
    const { client, proxy } = await start("poll", node, { retryWebSocket: 500 });
    const kept = journal(client.subscribe("kept:return"));
    await kept.until("subscribed");
    assert.equal(client.transport, "poll");
    await client.publish("kept:return", 1);
    proxy.buffers = false;
    let n = 1;
    await until("it reads a stream", async () => {
      await client.publish("kept:return", ++n);
      return client.transport == "sse" && client.state == "open";
    });
    await client.publish("kept:return", ++n);
    await until("the last", () => kept.data.at(-1) == n);
    assert.deepEqual(kept.data, numbers(n));
    assert.deepEqual(kept.of("gap"), []);
    client.close();
  });

  test("a stream that dies silently beside another one is replaced, and what it missed arrives", async () => {
    const quick = await startNode({ ...AUTH, "session.ping_interval": "200ms", "session.pong_timeout": "200ms" });
    const { client, proxy } = await start("sse", quick);
    const one = journal(client.subscribe("kept:one"));
    await one.until("subscribed");
    const two = journal(client.subscribe("kept:two"));
    await two.until("subscribed");
    proxy.isSilent = (url) => url.startsWith("/sse") && url.includes("two") && !url.includes("one");
    await quick.publish("kept:two", "missed");
    await quick.publish("kept:one", 1);
    await one.until("publication");
    await two.until("publication");
    assert.deepEqual([two.data, two.of("gap"), one.data], [["missed"], [], [1]]);
    client.close();
  });

  test("a channel that is added while another one reads its past leaves that past complete", async () => {
    const { client, proxy } = await start("sse");
    const { position } = await client.publish("kept:past", 1);
    for (const n of [2, 3]) await client.publish("kept:past", n);
    // With these the streams are as many as may be, so that the next channel restarts the last.
    for (const channel of ["kept:stream-1", "kept:stream-2"]) await journal(client.subscribe(channel)).until("subscribed");
    let release;
    const released = new Promise((resolve) => (release = resolve));
    proxy.hold = (url) => (url.startsWith("/history/kept%3Apast") ? released : undefined);
    const past = journal(client.subscribe("kept:past", { since: position }));
    await until("the past is asked for", () => proxy.requests.some((each) => each.includes("/history/kept%3Apast")));
    const next = journal(client.subscribe("kept:next"));
    await until("one stream for both", () => proxy.requests.some((each) => each.includes("past") && each.includes("next")));
    release();
    await next.until("subscribed");
    await past.until("publication", 2);
    await node.publish("kept:past", 4);
    await past.until("publication", 3);
    assert.deepEqual(past.data, [2, 3, 4]);
    assert.deepEqual(past.of("subscribed").map(({ recovered }) => recovered), [true]);
    assert.deepEqual(past.of("gap"), []);
    client.close();
  });

  test("by poll: a channel that is added beside four waiting polls is polled at once", async () => {
    const { client, proxy } = await start("poll");
    const quiet = numbers(4).map((at) => client.subscribe(`kept:waiting-${at}`));
    await until("four polls wait", () => numbers(4).every((at) => proxy.requests.some((each) => each.includes(`/poll/kept%3Awaiting-${at}?`))));
    const begun = performance.now();
    for (const channel of ["kept:fifth", "kept:sixth"]) {
      const got = journal(client.subscribe(channel));
      await got.until("subscribed");
      await node.publish(channel, 1);
      await got.until("publication");
      quiet.pop().unsubscribe();
    }
    assert.ok(performance.now() - begun < 20_000, "it waited for the end of a poll, which is 25 s");
    client.close();
  });

  for (const transport of ["sse", "poll"]) {
    test(`by ${transport}: a subscription from the first publication on gets all 2,100, page by page`, async () => {
      const long = await startNode({ rules: '[{ pattern = "**", subscribe = "anyone", publish = "anyone", history = { size = 5000, age = "10m" } }]' });
      const publisher = connectWith(long.url);
      const data = numbers(2100);
      for (let at = 0; at < data.length; at += 700) await Promise.all(data.slice(at, at + 700).map((n) => publisher.publish("long", n)));
      const { client } = await start(transport, long);
      for (const what of ["the first subscription", "one that joins it"]) {
        const got = journal(client.subscribe("long", { since: "first" }));
        await got.until("publication", data.length);
        assert.deepEqual(got.data, data, what);
        assert.deepEqual(got.of("gap"), [], what);
      }
      client.close();
    });
  }

  test("with echo: false, the others' publications arrive while the client publishes without a pause", async () => {
    const { client } = await start("sse");
    const got = journal(client.subscribe("kept:drawing", { echo: false }));
    await got.until("subscribed");
    let left = 300;
    const draw = async () => { while (left-- > 0 && !got.data.length) await client.publish("kept:drawing", "mine"); };
    const drawing = Promise.all(numbers(5).map(draw));
    await node.publish("kept:drawing", "theirs");
    await drawing;
    assert.deepEqual(got.data, ["theirs"]);
    client.close();
  });

  test("publications of a channel keep their order, and do not wait for those of another channel", async () => {
    const { client, proxy } = await start("sse");
    const got = journal(client.subscribe("kept:order"));
    await got.until("subscribed");
    let release;
    const released = new Promise((resolve) => (release = resolve));
    proxy.hold = (url) => (url.includes("slow") ? released : new Promise((resolve) => setTimeout(resolve, Math.random() * 20)));
    const slow = client.publish("kept:slow", 1);
    await Promise.all(numbers(20).map((n) => client.publish("kept:order", n)));
    await got.until("publication", 20);
    assert.deepEqual(got.data, numbers(20));
    release();
    await slow;
    client.close();
  });

  test("a publication that waits behind another one is not published once its time is over", async () => {
    const { client, proxy } = await start("sse", node, { timeout: 3_000 });
    const got = journal(client.subscribe("late"));
    await got.until("subscribed");
    let release;
    const released = new Promise((resolve) => (release = resolve));
    proxy.hold = (url) => (url.startsWith("/publish/") ? released : undefined);
    const [sent, queued] = [client.publish("late", "sent"), client.publish("late", "queued")];
    await Promise.all([
      assert.rejects(sent, { code: "unknown_outcome", message: "no answer in time; it may have been published" }),
      assert.rejects(queued, { code: "timeout", message: "no answer in time", temporary: true }),
    ]);
    release();
    await until("a later one is published", () => client.publish("late", "later").then(() => true, () => false));
    await until("it arrives", () => got.data.includes("later"));
    assert.deepEqual([got.data[0], got.data.includes("queued")], ["sent", false]);
    client.close();
  });

  test("a publication that waits behind another one when the connection is lost is published afterwards, also without history", async () => {
    const { client, proxy } = await start("sse");
    const got = journal(client.subscribe("lost"));
    await got.until("subscribed");
    proxy.hold = (url) => (url.startsWith("/publish/") ? new Promise(() => {}) : undefined);
    const [sent, queued] = [client.publish("lost", "sent"), client.publish("lost", "queued")];
    await until("the first is on its way", () => proxy.requests.includes("POST /publish/lost"));
    proxy.hold = () => undefined;
    proxy.cut();
    await assert.rejects(sent, { code: "unknown_outcome", message: "the connection was lost before the answer; it may have been published" });
    await queued;
    await got.until("publication");
    assert.deepEqual(got.data, ["queued"]);
    client.close();
  });

  for (const transport of ["sse", "poll"]) {
    test(`by ${transport}: a run that ends while its past is read is told whole, and then its end`, async () => {
      const requests = [];
      const publication = (n) => ({ data: n, position: `1-${n}` });
      const history = (numbers) => JSON.stringify({ channel: "run:1", publications: numbers.map(publication), position: `1-${numbers.at(-1)}`, recovered: true });
      let ended;
      const isEnded = new Promise((resolve) => (ended = resolve));
      // What a node answers.
      const server = createServer(async ({ url }, response) => {
        requests.push(url);
        if (url.startsWith("/history")) {
          if (transport == "sse" && !url.endsWith("limit=1")) await isEnded;
          return response.end(history([1, 2]));
        }
        if (url.startsWith("/poll")) return response.end(history([3]).replace(/}$/, ',"ended":{"reason":"done"}}'));
        if (transport == "poll" || url == "/sse") return response.writeHead(400).end('{"error":{"code":"bad_request","message":"no"}}');
        response.writeHead(200, { "content-type": "text/event-stream" }).write("retry: 1000\n\n");
        response.write(`data: ${JSON.stringify({ type: "publication", channel: "run:1", ...publication(3) })}\n\n`);
        response.write('event: ended\ndata: {"type":"ended","channel":"run:1","reason":"done","position":"1-3"}\n\n');
        setTimeout(ended, 50);
      }).listen(0, "127.0.0.1");
      await once(server, "listening");
      after(() => { server.close(); server.closeAllConnections(); });
      const client = connectWith(`ws://127.0.0.1:${server.address().port}/ws`, { WebSocket: undefined }, fallback);
      const run = journal(client.subscribe("run:1", { since: "first" }));
      await run.until("ended");
      assert.deepEqual(run.entries.map(({ event, value }) => value.data ?? event), ["subscribed", 1, 2, 3, "ended"]);
      assert.equal(run.of("ended")[0].reason, "done");
      await client.history("run:1");
      assert.ok(requests.filter((url) => url.startsWith("/poll")).length <= 1, "it polls on");
      client.close();
    });
  }
});
