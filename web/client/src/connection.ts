import * as bounds from "./bounds.js";
import type { Options, State, StateDetail, WebSocketLike } from "./types.js";
import type { Wire } from "./payload.js";

/** What happens on the connection, for the parts of the client above it. */
export interface Listener {
  /** The socket takes frames. Subscriptions are sent now, directly behind the token: the node keeps the order. */
  connected(): void;
  /** The node knows the client: commands that are not to be repeated are sent from now on. */
  opened(user: string | null | undefined): void;
  received(message: Wire): void;
  /** A socket that queues a publication sends it now. Returns whether it is still wanted. */
  sends(id: number): boolean;
  /** `unexecuted`: the node has told before that it has executed nothing of what it has not answered. */
  lost(unexecuted: boolean): void;
  /** A command was larger than the node accepts. Returns whether the commands without it are worth another attempt. */
  tooLarge(): boolean;
  changed(state: State, detail: StateDetail): void;
}

export interface Connection {
  readonly state: State;
  /** Returns false if the frame was not sent: the connection takes none now, or its socket queues it. */
  send(command: Wire | string): boolean;
  close(code: number, reason: string): void;
}

/** Codes after which the same again would end in the same way. 4001 is final without a token function only. */
const FINAL = [1002, 1003, 1007, 1008, 1009, 4003];
const UNAUTHORIZED = 4001;
const OVERLOADED = 1013;
const CUT = 1006;
const TOO_LARGE = 1009;
const NO_PONG = 4009;
const DRAINED = 1012;

/** The id of `auth`; other commands have ids from 1. */
const AUTH_ID = 0;

/** Events of the page after which a connection is worth a look: a network, a tab or a laptop came back. */
const WAKING = ["online", "offline", "visibilitychange", "resume", "pageshow"];

