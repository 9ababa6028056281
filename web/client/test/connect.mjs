// The client under test. Node 20 has no WebSocket of its own; later versions test theirs.
import { WebSocket as Ws } from "ws";
import { after } from "node:test";
import * as core from "tidegate";

const clients = [];
after(() => clients.forEach((client) => client.close()));

export const socket = globalThis.WebSocket ? {} : { WebSocket: Ws };

export function connect(url, options, module = core) {
  const client = module.connect(url, { timeout: 40_000, ...socket, ...options });
  clients.push(client);
  return client;
}
