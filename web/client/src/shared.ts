/** The same client, with one connection for all tabs of an origin. */

import * as core from "./index.js";
import { createEvents } from "./events.js";
import { createHub, lockOf, randomName, type FromHub, type ToHub } from "./hub.js";
import type { AnyChannels, Client, Options, State, StateDetail, WebSocketLike } from "./types.js";

export type * from "./types.js";

export interface SharedOptions extends Options {
  /**
   * Tabs with the same name share one connection, so they have the same user: name it by the user where an origin has
   * several at a time.
   */
  name?: string;
  /** The address of `shared-worker.js`, where a bundler does not find it. false: no worker, a tab leads. */
  worker?: string | URL | false;
}

/** How one socket of a tab reaches the hub. */
interface Link {
  post(message: ToHub): void;
  close(): void;
}

/** How a client reaches its hub. */
interface Links {
  open(listener: (message: FromHub) => void): Link;
  close(): void;
}

/**
 * Connects like `connect` of the core. Where the browser lacks what sharing needs (Web Locks, which pages without TLS do
 * not have), each tab has a connection of its own.
 */
export function connect<Channels = AnyChannels>(url: string, options: SharedOptions = {}): Client<Channels> {
  const { name = "", worker, token, timeout } = options;
  if (!globalThis.navigator?.locks || !(globalThis.SharedWorker || globalThis.BroadcastChannel)) {
    return core.connect(url, options);
  }
  const { href } = new URL(url, location.href);
  const links = createLinks(`tidegate ${href} ${name}`, worker);
  const events = createEvents();
  /** What the hub's own connection does; while it is not open, that is the state of this client too. */
  let hubState: State | undefined;
  let hubDetail: StateDetail = {};
  let told: State | undefined;

  const client = core.connect<Channels>(href, {
    timeout,
    WebSocket: function () {
      return createSocket(links, { url: href, timeout }, token, (state, detail = {}) => {
        hubState = state;
        hubDetail = detail;
        tell(detail);
      });
    } as any,
  });
  const current = () => (client.state != "closed" && hubState && hubState != "open" ? hubState : client.state);

  function tell(detail: StateDetail) {
    const state = current();
    if (state == told) return;
    told = state;
    events.emit("state", state, state == "open" ? { ...hubDetail, ...detail } : detail);
  }
  client.on("state", (state, detail) => {
    if (state == "closed") links.close();
    tell(detail);
  });

  return Object.create(client, {
    state: { get: current },
    on: { value: events.on },
  });
}

/** A WebSocket to the hub, as the core wants one. */
function createSocket(
  links: Links,
  hello: { url: string; timeout?: number },
  token: Options["token"],
  hubIs: (state: State | undefined, detail?: StateDetail) => void,
): WebSocketLike {
  const tab = randomName();
  let hub: string | undefined;
  let over = false;
  let locked = false;
  let free = () => {};
  // Not before the tab holds its lock: the hub takes a session whose lock is free for one of a crashed tab.
  const greet = () => void (locked && link.post({ tab, hello }));

  const link = links.open(async (message) => {
    if (over) return;
    if ("hub" in message) {
      // A new hub announces itself to tabs that have greeted in vain.
      if (!hub) greet();
      else if (hub == message.hub) hubIs(message.state, message.detail);
    } else if (message.tab != tab) {
      return;
    } else if ("opened" in message) {
      if (hub) return;
      hub = message.opened;
      navigator.locks.request(lockOf(hub), { mode: "shared" }, () => lost(1006, "the hub has gone"));
      socket.onopen?.({});
    } else if ("frame" in message) {
      socket.onmessage?.({ data: JSON.stringify(message.frame) });
    } else if ("closed" in message) {
      lost(message.closed.code, message.closed.reason);
    } else {
      try {
        link.post({ tab, token: await token?.() });
      } catch (error) {
        link.post({ tab, token: null, failed: String(error) });
      }
    }
  });

  function end() {
    over = true;
    link.close();
    free();
    hubIs(undefined);
  }

  function lost(code: number, reason: string) {
    if (over) return;
    end();
    socket.onclose?.({ code, reason });
  }

  navigator.locks.request(lockOf(tab), () => {
    if (over) return;
    locked = true;
    greet();
    return new Promise<void>((resolve) => (free = resolve));
  });

  const socket: WebSocketLike = {
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    send: (frame) => link.post({ tab, frame: JSON.parse(frame) }),
    close() {
      if (over) return;
      link.post({ tab, bye: true });
      end();
    },
  };
  return socket;
}

function createLinks(name: string, worker: SharedOptions["worker"]): Links {
  let leader: Links | undefined;
  const lead = () => (leader ??= createLeaderLinks(name));
  return {
    open(listener) {
      if (leader || worker === false || !globalThis.SharedWorker) return lead().open(listener);
      try {
        return openWorker(name, worker, listener, lead);
      } catch {
        // A policy of the page forbids workers.
        return lead().open(listener);
      }
    },
    close: () => leader?.close(),
  };
}

/** Each socket has a port of its own: after a worker's death, the next socket starts another worker. */
function openWorker(name: string, worker: string | URL | undefined, listener: (message: FromHub) => void, lead: () => Links): Link {
  // The address is written here, so that bundlers find the file.
  const shared = worker ? new SharedWorker(worker, { name }) : new SharedWorker(new URL("./shared-worker.js", import.meta.url), { name });
  let instead: Link | undefined;
  const unanswered: ToHub[] = [];
  shared.port.onmessage = ({ data }) => listener(data);
  // The script cannot be loaded.
  shared.onerror = () => {
    instead ??= lead().open(listener);
    unanswered.forEach(instead.post);
  };
  return {
    post(message) {
      if (instead) return instead.post(message);
      if ("hello" in message) unanswered.push(message);
      shared.port.postMessage(message);
    },
    close() {
      instead?.close();
      // Behind the last message.
      setTimeout(() => shared.port.close());
    },
  };
}

/** Without a SharedWorker: the tab that holds a lock has the hub, and all speak over a BroadcastChannel. */
function createLeaderLinks(name: string): Links {
  let closed = false;
  let resign = () => {};

  function campaign() {
    navigator.locks.request(`${name} leader`, () => (closed ? undefined : lead()));
  }

  /** Until it resigns: with the page, or with the client. */
  function lead() {
    const channel = new BroadcastChannel(name);
    const hub = createHub((message) => channel.postMessage({ toTab: message }));
    channel.onmessage = ({ data }) => {
      if ("toHub" in data) hub.receive(data.toHub);
    };
    channel.postMessage({ toTab: { hub: hub.name } });
    return new Promise<void>((resolve) => {
      resign = () => {
        resign = () => {};
        hub.close();
        channel.close();
        resolve();
      };
    });
  }

  // A page in the back/forward cache may hold no lock.
  const hide = () => resign();
  const show = ({ persisted }: PageTransitionEvent) => persisted && campaign();
  addEventListener("pagehide", hide);
  addEventListener("pageshow", show);
  campaign();

  return {
    open(listener) {
      const channel = new BroadcastChannel(name);
      channel.onmessage = ({ data }) => {
        if ("toTab" in data) listener(data.toTab);
      };
      return {
        post: (message) => channel.postMessage({ toHub: message }),
        close: () => setTimeout(() => channel.close()),
      };
    },
    close() {
      closed = true;
      resign();
      removeEventListener("pagehide", hide);
      removeEventListener("pageshow", show);
    },
  };
}
