/** The same client where WebSockets are missing or blocked: by Server-Sent Events, then by long poll. */

import * as core from "./index.js";
import { createHttpSocket, type HttpTransport } from "./http-socket.js";
import type { AnyChannels, Client, Options, WebSocketLike } from "./types.js";

export type * from "./types.js";

export type Transport = "websocket" | HttpTransport;

export interface FallbackClient<Channels = AnyChannels> extends Client<Channels> {
  /** How publications come now, or how the next attempt is made. */
  readonly transport: Transport;
}

/** After so many WebSockets in a row that got no first message, another transport is tried. */
const FAILURES_MAX = 2;

/** The first look whether WebSockets or streams work again comes after so long, in milliseconds; each further one after four times as long. */
const LOOK_DELAY = 1_000;

/** After a stream that lived for so long, the looks begin with the shortest delay again. */
const STABLE = 30_000;

/** How long a WebSocket may take to its first message, in milliseconds. Some proxies let it hang. */
const WEBSOCKET_TIMEOUT = 5_000;

export interface FallbackOptions extends Options {
  /** How often to look whether WebSockets work again, or event streams while polling, in milliseconds; 60,000 by default. */
  retryWebSocket?: number;
}

export function connect<Channels = AnyChannels>(url: string, options: FallbackOptions = {}): FallbackClient<Channels> {
  const { href } = new URL(url, globalThis.location?.href);
  const base = href.replace(/^ws/, "http").replace(/\/ws\/?(\?.*)?$/, "");
  const WebSocketClass = options.WebSocket ?? (globalThis.WebSocket as unknown as Options["WebSocket"]);
  const retry = options.retryWebSocket ?? 60_000;
  let transport: Transport = WebSocketClass ? "websocket" : "sse";
  /** What to use instead of a WebSocket: that which worked last. */
  let instead: HttpTransport = "sse";
  let failures = 0;
  let earlyEnds = 0;
  let streamLook = LOOK_DELAY;
  let streamingSince = Infinity;

  function usePoll() {
    transport = instead = "poll";
    if (Date.now() - streamingSince > STABLE) streamLook = LOOK_DELAY;
    streamingSince = Infinity;
  }

  /** Watches a WebSocket until its first message. */
  function createWebSocket(address: string, protocols?: string | string[]): WebSocketLike {
    const count = () => {
      if (++failures >= FAILURES_MAX) transport = instead;
      return transport != "websocket";
    };
    let inner: WebSocketLike;
    try {
      inner = new WebSocketClass!(address, protocols);
    } catch (error) {
      count();
      throw error;
    }
    let works = false;
    const end = (event: { code: number; reason: string }) => {
      clearTimeout(timer);
      inner.onclose = null;
      // A close code is a frame that came through.
      // Nothing was executed on it, and the delay before this attempt is enough for the other transport.
      if (!works && event.code == 1006 && count()) outer.onmessage?.({ data: '{"type":"reconnect","after_ms":0}' });
      outer.onclose?.(event);
    };
    const timer = setTimeout(() => {
      inner.close();
      end({ code: 1006, reason: "the WebSocket hangs" });
    }, WEBSOCKET_TIMEOUT);
    inner.onopen = (event) => outer.onopen?.(event);
    inner.onmessage = (event) => {
      if (!works) clearTimeout(timer);
      works = true;
      failures = 0;
      outer.onmessage?.(event);
    };
    inner.onerror = () => {};
    inner.onclose = end;
    const outer: WebSocketLike = {
      onopen: null,
      onmessage: null,
      onclose: null,
      onerror: null,
      send: (frame) => inner.send(frame),
      close() {
        clearTimeout(timer);
        inner.close();
      },
    };
    return outer;
  }

  function createHttp(kind: HttpTransport, address: string): WebSocketLike {
    let probe: WebSocketLike | undefined;
    let timer: any;
    /** Short at first: a node that was restarted refuses WebSockets for a moment only. */
    let delay = Math.min(retry, LOOK_DELAY);
    const socket = createHttpSocket(base, kind, {
      works() {
        earlyEnds = 0;
        if (kind == "sse") streamingSince = Math.min(streamingSince, Date.now());
        look();
      },
      endedEarly() {
        if (++earlyEnds >= FAILURES_MAX) usePoll();
      },
      unreachable() {
        if (!WebSocketClass) return;
        // Perhaps there is no network: a WebSocket first, when it is back.
        transport = "websocket";
        failures = FAILURES_MAX - 1;
      },
      blocksStreams: usePoll,
      passesStreams: () => (transport = instead = "sse"),
      nextLook() {
        const now = Math.min(retry, streamLook);
        streamLook = Math.min(retry, now * 4);
        return now * (0.5 + Math.random());
      },
    });

    /** Opens a WebSocket beside, again and again, until one gets a message. */
    function look() {
      if (!WebSocketClass) return;
      timer = setTimeout(() => {
        delay = Math.min(retry, delay * 4);
        look();
        probe?.close();
        try {
          probe = new WebSocketClass(address, "tidegate.v1.json");
        } catch {
          return;
        }
        probe.onerror = () => {};
        probe.onmessage = () => {
          clearTimeout(timer);
          probe!.close();
          socket.leave("WebSockets work again", () => {
            transport = "websocket";
            failures = 0;
          });
        };
      }, delay * (0.5 + Math.random()));
    }

    const end = socket.close.bind(socket);
    function close() {
      clearTimeout(timer);
      probe?.close();
      end();
    }
    return Object.assign(socket, { close });
  }

  const client = core.connect<Channels>(href, {
    ...options,
    WebSocket: function (address: string, protocols: string) {
      return transport == "websocket" ? createWebSocket(address, protocols) : createHttp(transport, address);
    } as any,
  });
  return Object.create(client, { transport: { get: () => transport } });
}
