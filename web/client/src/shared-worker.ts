/** The hub in a SharedWorker. A classic script: built into one file, which shared.ts starts. */

import { createHub, lockOf, type ToHub } from "./hub.js";

const ports = new Map<string, MessagePort>();
/** A worker has one hub: its name holds the address of the node. */
const hub = createHub((message) => {
  if ("tab" in message) ports.get(message.tab)?.postMessage(message);
  else new Set(ports.values()).forEach((port) => port.postMessage(message));
});

(globalThis as any).onconnect = ({ ports: [port] }: { ports: MessagePort[] }) => {
  port!.onmessage = ({ data }: { data: ToHub }) => {
    if ("hello" in data) {
      ports.set(data.tab, port!);
      navigator.locks.request(lockOf(data.tab), () => void ports.delete(data.tab));
    }
    hub.receive(data);
  };
};
