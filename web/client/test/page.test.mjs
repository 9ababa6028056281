// Events of a page: what comes back is connected at once. A page is an EventTarget here; tests/browser has real ones.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connect } from "./connect.mjs";
import { journal, record, startNode, startProxy, until } from "./nodes.mjs";

const page = new EventTarget();
const listening = new Map();
globalThis.addEventListener = (type, ...rest) => {
  listening.set(type, (listening.get(type) ?? 0) + 1);
  page.addEventListener(type, ...rest);
};
globalThis.removeEventListener = (type, ...rest) => {
  listening.set(type, listening.get(type) - 1);
  page.removeEventListener(type, ...rest);
};

let node;
before(async () => { node = await startNode(); });
const { random } = Math;
after(() => { Math.random = random; });

for (const event of ["online", "visibilitychange", "resume", "pageshow"]) {
  test(`${event} ends the waiting for the next attempt`, async () => {
    const proxy = await startProxy(node);
    const client = connect(proxy.url);
    const states = record(client);
    await states.until("open");
    Math.random = () => 1e6; // the delays are minutes long
    proxy.cut();
    await states.until("waiting");
    Math.random = random;
    await until("a second attempt is allowed", () => {
      page.dispatchEvent(new Event(event));
      return client.state != "waiting";
    });
    await states.until("open", 2);
    client.close();
  });
}

test("a hidden page lets its connection go, and resumes when it is shown again", async () => {
  const client = connect(node.url);
  const kept = journal(client.subscribe("kept:hidden"));
  const states = record(client);
  await kept.until("subscribed");
  Math.random = () => 1e6;
  page.dispatchEvent(new Event("pagehide"));
  Math.random = random;
  assert.equal(client.state, "waiting");
  await node.publish("kept:hidden", "meanwhile");
  await until("it is shown", () => {
    page.dispatchEvent(new Event("pageshow"));
    return client.state != "waiting";
  });
  await kept.until("publication");
  assert.deepEqual(kept.of("gap"), []);
  assert.equal(states.states.find(({ state }) => state == "waiting").reason, "page hidden");
  client.close();
});

test("a connection that died while the page slept is found by a ping at once, and a live one stays", async () => {
  const proxy = await startProxy(node);
  const client = connect(proxy.url);
  const states = record(client);
  await states.until("open");
  for (const _ of [1, 2, 3]) page.dispatchEvent(new Event("visibilitychange"));
  await client.history("kept:any");
  assert.equal(client.state, "open");
  proxy.stalled = true;
  page.dispatchEvent(new Event("online"));
  // Not only after the node's ping interval of 25 s.
  await states.until("waiting");
  assert.equal(states.states.at(-1).code, 4009);
  client.close();
});

test("a closed client listens to nothing", async () => {
  const client = connect(node.url);
  client.close();
  await until("all listeners are removed", () => [...listening.values()].every((count) => count == 0));
});
