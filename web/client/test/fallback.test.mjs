// `tidegate/fallback` where WebSockets are missing or blocked: the same guarantees by Server-Sent Events and long poll.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import * as fallback from "tidegate/fallback";
import { connect as connectWith } from "./connect.mjs";
import { AUTH, journal, record, startHttpProxy, startNode, startRedis, token, until } from "./nodes.mjs";

const connect = (url, options) => connectWith(url, options, fallback);
const numbers = (count, from = 1) => Array.from({ length: count }, (_, at) => from + at);

let node;
let redis;
before(async () => {
  node = await startNode({ ...AUTH, "presence.grace": "0s" });
  redis = await startRedis();
});

/** A client whose transport is the given one, because the proxy allows no other. */
async function start(transport, target = node, options = {}) {
  const proxy = await startHttpProxy(target);
  proxy.buffers = transport == "poll";
  const client = connect(proxy.url, { WebSocket: class { constructor() { throw new Error("blocked"); } }, ...options });
  return { proxy, client };
}

describe("a client without WebSockets", { concurrency: 6 }, () => {
  for (const transport of ["sse", "poll"]) {
    test(`by ${transport}: publishes, subscribes, reads history and presence`, async () => {
      const { client } = await start(transport, node, { token: () => token("ada") });
      const got = journal(client.subscribe("kept:1"));
      await got.until("subscribed");
      assert.equal(client.transport, transport);
      const positions = [];
      for (const payload of [{ any: "json" }, "a text", Uint8Array.of(255, 0)]) positions.push((await client.publish("kept:1", payload)).position);
      await client.publish("kept:1", "no {json", { text: true });
      await got.until("publication", 4);
      const [json, text, binary, raw] = got.of("publication");
      assert.deepEqual([json.data, text.data, binary.bytes, raw.text], [{ any: "json" }, "a text", Uint8Array.of(255, 0), "no {json"]);
      assert.deepEqual(got.of("publication").slice(0, 3).map(({ position }) => position), positions);
      assert.equal(json.user, "ada");
      const { publications } = await client.history("kept:1", { limit: 2 });
      assert.deepEqual(publications.map(({ bytes, text }) => bytes ?? text), [Uint8Array.of(255, 0), "no {json"]);
      await assert.rejects(client.history("none"), { code: "not_found", temporary: false });
      await assert.rejects(client.publish("secret:1", 1), { code: "forbidden" });
      const past = journal(client.subscribe("kept:1", { last: 2 }));
      await past.until("publication", 2);
      client.close();
    });

    test(`by ${transport}: cut connections lose and double nothing on a channel with history`, async () => {
      const [a, b] = [await startNode(redis), await startNode(redis)];
      const { client, proxy } = await start(transport, a);
      const kept = journal(client.subscribe(`kept:cut-${transport}`));
      const quiet = journal(client.subscribe(`kept:quiet-${transport}`));
      await Promise.all([kept.until("subscribed"), quiet.until("subscribed")]);
      let n = 0;
      for (const round of [1, 2]) {
        proxy.target = round == 1 ? b.port : a.port;
        for (let each = 0; each < 20; each++) {
          if (each == 10) proxy.cut();
          await a.publish(`kept:cut-${transport}`, ++n);
        }
        await until("the last", () => kept.data.at(-1) == n);
      }
      await a.publish(`kept:quiet-${transport}`, "later");
      await quiet.until("publication");
      assert.deepEqual(kept.data, numbers(n));
      assert.deepEqual([...kept.of("gap"), ...quiet.of("gap")], []);
      client.close();
    });

    test(`by ${transport}: a channel without history tells its gaps`, async () => {
      const { client, proxy } = await start(transport);
      const news = journal(client.subscribe(`news-${transport}`));
      await news.until("subscribed");
      await until("the first", async () => { await node.publish(`news-${transport}`, "a"); return news.data.length; });
      const before = news.of("gap").length;
      proxy.cut();
      await news.until("subscribed", 2);
      await until("the gap", () => news.of("gap").length > before);
      client.close();
    });

    test(`by ${transport}: a refused channel is told, and the others go on`, async () => {
      const { client } = await start(transport, node, { token: () => token("ada", { subscribe: ["secret:mine"] }) });
      const [mine, other, kept] = ["secret:mine", "secret:other", "kept:with"].map((channel) => journal(client.subscribe(channel)));
      assert.equal((await other.until("error"))[0].code, "forbidden");
      await kept.until("subscribed");
      await node.publish("kept:with", 1);
      await kept.until("publication");
      await mine.until("subscribed");
      client.close();
    });

    test(`by ${transport}: channels come and go`, async () => {
      const { client } = await start(transport);
      const subscriptions = [];
      for (const at of numbers(6)) {
        const subscription = client.subscribe(`kept:${transport}-${at}`, at % 2 ? {} : { since: "first" });
        subscriptions.push({ subscription, told: journal(subscription) });
        await subscriptions.at(-1).told.until("subscribed");
      }
      for (const at of numbers(6)) await client.publish(`kept:${transport}-${at}`, at);
      for (const { told } of subscriptions) await told.until("publication");
      subscriptions[0].subscription.unsubscribe();
      for (const at of numbers(6)) await client.publish(`kept:${transport}-${at}`, at);
      for (const { told } of subscriptions.slice(1)) await told.until("publication", 2);
      assert.deepEqual(subscriptions.map(({ told }) => told.data), [[1], [2, 2], [3, 3], [4, 4], [5, 5], [6, 6]]);
      assert.deepEqual(subscriptions.flatMap(({ told }) => told.of("gap")), []);
      client.close();
    });

    test(`by ${transport}: echo: false leaves out one's own publications where there is history`, async () => {
      const { client } = await start(transport);
      const got = journal(client.subscribe(`kept:echo-${transport}`, { echo: false }));
      await got.until("subscribed");
      for (const n of [1, 2, 3]) {
        await client.publish(`kept:echo-${transport}`, "mine");
        await node.publish(`kept:echo-${transport}`, n);
      }
      await got.until("publication", 3);
      assert.deepEqual(got.data, [1, 2, 3]);
      client.close();
    });
  }

  test("a token that is refused is asked for again, and one that expires is renewed", async () => {
    let refused = false;
    let accepted = 0;
    const { client } = await start("sse", node, { token: () => (refused ? token("ada", { ttl: accepted++ ? 3600 : 2 }) : "no token") });
    client.on("state", (state, { code }) => (refused ||= code == 4001));
    const kept = journal(client.subscribe("kept:token"));
    await kept.until("subscribed");
    await until("the renewal", () => accepted > 1);
    await client.publish("kept:token", 1);
    await kept.until("publication");
    client.close();
  });

  for (const upgrades of ["refuse", "hang", "mute"]) {
    test(`a proxy that does ${upgrades} upgrades is recognised, and WebSockets are used again when it lets them pass`, async () => {
      const proxy = await startHttpProxy(node);
      proxy.upgrades = upgrades;
      const client = connect(proxy.url, { retryWebSocket: 500 });
      const kept = journal(client.subscribe(`kept:${upgrades}`));
      await kept.until("subscribed");
      assert.equal(client.transport, "sse");
      await client.publish(`kept:${upgrades}`, 1);
      proxy.upgrades = "pass";
      await until("it is a WebSocket again", () => client.transport == "websocket" && client.state == "open");
      await client.publish(`kept:${upgrades}`, 2);
      await kept.until("publication", 2);
      assert.deepEqual(kept.data, [1, 2]);
      assert.deepEqual(kept.of("gap"), []);
      client.close();
    });
  }

  test("without a network no transport is given up for good", async () => {
    const proxy = await startHttpProxy(node);
    proxy.upgrades = "pass";
    const client = connect(proxy.url, { retryWebSocket: 500 });
    const states = record(client);
    await states.until("open");
    proxy.down = true;
    proxy.cut();
    await states.until("connecting", 4);
    proxy.down = false;
    await states.until("open", 2);
    await until("it is a WebSocket", () => client.transport == "websocket" && client.state == "open");
    client.close();
  });

  test("a node that drains is left, and what is published meanwhile arrives once", async () => {
    const [a, b] = [await startNode({ ...redis, "drain.period": "1s" }), await startNode(redis)];
    const { client, proxy } = await start("sse", a);
    const kept = journal(client.subscribe("kept:drain"));
    await kept.until("subscribed");
    proxy.target = b.port;
    await a.drain();
    const results = [];
    for (const n of numbers(100)) {
      results.push(client.publish("kept:drain", n));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Promise.all(results);
    await until("the last", () => kept.data.length >= 100);
    assert.deepEqual(kept.data, numbers(100));
    assert.deepEqual(kept.of("gap"), []);
    client.close();
  });
});
