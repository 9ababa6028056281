// The same program in every runtime: what the client needs of a runtime, against a real node. Prints "ok" or throws.
import { connect } from "../dist/index.js";

const { argv } = globalThis.process ?? { argv: [] };
const url = globalThis.Deno?.args[0] ?? argv[2];
const client = connect(url, globalThis.WebSocket ? {} : { WebSocket: (await import("ws")).WebSocket });
const got = [];
const subscription = client.subscribe("kept:runtime", { last: 1 });
await client.publish("kept:runtime", { in: "any runtime" });
await client.publish("kept:runtime", Uint8Array.of(1, 255));
for await (const publication of subscription) {
  got.push(publication.bytes ?? publication.data);
  if (got.length == 2) break;
}
if (got[0].in != "any runtime" || got[1][1] != 255) throw new Error(JSON.stringify(got));
const { publications } = await client.history("kept:runtime");
if (publications.length != 2) throw new Error(`${publications.length} in the history`);
client.close();
console.log("ok");
