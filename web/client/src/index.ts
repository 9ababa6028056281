/** The client for the json protocol of Tidegate over one WebSocket. README.md beside it is its manual. */

import { REQUEST_TIMEOUT } from "./bounds.js";
import { createConnection, type Connection } from "./connection.js";
import { createEvents } from "./events.js";
import { fault } from "./fault.js";
import { decode, encodeBase64, type Wire } from "./payload.js";
import { createRequests } from "./requests.js";
import { createSubscriptions } from "./subscriptions.js";
import type { AnyChannels, Client, Options } from "./types.js";

export type * from "./types.js";

/** Connects at once and stays connected until `close`, or until a node says that trying again is of no use. */
export function connect<Channels = AnyChannels>(url: string, options: Options = {}): Client<Channels> {
  const events = createEvents();
  const requests = createRequests(() => connection, options.timeout ?? REQUEST_TIMEOUT);
  const subscriptions = createSubscriptions(() => connection, requests);
  const { href } = new URL(url, globalThis.location?.href);

  const connection: Connection = createConnection(href.replace(/^http/, "ws"), options, {
    connected: subscriptions.connected,
    opened: requests.opened,
    sends: requests.sends,
    received(message) {
      if (!requests.answered(message)) subscriptions.received(message);
    },
    lost(unexecuted) {
      subscriptions.lost();
      requests.lost(unexecuted);
    },
    tooLarge: requests.tooLarge,
    changed(state, detail) {
      if (state == "closed") {
        requests.closed(detail.reason!);
        subscriptions.closed(detail.code == CLOSED_BY_CLIENT ? undefined : fault("closed", detail.reason!));
      }
      events.emit("state", state, detail);
    },
  });

  const client: Client<any> = {
    get state() {
      return connection.state;
    },
    on: events.on,
    subscribe(channel: string, first?: any, second?: any) {
      const [handler, wishes] = typeof first == "object" ? [second, first] : [first, second];
      return subscriptions.subscribe(channel, handler, wishes);
    },
    async publish(channel, data: any, { key, text, traceparent } = {}) {
      const command: Wire = { type: "publish", channel, traceparent, idempotency_key: key ?? randomKey() };
      if (data instanceof ArrayBuffer) data = new Uint8Array(data);
      if (data instanceof Uint8Array) command.base64 = encodeBase64(data);
      else command[text ? "text" : "data"] = data;
      const { position } = await requests.request(command, channel);
      requests.keeps(channel, position);
      return { position };
    },
    async presence(channel) {
      const { members, truncated } = await requests.request({ type: "presence", channel });
      return { members, truncated };
    },
    async history(channel, { since, limit } = {}) {
      const { publications, position, recovered, more } = await requests.request({ type: "history", channel, since, limit });
      return { publications: publications.map((each: Wire) => decode(channel, each)), position, recovered, more };
    },
    close: () => connection.close(CLOSED_BY_CLIENT, "closed by the client"),
  };
  return client;
}

const CLOSED_BY_CLIENT = 1000;

/** 128 bits. Not `randomUUID`, which pages without TLS do not have. */
const randomKey = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
