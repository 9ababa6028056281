// A worker for the demo page "assistant": answers each question in a run of its own, word by word, until it has said everything or
// a viewer stops it. A real one asks a model. It publishes through the node's internal listener.
//
//   node assistant.mjs [http://127.0.0.1:8080 [http://127.0.0.1:9090]]
//
// The node needs the rules of the demo pages (docs/DEMO.md), which it has by itself without a configuration.

import { setTimeout as wait } from "node:timers/promises";
import WebSocket from "ws"; // Node 22 has its own
import { connect } from "../web/client/dist/index.js";

const [node = "http://127.0.0.1:8080", api] = process.argv.slice(2);
const internal = api ?? (await (await fetch(`${node}/demo/facts.json`)).json()).api;
const client = connect(`${node.replace(/^http/, "ws")}/ws`, { WebSocket });

async function call(what, channel, body) {
  const answer = await fetch(new URL(`api/${what}/${encodeURIComponent(channel)}`, internal), { method: "POST", body });
  if (!answer.ok) throw new Error(`${what}: ${await answer.text()}`);
}

function words(question) {
  const text = `You asked: ${question} A tide gate lets the water out and does not let it back in. `.repeat(3);
  return text.split(/(?<= )/);
}

async function answer({ run, text }) {
  const channel = `demo:run:${run}`;
  let reason = "done";
  const control = client.subscribe(`demo:control:${channel}`, () => { reason = "stopped"; });
  for (const word of words(text)) {
    if (reason === "stopped") break;
    await call("publish", channel, word);
    await wait(60);
  }
  await call("end", channel, JSON.stringify({ reason }));
  control.unsubscribe();
}

client.subscribe("demo:assistant", ({ data }) => {
  answer(data).catch((error) => console.error(`No answer to ${JSON.stringify(data)}: ${error.message}`));
});
client.on("state", (state) => { if (state === "open") console.log("waiting for questions"); });
