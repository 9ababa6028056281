// Tokens: asked at each connect, renewed, and asked again when a node refuses them.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { connect } from "./connect.mjs";
import { AUTH, journal, record, startNode, startProxy, token, until } from "./nodes.mjs";

let node;
before(async () => {
  node = await startNode({ ...AUTH, "auth.leeway": "0s" });
  // The delays between attempts are random parts of up to 16 s: small ones here.
  const { random } = Math;
  Math.random = () => random() / 10;
});

describe("a token", { concurrency: 4 }, () => {
  test("is asked for at each connect, and says who the user is", async () => {
    const proxy = await startProxy(node);
    let asked = 0;
    const client = connect(proxy.url, { token: async () => (asked++, token("ada")) });
    const { states, ...states_ } = record(client);
    await states_.until("open");
    assert.equal(states.at(-1).user, "ada");
    proxy.cut();
    await states_.until("open", 2);
    assert.equal(asked, 2);
    client.close();
  });

  test("that expires on connection after connection is asked for each time, because none of them was refused", async () => {
    const client = connect(node.url, { token: () => (client.state == "open" ? null : token("ada", { ttl: 2 })) });
    const states = record(client);
    await states.until("open", 4);
    await states.until("open", 7);
    assert.ok(states.states.filter(({ code }) => code == 4001).length >= 6);
    // Each of these connections worked, so none of the waits is longer than a first one.
    assert.ok(states.states.every(({ delay = 0 }) => delay <= 500));
    client.close();
  });

  test("is renewed before it expires, on the open connection", async () => {
    let asked = 0;
    const client = connect(node.url, { token: () => token("ada", { ttl: asked++ ? 3600 : 2 }) });
    const states = record(client);
    await states.until("open");
    await until("the renewal", () => asked == 2);
    await new Promise((resolve) => setTimeout(resolve, 1500)); // beyond the first token's end
    await client.publish("news", 1);
    assert.deepEqual(states.states.map(({ state }) => state), ["connecting", "open"]);
    client.close();
  });

  test("that expires without a new one closes with 4001, and the next attempt's token continues", async () => {
    let asked = 0;
    const answers = [() => token("ada", { ttl: 1.2 }), () => { throw new Error("the backend is away"); }, () => { throw new Error("still away"); }];
    const client = connect(node.url, { token: () => (answers[asked++] ?? (() => token("ada")))() });
    const states = record(client);
    const kept = journal(client.subscribe("kept:expiry"));
    await kept.until("subscribed", 2);
    assert.ok(states.states.some(({ state, code }) => state == "waiting" && code == 4001));
    assert.deepEqual(kept.of("gap"), []);
    client.close();
  });

  test("that is refused is asked for again, five times, and then the client is closed", async () => {
    let asked = 0;
    const client = connect(node.url, { token: () => (asked++, "no token"), timeout: 60_000 });
    const states = record(client);
    const sub = journal(client.subscribe("news"));
    const publication = client.publish("news", 1);
    await assert.rejects(publication, { code: "closed" });
    assert.equal(client.state, "closed");
    assert.equal(states.states.at(-1).code, 4001);
    assert.equal(asked, 6);
    assert.equal(sub.of("error")[0].code, "closed");
  });

  test("function that fails is tried again as long as it takes, with backoff", async () => {
    let asked = 0;
    const client = connect(node.url, { token: async () => { if (asked++ < 2) throw new Error("away"); return token("ada"); } });
    const states = record(client);
    await states.until("open");
    assert.match(states.states.find(({ state }) => state == "waiting").reason, /away/);
    client.close();
  });

  test("is missing where the node wants one: closed with 4001, and no retry without a token function", async () => {
    const strict = await startNode({ ...AUTH, "auth.timeout": "200ms", rules: `[{ pattern = "**", subscribe = "user", publish = "user" }]` });
    const client = connect(strict.url);
    const states = record(client);
    await states.until("closed");
    assert.equal(states.states.at(-1).code, 4001);
  });

  test("that subscribes to channels by itself disturbs neither a subscription of the application nor its resumption", async () => {
    const proxy = await startProxy(node);
    const client = connect(proxy.url, { token: () => token("ada", { channels: ["kept:own", "kept:other"] }) });
    const own = journal(client.subscribe("kept:own"));
    await own.until("subscribed");
    await node.publish("kept:own", 1);
    await own.until("publication");
    proxy.refuses = true;
    proxy.cut();
    await node.publish("kept:own", 2);
    await node.publish("kept:own", 3);
    proxy.refuses = false;
    await own.until("publication", 3);
    assert.deepEqual(own.data, [1, 2, 3]);
    assert.deepEqual(own.of("gap"), []);
    const other = journal(client.subscribe("kept:other"));
    await other.until("subscribed");
    await node.publish("kept:other", 1);
    await other.until("publication");
    client.close();
  });

  test("with fewer rights ends the subscriptions that it no longer allows, and only those", async () => {
    let asked = 0;
    const client = connect(node.url, {
      token: () => token("ada", asked++ ? { subscribe: ["secret:b"] } : { ttl: 2, subscribe: ["secret:*"] }),
    });
    const [a, b] = [journal(client.subscribe("secret:a")), journal(client.subscribe("secret:b"))];
    await a.until("error");
    assert.equal(a.of("error")[0].code, "forbidden");
    await node.publish("secret:b", 1);
    await b.until("publication");
    assert.deepEqual(b.of("error"), []);
    client.close();
  });
});
