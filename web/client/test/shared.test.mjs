// `tidegate/shared` in real tabs: one connection, and each tab gets all of its own.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { startBrowser } from "./browser.mjs";
import { AUTH, startNode, startProxy, token, until } from "./nodes.mjs";

let chromium;
before(async () => { chromium = await startBrowser(); });

/** Runs in a tab: a client, and what it was told. */
function join([url, worker, name, tokens]) {
  let asked = 0;
  const client = shared.connect(url, { worker, name, token: tokens && (() => (window.asked = ++asked, tokens[0])) });
  window.client = client;
  window.states = [];
  client.on("state", (state) => states.push(state));
  window.got = [];
  window.gaps = [];
  window.follow = (channel, options) => {
    const subscription = client.subscribe(channel, ({ data }) => got.push(data), options);
    subscription.on("gap", ({ reason }) => gaps.push(`${channel} ${reason}`));
    return new Promise((resolve) => subscription.on("subscribed", () => resolve()));
  };
}

describe("tabs", { concurrency: 3 }, () => {

for (const [how, worker, TABS] of [["a SharedWorker", undefined, 20], ["a tab that leads", false, 8]]) {
  test(`${TABS} tabs over ${how} have one connection, and each gets all of its own`, async () => {
    const node = await startNode();
    const proxy = await startProxy(node);
    const tabs = [];
    for (let at = 0; at < TABS; at++) tabs.push(await chromium.tab(join, [proxy.url, worker, `tabs ${how}`]));
    await Promise.all(tabs.map((tab, at) => tab.evaluate((at) => Promise.all([follow("kept:all"), follow(`kept:own-${at}`)]), at)));
    assert.equal(proxy.connections, 1);
    await Promise.all(tabs.map((tab, at) => tab.evaluate((at) => client.publish("kept:all", `from ${at}`), at)));
    for (let at = 0; at < TABS; at++) await node.publish(`kept:own-${at}`, `own ${at}`);
    const expected = (at) => [...Array.from({ length: TABS }, (_, each) => `from ${each}`), `own ${at}`].sort();
    for (const [at, tab] of tabs.entries()) {
      await until(`tab ${at} has all`, async () => (await tab.evaluate(() => got.length)) >= TABS + 1);
      assert.deepEqual(await tab.evaluate(() => got.toSorted()), expected(at));
    }
    const orders = new Set(await Promise.all(tabs.map((tab) => tab.evaluate(() => JSON.stringify(got.filter((each) => each.startsWith("from")))))));
    assert.equal(orders.size, 1, "the same order in every tab");

    // A cut connection is one connection again, and no tab misses anything.
    proxy.refuses = true;
    proxy.cut();
    await node.publish("kept:all", "meanwhile");
    await until("the tabs know", () => tabs[3].evaluate(() => client.state != "open"));
    proxy.refuses = false;
    for (const tab of tabs) await until("the missed one", () => tab.evaluate(() => got.includes("meanwhile")));
    assert.equal(proxy.connections, 2);

    // The last tab crashes: what only it followed is no longer subscribed to.
    const channels = () => node.channels();
    const last = `kept:own-${TABS - 1}`;
    assert.ok((await channels()).includes(last));
    await chromium.crash(tabs[TABS - 1]);
    await until("the crashed tab's subscription is released", async () => !(await channels()).includes(last));
    assert.ok((await channels()).includes("kept:own-0"));

    // The first tab, which leads where there is no worker, ends without a word: the others lose nothing.
    await chromium.crash(tabs[0]);
    await node.publish("kept:all", "after the crash");
    for (const tab of tabs.slice(1, TABS - 1)) {
      await until("the others go on", () => tab.evaluate(() => got.includes("after the crash")));
      assert.deepEqual(await tab.evaluate(() => gaps), []);
      assert.equal(await tab.evaluate(() => new Set(got).size), await tab.evaluate(() => got.length));
    }
    // Tabs that close as tabs do.
    for (const tab of tabs.slice(1, TABS - 1)) await tab.close();
    await until("no tab, no connection", async () => (await channels()).every((channel) => !channel.startsWith("kept:")));
  });

  test(`over ${how}, commands are answered, refusals told, the past delivered, and tokens asked of a tab`, async () => {
    const node = await startNode(AUTH);
    const arguments_ = [node.url, worker, `commands ${how}`, [token("ada", { subscribe: ["secret:mine"] })]];
    const [one, two] = [await chromium.tab(join, arguments_), await chromium.tab(join, arguments_)];
    await one.evaluate(() => follow("kept:1"));
    await one.evaluate(async () => { for (const n of [1, 2, 3]) await client.publish("kept:1", n); });
    await two.evaluate(() => follow("kept:1", { last: 2 }));
    await until("the past", async () => (await two.evaluate(() => got.join())) == "2,3");
    assert.deepEqual(await two.evaluate(() => client.presence("kept:1")).then(({ members }) => members), [{ user: "ada", sessions: 1 }]);
    assert.equal(await two.evaluate(() => client.history("kept:1").then(({ publications }) => publications.length)), 3);
    assert.equal(await two.evaluate(() => client.history("none").catch(({ code }) => code)), "not_found");
    assert.equal(await one.evaluate(() => new Promise((resolve) => client.subscribe("secret:other").on("error", ({ code }) => resolve(code)))), "forbidden");
    const bytes = await one.evaluate(async () => {
      const got = new Promise((resolve) => client.subscribe("news", ({ bytes }) => resolve([...bytes])));
      await client.publish("news", Uint8Array.of(0, 255));
      return got;
    });
    assert.deepEqual(bytes, [0, 255]);
    assert.equal(await one.evaluate(() => window.asked ?? 0) + await two.evaluate(() => window.asked ?? 0), 1);
    for (const tab of [one, two]) await tab.close();
  });

  // The delays between its attempts take seconds, so one way is enough.
  if (worker === false) test(`over ${how}, a token that no node takes closes every tab's client`, async () => {
    const node = await startNode(AUTH);
    const tabs = [];
    for (const _ of [1, 2]) tabs.push(await chromium.tab(join, [node.url, worker, `refused ${how}`, ["no token"]]));
    for (const tab of tabs) await until("closed", () => tab.evaluate(() => client.state == "closed"));
    for (const tab of tabs) await tab.close();
  });
}

});
