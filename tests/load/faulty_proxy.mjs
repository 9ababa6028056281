// A gateway with a fault that the load tests must detect: it forwards WebSockets, but drops or duplicates the 10th publication
// to each client, or swaps it with the next one. With `drain` it forwards everything and drains each connection at that point.
//
//   node tests/load/faulty_proxy.mjs drop|double|swap|drain PORT ws://gateway
import { createRequire } from "node:module";
const { WebSocket, WebSocketServer } = createRequire(new URL("../clients/", import.meta.url))("ws");

const FAULTY = 10;
const AFTER_MS = 300;
const [fault, port, gateway] = process.argv.slice(2);

const faults = {
  drop: () => [],
  double: (frame) => [frame, frame],
  swap: (frame, held) => {
    held.frame = frame;
    return [];
  },
  drain: (frame) => [frame, JSON.stringify({ type: "reconnect", after_ms: AFTER_MS, reason: "drain" })],
};

new WebSocketServer({ host: "127.0.0.1", port: Number(port) }).on("connection", (client, request) => {
  const node = new WebSocket(gateway + request.url);
  const waiting = [];
  const held = {};
  let publications = 0;

  client.on("message", (data) => (node.readyState === WebSocket.OPEN ? node.send(String(data)) : waiting.push(String(data))));
  node.on("open", () => waiting.forEach((frame) => node.send(frame)));
  node.on("message", (data) => {
    const frame = String(data);
    publications += /"seq":/.test(frame) ? 1 : 0;
    const faulty = publications === FAULTY && !held.frame;
    const out = faulty ? faults[fault](frame, held) : [frame, held.frame].filter((each) => each);
    if (!faulty) held.frame = undefined;
    out.forEach((each) => client.send(each));
    if (faulty && fault === "drain") client.close(1012);
  });
  for (const [one, other] of [[client, node], [node, client]]) {
    one.on("close", () => other.terminate());
    one.on("error", () => other.terminate());
  }
});
console.log("ready");
