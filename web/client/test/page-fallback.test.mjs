// `tidegate/fallback` in a real page of another origin, behind a proxy that refuses WebSockets.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { startBrowser } from "./browser.mjs";
import { AUTH, startHttpProxy, startNode, token, until } from "./nodes.mjs";

let chromium;
before(async () => { chromium = await startBrowser(); });

for (const transport of ["sse", "poll"]) {
  test(`a page publishes and receives by ${transport}, also after its connections were cut`, async () => {
    const node = await startNode(AUTH);
    const proxy = await startHttpProxy(node);
    proxy.buffers = transport == "poll";
    const tab = await chromium.tab(([url, jwt]) => {
      window.client = fallback.connect(url, { token: () => jwt });
      window.got = [];
      window.gaps = [];
      client.subscribe("kept:page", ({ data, bytes }) => got.push(data ?? [...bytes])).on("gap", ({ reason }) => gaps.push(reason));
    }, [proxy.url, token("ada")]);
    await until("it is open", () => tab.evaluate(() => client.state == "open"));
    assert.equal(await tab.evaluate(() => client.transport), transport);
    await tab.evaluate(() => Promise.all([client.publish("kept:page", { n: 1 }), client.publish("kept:page", Uint8Array.of(0, 255))]));
    await until("both", () => tab.evaluate(() => got.length == 2));
    proxy.cut();
    await node.publish("kept:page", { n: 3 });
    await until("the missed one", () => tab.evaluate(() => got.length == 3));
    assert.deepEqual(await tab.evaluate(() => got), [{ n: 1 }, [0, 255], { n: 3 }]);
    assert.deepEqual(await tab.evaluate(() => gaps), []);
    await tab.close();
  });
}
