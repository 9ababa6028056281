// Runs: streams that end, by every transport, on a real node.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import * as fallback from "tidegate/fallback";
import { connect as connectWith } from "./connect.mjs";
import { journal, startHttpProxy, startNode, until } from "./nodes.mjs";

const RUNS = `[
  { pattern = "run:**", history = { size = 1000, age = "10m" }, run = { lease = "1h" } },
  { pattern = "ask:**", history = { size = 1000, age = "10m" }, run = { lease = "1h", control = "control:{name}" } },
  { pattern = "joined:**", history = { size = 1000, age = "10m" }, run = { lease = "1h", merge = "text", rollup = "5s" } },
  { pattern = "**" }]`;

let node;
before(async () => { node = await startNode({ rules: RUNS }); });

async function start(transport) {
  if (transport == "websocket") return connectWith(node.url);
  const proxy = await startHttpProxy(node);
  proxy.buffers = transport == "poll";
  return connectWith(proxy.url, { WebSocket: class { constructor() { throw new Error("blocked"); } } }, fallback);
}

const work = async (channel, first, last) => {
  for (let n = first; n <= last; n++) await node.publish(channel, n);
};
const data = (got) => got.of("publication").map((publication) => publication.data);

/** By a part of their address: what is called before and after requests of this process. */
const around = new Map();
const { fetch } = globalThis;
globalThis.fetch = async (address, options) => {
  const [, [before, after] = []] = [...around].find(([part]) => String(address).includes(part)) ?? [];
  await before?.();
  const response = await fetch(address, options);
  await after?.();
  return response;
};

describe("a run", { concurrency: 3 }, () => {
  for (const transport of ["websocket", "sse", "poll"]) {
    test(`by ${transport}: ends once for its live subscribers, after the last publication`, async () => {
      const client = await start(transport);
      const got = journal(client.subscribe(`run:live-${transport}`, { since: "first" }));
      await got.until("subscribed");
      await work(`run:live-${transport}`, 1, 20);
      await node.end(`run:live-${transport}`, { reason: "done", data: 21 });
      await got.until("ended");
      assert.deepEqual(data(got), Array.from({ length: 21 }, (_, at) => at + 1));
      assert.equal(got.of("ended")[0].reason, "done");
      // Other channels of the client go on, and nothing ends twice.
      const other = journal(client.subscribe(`news-${transport}`));
      await other.until("subscribed");
      // Between two polls, a publication without history is lost.
      await until("a publication on it", async () => {
        await client.publish(`news-${transport}`, 1);
        return other.of("publication").length;
      });
      assert.equal(got.of("ended").length, 1);
      client.close();
    });

    test(`by ${transport}: gives its joined text once, also what is published while the client reads the past`, async () => {
      const channel = `joined:${transport}`;
      const say = (text) => node.publish(channel, new TextEncoder().encode(text));
      // The node joins what is published within five seconds of the delivery to this one.
      const other = connectWith(node.url);
      const live = journal(other.subscribe(channel, { since: "first" }));
      await live.until("subscribed");
      await say("a ");
      await say("b ");
      const past = `/history/${encodeURIComponent(channel)}`;
      around.set(past, [() => say("c "), () => say("d ")]);
      const client = await start(transport);
      const got = journal(client.subscribe(channel, { since: "first" }));
      await got.until("subscribed");
      around.delete(past);
      await say("e ");
      await node.end(channel, { reason: "done" });
      await Promise.all([got.until("ended"), live.until("ended")]);
      const text = (its) => its.of("publication").map((it) => it.text).join("");
      assert.match(text(live), /^a b (c d )*e $/);
      assert.equal(text(got), text(live));
      client.close();
      other.close();
    });

    test(`by ${transport}: is whole and ends for a late subscriber, again and again on one client`, async () => {
      const channel = `run:late-${transport}`;
      const client = await start(transport);
      await work(channel, 1, 5);
      await node.end(channel, { reason: "stopped" });
      for (const [options, expected] of [[{ since: "first" }, [1, 2, 3, 4, 5]], [{}, []], [{ last: 2 }, [4, 5]]]) {
        const got = journal(client.subscribe(channel, options));
        await got.until("ended");
        assert.deepEqual(data(got), expected, JSON.stringify(options));
        assert.equal(got.of("ended")[0].reason, "stopped");
        assert.equal(got.of("gap").length, 0);
      }
      const iterated = [];
      for await (const publication of client.subscribe(channel, { since: "first" })) iterated.push(publication.data);
      assert.deepEqual(iterated, [1, 2, 3, 4, 5]);
      await assert.rejects(client.publish(channel, 6), { code: "ended", temporary: false });
      client.close();
    });

    test(`by ${transport}: what a viewer publishes goes to the control channel`, async () => {
      const channel = `ask:${transport}`;
      const client = await start(transport);
      const control = journal(client.subscribe(`control:${channel}`));
      const viewer = journal(client.subscribe(channel));
      await Promise.all([control.until("subscribed"), viewer.until("subscribed")]);
      await work(channel, 1, 1);
      await viewer.until("publication", 1);
      assert.equal((await client.publish(channel, { type: "stop" })).position, undefined);
      await control.until("publication", 1);
      assert.deepEqual(data(control), [{ type: "stop" }]);
      assert.deepEqual(data(viewer), [1]);
      client.close();
    });
  }

  test("leaves no subscription on the node once it has ended", async () => {
    const client = await start("websocket");
    const got = journal(client.subscribe("run:gone"));
    await got.until("subscribed");
    await work("run:gone", 1, 1);
    assert.ok((await node.channels()).includes("run:gone"));
    await node.end("run:gone", { reason: "done" });
    await got.until("ended");
    await until("the node has forgotten it", async () => !(await node.channels()).includes("run:gone"));
    client.close();
  });
});
