// What the client does with each close code and with other pushes of a node, from a server that sends exactly them.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import { WebSocketServer } from "ws";
import { connect } from "./connect.mjs";
import { journal, record, until } from "./nodes.mjs";

/** A server that welcomes each client and then does as the test says. */
async function startServer(act) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  after(() => server.close());
  const result = { url: `ws://127.0.0.1:${server.address().port}/ws`, sockets: [] };
  server.on("connection", (socket) => {
    const send = (message) => socket.send(JSON.stringify(message));
    const nth = result.sockets.push(socket);
    send({ type: "welcome", session: `s${nth}`, node: "n1", ping_interval_ms: 25_000 });
    socket.on("message", (frame) => act({ nth, socket, send, command: JSON.parse(frame) }));
    act({ nth, socket, send, command: { type: "connected" } });
  });
  return result;
}

describe("close codes", { concurrency: 8 }, () => {
  for (const code of [1002, 1003, 1007, 1008, 1009, 4001, 4003]) {
    test(`${code} is final, and its reason is told`, async () => {
      const server = await startServer(({ socket, command }) => command.type == "connected" && socket.close(code, "because"));
      const client = connect(server.url);
      const states = record(client);
      const subscription = journal(client.subscribe("news"));
      await states.until("closed");
      assert.deepEqual([states.states.at(-1).code, states.states.at(-1).reason], [code, "because"]);
      assert.equal(subscription.of("error")[0].message, "because");
      assert.equal(server.sockets.length, 1);
    });
  }

  for (const code of [1000, 1001, 1011, 1013, 4008, 4009, 4029]) {
    test(`${code} is followed by another attempt after a random delay`, async () => {
      const server = await startServer(({ nth, socket, command }) => nth == 1 && command.type == "connected" && socket.close(code));
      const client = connect(server.url);
      const states = record(client);
      await states.until("open", 2);
      const { delay } = states.states.find(({ state }) => state == "waiting");
      assert.ok(delay >= 0 && delay <= 500, `${delay}`);
      client.close();
    });
  }

  test("1012 without a reconnect waits a random 1 to 30 s", async () => {
    const server = await startServer(({ socket, command }) => command.type == "connected" && socket.close(1012));
    const client = connect(server.url);
    const states = record(client);
    await states.until("waiting");
    const { delay } = states.states.at(-1);
    assert.ok(delay >= 1_000 && delay <= 30_000, `${delay}`);
    client.close();
  });

  test("reconnect is obeyed to the millisecond, also by the events of the page, and nothing is sent behind it", async () => {
    const seen = [];
    const server = await startServer(({ nth, send, socket, command }) => {
      seen.push([nth, command.type]);
      if (nth == 1 && command.type == "publish") {
        send({ type: "reconnect", after_ms: 700, reason: "drain" });
        setTimeout(() => socket.close(1012), 100);
      } else if (command.type == "publish") send({ type: "published", id: command.id });
    });
    const client = connect(server.url);
    const states = record(client);
    await states.until("open");
    const first = client.publish("news", 1);
    await until("the reconnect", () => seen.some(([, type]) => type == "publish"));
    await new Promise((resolve) => setTimeout(resolve, 30));
    await Promise.all([first, client.publish("news", 2)]);
    assert.equal(states.states.find(({ state }) => state == "waiting").delay, 700);
    // The first is sent again, because the node has executed nothing that it has not answered.
    assert.deepEqual(seen.filter(([, type]) => type == "publish"), [[1, "publish"], [2, "publish"], [2, "publish"]]);
    client.close();
  });

  test("failures in a row double the range of the delay, up to 30 s", async () => {
    const server = await startServer(({ socket, command }) => command.type == "connected" && socket.close(1013));
    const { random } = Math;
    const client = connect(server.url);
    const states = record(client);
    Math.random = () => 0.01;
    await until("eight", () => states.states.filter(({ state }) => state == "waiting").length > 8).finally(() => (Math.random = random));
    const delays = states.states.filter(({ state }) => state == "waiting").map(({ delay }) => Math.round(delay));
    assert.deepEqual(delays.slice(1, 9), [10, 20, 40, 80, 160, 300, 300, 300]);
    client.close();
  });

  test("a subscription that joins another tells what is live, gaps and the end among it, in its order behind the past", async () => {
    const server = await startServer(({ send, command: { type, id, channels, channel } }) => {
      const publication = (position) => ({ data: position, position });
      if (type == "subscribe") send({ type: "subscribed", id, channel: Object.keys(channels)[0], position: "1-2" });
      if (type != "history") return;
      // All of this comes while the past is being read.
      send({ type: "publication", channel, ...publication("1-3") });
      send({ type: "gap", channel, reason: "history_lost" });
      send({ type: "publication", channel, ...publication("2-1") });
      send({ type: "ended", channel, reason: "done", position: "2-1" });
      send({ type: "history", id, channel, publications: ["1-1", "1-2"].map(publication), position: "1-2" });
    });
    const client = connect(server.url);
    const first = journal(client.subscribe("run:1"));
    await first.until("subscribed");
    const joined = journal(client.subscribe("run:1", { last: 2 }));
    await joined.until("ended");
    const told = ({ entries }) => entries.map(({ event, value }) => value.data ?? event);
    assert.deepEqual(told(first), ["subscribed", "1-3", "gap", "2-1", "ended"]);
    assert.deepEqual(told(joined), ["subscribed", "1-1", "1-2", "1-3", "gap", "2-1", "ended"]);
    client.close();
  });

  test("a subscription that joins another loses nothing when the history is ahead of what comes live", async () => {
    const server = await startServer(({ send, command: { type, id, channels, channel } }) => {
      const publication = (position) => ({ data: position, position });
      if (type == "subscribe") send({ type: "subscribed", id, channel: Object.keys(channels)[0], position: "1-2" });
      if (type != "history") return;
      send({ type: "history", id, channel, publications: ["1-4", "1-5"].map(publication), position: "1-5" });
      const live = () => ["1-3", "1-4", "1-5"].forEach((position) => send({ type: "publication", channel, ...publication(position) }));
      setTimeout(live, 50);
    });
    const client = connect(server.url);
    const first = journal(client.subscribe("chat:1"));
    await first.until("subscribed");
    const joined = journal(client.subscribe("chat:1", { last: 2 }));
    await first.until("publication", 3);
    await joined.until("publication", 3);
    assert.deepEqual([first.data, joined.data], [["1-3", "1-4", "1-5"], ["1-3", "1-4", "1-5"]]);
    client.close();
  });

  test("a subscription that joins another is told a gap first when the history that it asked for is gone", async () => {
    const server = await startServer(({ send, command: { type, id, channels, channel } }) => {
      const publication = (position) => ({ data: position, position });
      if (type == "subscribe") send({ type: "subscribed", id, channel: Object.keys(channels)[0], position: "1-2" });
      if (type != "history") return;
      // Published before the server lost the history, and another one began.
      send({ type: "publication", channel, ...publication("1-3") });
      send({ type: "history", id, channel, publications: ["2-1", "2-2"].map(publication), position: "2-2", recovered: true });
    });
    const client = connect(server.url);
    const first = journal(client.subscribe("chat:1"));
    await first.until("subscribed");
    const joined = journal(client.subscribe("chat:1", { since: "first" }));
    await joined.until("publication");
    assert.deepEqual(joined.entries.map(({ event, value }) => value.data ?? event), ["subscribed", "gap", "1-3"]);
    client.close();
  });

  test("a subscription that wants nothing of the past gets none of it beside one that does, in either order", async () => {
    const server = await startServer(({ send, command: { type, id, channels, channel } }) => {
      const publication = (position) => ({ data: position, position });
      if (type == "subscribe") {
        const [[name, start]] = Object.entries(channels);
        send({ type: "subscribed", id, channel: name, position: "1-2" });
        const past = start?.last ? ["1-1", "1-2"] : [];
        for (const position of [...past, "1-3"]) send({ type: "publication", channel: name, ...publication(position) });
      }
      if (type == "history") send({ type: "history", id, channel, publications: ["1-2", "1-3"].map(publication), position: "1-3" });
    });
    for (const wishes of [[{ last: 2 }, {}], [{}, { last: 2 }]]) {
      const client = connect(server.url);
      const told = wishes.map((options) => journal(client.subscribe("chat:1", options)));
      for (const each of told) await until("the last", () => each.data.at(-1) == "1-3");
      const [past, present] = wishes[0].last ? told : told.toReversed();
      assert.deepEqual(present.data, ["1-3"]);
      assert.equal(past.data.at(-2), "1-2");
      client.close();
    }
  });

  test("a temporarily refused subscription is tried again, and ended is the last that a subscription tells", async () => {
    let refusals = 0;
    const server = await startServer(({ send, command: { type, id, channels } }) => {
      if (type != "subscribe") return;
      const [channel] = Object.keys(channels);
      if (refusals++ == 0) return send({ type: "error", id, channel, code: "rate_limited", message: "later", temporary: true });
      send({ type: "subscribed", id, channel, position: "1-0" });
      send({ type: "publication", channel, data: 1, position: "1-1" });
      send({ type: "publication", channel, data: 1, position: "1-1" });
      send({ type: "ended", channel, reason: "done", position: "1-1" });
      send({ type: "publication", channel, data: 2, position: "1-2" });
    });
    const client = connect(server.url);
    const run = client.subscribe("run:1");
    const told = journal(run);
    const iterated = [];
    for await (const { data } of run) iterated.push(data);
    assert.deepEqual(told.entries.map(({ event }) => event), ["subscribed", "publication", "ended"]);
    assert.equal(told.of("ended")[0].reason, "done");
    client.close();
  });
});