/** Keeps one WebSocket open: token, handshake, watchdog, backoff. */
export function createConnection(url: string, options: Options, listener: Listener): Connection {
  let state: State = "closed";
  let socket: WebSocketLike | undefined;
  let connected = false;
  /** Grows with each attempt and each loss, so that callbacks of earlier ones are recognised. */
  let attempt = 0;
  let attemptedAt = 0;
  let openedAt = Infinity;
  let failures = 0;
  let authFailures = 0;
  let pingInterval = bounds.PONG_TIMEOUT;
  let pinged = false;
  /** From the node's `reconnect`; with it, the node executes nothing more. */
  let reconnectAfter: number | undefined;
  let welcome: Wire = {};
  let retryTimer: any;
  let watchTimer: any;
  let renewTimer: any;

  function change(next: State, detail: StateDetail = {}) {
    state = next;
    listener.changed(next, detail);
  }

  function watch(delay: number, act: () => void) {
    clearTimeout(watchTimer);
    watchTimer = setTimeout(act, delay);
  }

  async function connect() {
    if (state == "closed") return;
    const mine = ++attempt;
    const failed = (reason: unknown) => mine == attempt && lose(CUT, String(reason));
    clearTimeout(retryTimer);
    socket?.close();
    connected = false;
    attemptedAt = Date.now();
    change("connecting");
    // A listener may have closed the client.
    if (mine != attempt) return;
    watch(bounds.CONNECT_TIMEOUT, () => failed("no answer in time"));
    try {
      const token = await options.token?.();
      if (mine != attempt) return;
      const own = new (options.WebSocket ?? (WebSocket as any))(url, "tidegate.v1.json");
      socket = own;
      own.onopen = () => {
        if (mine != attempt) return;
        connected = true;
        if (token) authenticate(token);
        listener.connected();
      };
      own.onmessage = ({ data }: { data: string }) => mine == attempt && receive(JSON.parse(data), !!token);
      own.onsend = (id: number) => mine == attempt && listener.sends(id);
      let why: string | undefined;
      own.onerror = (event: any) => void (why = event?.message); // `close` follows; browsers tell no reason
      own.onclose = ({ code, reason }: { code: number; reason: string }) => mine == attempt && lose(code, reason || why || "");
    } catch (error) {
      failed(error);
    }
  }

  function receive(message: Wire, hasToken: boolean) {
    pinged = false;
    if (state == "open") watch(pingInterval, ping);
    if (message.type == "welcome") {
      welcome = message;
      pingInterval = message.ping_interval_ms;
      if (!hasToken) open(message.user); // a node names no user here, the hub of shared tabs does
    } else if (message.type == "authenticated") {
      renew(message.expires_in_ms);
      if (state != "open") open(message.user);
    } else if (message.type == "reconnect") {
      reconnectAfter = message.after_ms;
    } else if (message.type == "error" && message.id === AUTH_ID) {
      // A refused renewal changes nothing: the node closes at the expiry of the old token.
      if (state != "open") lose(message.code == "unauthorized" ? UNAUTHORIZED : OVERLOADED, message.message);
    } else {
      listener.received(message);
    }
  }

  function open(user?: string | null) {
    openedAt = Date.now();
    authFailures = 0;
    watch(pingInterval, ping);
    // Queued commands go before those that a listener of the state sends.
    state = "open";
    listener.opened(user);
    change("open", { node: welcome.node, session: welcome.session, user });
  }

  function lose(code: number, reason: string) {
    const stable = code < 1_011 || code == UNAUTHORIZED ? bounds.STABLE_AFTER_CUT : bounds.STABLE;
    if (Date.now() - openedAt > stable) failures = 0;
    const after = reconnectAfter ?? (code == DRAINED ? 1_000 + Math.random() * 29_000 : undefined);
    release();
    const final = FINAL.includes(code) && !(code == TOO_LARGE && listener.tooLarge());
    listener.lost(reconnectAfter != null);
    reconnectAfter = undefined;
    if (final || (code == UNAUTHORIZED && (!options.token || ++authFailures > bounds.AUTH_FAILURES_MAX))) {
      finish(code, reason);
    } else {
      const delay = after ?? Math.random() * Math.min(bounds.BACKOFF_MAX, bounds.BACKOFF_BASE * 2 ** failures++);
      retryTimer = setTimeout(connect, delay);
      change("waiting", { code, reason, delay });
    }
  }

  /** Lets go of the socket and of all timers. */
  function release() {
    attempt++;
    connected = pinged = false;
    openedAt = Infinity;
    [retryTimer, watchTimer, renewTimer].forEach(clearTimeout);
    socket?.close();
    socket = undefined;
  }

  function finish(code: number, reason: string) {
    WAKING.forEach((event) => globalThis.removeEventListener?.(event, wake, true));
    globalThis.removeEventListener?.("pagehide", hide, true);
    change("closed", { code, reason });
  }

  function send(command: Wire | string) {
    return connected && reconnectAfter == null && socket!.send(typeof command == "string" ? command : JSON.stringify(command)) !== false;
  }

  /** Browsers do not show the node's pings to a page, so the client asks when it has heard nothing. */
  function ping() {
    if (pinged) return lose(NO_PONG, "no pong");
    pinged = true;
    send({ type: "ping" });
    watch(bounds.PONG_TIMEOUT, ping);
  }

  function authenticate(token: string) {
    send({ type: "auth", id: AUTH_ID, token });
  }

  /** Asks for a new token when a tenth of the old one's time is left, then when a hundredth is, and so on. */
  function renew(expiresIn: number | undefined) {
    clearTimeout(renewTimer);
    if (!expiresIn || expiresIn < 1_000) return;
    const mine = attempt;
    // Timers hold 31 bits.
    renewTimer = setTimeout(async () => {
      renew(expiresIn / 10);
      try {
        const token = await options.token!();
        if (mine == attempt && token) authenticate(token);
      } catch {
        // Asked again later; at the latest when the node closes with 4001.
      }
    }, Math.min(expiresIn * 0.9, 2 ** 31 - 1));
  }

  function wake() {
    if (state == "open") {
      // It may have died unnoticed: a pong has to come now.
      if (!pinged) ping();
    } else if (state != "closed" && reconnectAfter == null && Date.now() - attemptedAt > bounds.WAKE_INTERVAL) {
      connect();
    }
  }

  /** A page in the back/forward cache may have no open connection. */
  function hide() {
    if (socket) lose(CUT, "page hidden");
  }

  WAKING.forEach((event) => globalThis.addEventListener?.(event, wake, true));
  globalThis.addEventListener?.("pagehide", hide, true);
  state = "connecting";
  // Listeners are added after `connect` has returned.
  queueMicrotask(connect);

  return {
    get state() {
      return state;
    },
    send,
    close(code, reason) {
      if (state == "closed") return;
      release();
      listener.lost(false);
      finish(code, reason);
    },
  };
}
