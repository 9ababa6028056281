// The hooks, with the real React in a DOM without a browser.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Window } from "happy-dom";
import { connect } from "./connect.mjs";
import { AUTH, startNode, startProxy, token, until } from "./nodes.mjs";

const window = new Window();
for (const [name, value] of Object.entries({ window, document: window.document, navigator: window.navigator })) {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
const { createElement, StrictMode, useEffect } = await import("react");
const { createRoot } = await import("react-dom/client");
const { TidegateProvider, useChannel, useClient, useConnection, usePresence } = await import("tidegate/react");

let node;
before(async () => { node = await startNode(AUTH); });

/** Renders the component in strict mode, which mounts everything twice; `text` is what it shows. */
function render(client, Component, props) {
  const root = createRoot(document.body.appendChild(document.createElement("div")));
  const container = document.body.lastChild;
  const draw = (props) => root.render(createElement(StrictMode, null, createElement(TidegateProvider, { client }, createElement(Component, props))));
  draw(props);
  return { draw, unmount: () => root.unmount(), shows: (text) => until(`it shows ${text}, not ${container.textContent}`, () => container.textContent == text) };
}

test("useConnection shows the state of the connection, also when it is lost and comes back", async () => {
  const proxy = await startProxy(node);
  const client = connect(proxy.url);
  const page = render(client, () => useConnection());
  await page.shows("open");
  proxy.refuses = true;
  proxy.cut();
  await until("the loss", () => client.state != "open");
  proxy.refuses = false;
  await page.shows("open");
  client.close();
  await page.shows("closed");
  page.unmount();
});

test("useChannel keeps the newest publications of its channel, changes channels, and ends with the component", async () => {
  const client = connect(node.url);
  const handled = [];
  const Channel = ({ channel }) => {
    const { publications, subscribed } = useChannel(channel, { last: 2, keep: 3, onPublication: ({ data }) => handled.push(data) });
    return `${subscribed ? channel : "…"}: ${publications.map(({ data }) => data).join()}`;
  };
  for (const n of [1, 2, 3]) await node.publish("kept:a", n);
  // The late joiner of a shared subscription, so that the past is read by `history`.
  const other = client.subscribe("kept:a");
  await new Promise((resolve) => other.on("subscribed", resolve));
  const page = render(client, Channel, { channel: "kept:a" });
  await page.shows("kept:a: 2,3");
  for (const n of [4, 5]) await node.publish("kept:a", n);
  await page.shows("kept:a: 3,4,5");
  assert.deepEqual([...new Set(handled)], [2, 3, 4, 5]);
  page.draw({ channel: "kept:b" });
  await page.shows("kept:b: ");
  page.draw({ channel: null });
  other.unsubscribe();
  await until("no subscription is left", async () => (await node.channels()).every((channel) => !channel.startsWith("kept:")));
  page.unmount();
  client.close();
});

test("useChannel shows a whole run, and how it ended", async () => {
  const rules = `[{ pattern = "run:*", history = { size = 1000, age = "1m" }, run = { lease = "30s" } }]`;
  const running = await startNode({ rules });
  const client = connect(running.url);
  const words = Array.from({ length: 150 }, (_, at) => `word ${at} `);
  for (const word of words.slice(0, 120)) await running.publish("run:1", word);
  const page = render(client, () => {
    const { publications, ended } = useChannel("run:1", { since: "first", keep: Infinity });
    return `${publications.map(({ data }) => data).join("")}${ended ?? ""}`;
  });
  await page.shows(words.slice(0, 120).join(""));
  for (const word of words.slice(120)) await running.publish("run:1", word);
  await running.end("run:1", { reason: "done" });
  await page.shows(`${words.join("")}done`);
  client.close();
  page.unmount();
});

test("usePresence shows who is in the channel, as they come and go", async () => {
  const node = await startNode({ ...AUTH, "presence.grace": "0s" });
  const client = connect(node.url, { token: () => token("ada") });
  const page = render(client, () => usePresence("kept:room").members.map(({ user, sessions }) => `${user} ${sessions}`).join());
  await page.shows("ada 1");
  const bob = connect(node.url, { token: () => token("bob") });
  bob.subscribe("kept:room");
  await page.shows("ada 1,bob 1");
  bob.close();
  await page.shows("ada 1");
  page.unmount();
  client.close();
});

test("a refused channel and a channel without presence are told as errors", async () => {
  const client = connect(node.url, { token: () => token("ada") });
  const page = render(client, () => `${useChannel("secret:1").error?.code} ${usePresence("none").error?.code}`);
  await page.shows("forbidden not_found");
  page.unmount();
  client.close();
});

test("a component publishes with the client of the provider; without a provider it is told so", async () => {
  const client = connect(node.url);
  const Publisher = () => {
    const client = useClient();
    const { publications, subscribed } = useChannel("kept:p");
    useEffect(() => void (subscribed && client.publish("kept:p", "from a component").catch(() => {})), [client, subscribed]);
    return publications.map(({ data }) => data).join();
  };
  const page = render(client, Publisher);
  await page.shows("from a component");
  page.unmount();
  client.close();
  const errors = [];
  createRoot(document.createElement("div"), { onUncaughtError: (error) => errors.push(error.message) }).render(createElement(() => useConnection()));
  await until("the error", () => errors.some((message) => message.includes("TidegateProvider")));
});
