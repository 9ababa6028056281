/**
 * The one connection of all tabs, in a SharedWorker or in the tab that leads. To each tab it speaks the json protocol,
 * so that the tab's client is the same core as on a WebSocket of its own.
 */

import { connect } from "./index.js";
import { decodeBase64, encode, startOf, type Wire } from "./payload.js";
import type { Client, State, StateDetail, Subscription, TidegateError } from "./types.js";

/** What a tab sends; `tab` names its session. */
export type ToHub = { tab: string } & (
  | { hello: { url: string; timeout?: number } }
  | { frame: Wire }
  | { token: string | null | undefined; failed?: string }
  | { bye: true }
);

/** What the hub sends, to one session or to all. */
export type FromHub =
  | { tab: string; opened: string }
  | { tab: string; frame: Wire }
  | { tab: string; asksToken: true }
  | { tab: string; closed: { code: number; reason: string } }
  | { hub: string; state?: State; detail?: StateDetail };

/** How long a tab may take to answer with a token before another is asked; a tab may be frozen. */
const TOKEN_TIMEOUT = 5_000;

/** A tab asks after so much silence whether its hub lives. */
const PING_INTERVAL = 5_000;

interface Session {
  tab: string;
  subscriptions: Map<string, Subscription>;
  opened?: boolean;
  welcomed?: boolean;
  gotToken?: (answer: { token?: string | null; failed?: string }) => void;
}

export interface Hub {
  readonly name: string;
  receive(message: ToHub): void;
  close(): void;
}

/** A session of a tab and a hub each hold a lock of their name, so that each notices the other's death at once. */
export const lockOf = (name: string) => `tidegate ${name}`;

export const randomName = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

export function createHub(send: (message: FromHub) => void): Hub {
  const name = randomName();
  let free = () => {};
  const locked = new Promise<void>((resolve) => {
    navigator.locks.request(lockOf(name), () => {
      resolve();
      return new Promise<void>((done) => (free = done));
    });
  });
  const sessions = new Map<string, Session>();
  let client: Client<any> | undefined;
  let state: State = "connecting";
  let user: string | null | undefined;

  const reply = (session: Session, frame: Wire) => send({ tab: session.tab, frame });

  /** The tab that came last is asked first: it is the one most likely to be awake. */
  async function token() {
    for (const session of [...sessions.values()].reverse()) {
      const answer = await new Promise<{ token?: string | null; failed?: string }>((resolve) => {
        session.gotToken = resolve;
        setTimeout(resolve, TOKEN_TIMEOUT, { failed: "no tab has answered with a token" });
        send({ tab: session.tab, asksToken: true });
      });
      if (answer.failed == null) return answer.token;
      if (sessions.size == 1) throw new Error(answer.failed);
    }
    throw new Error("no tab has answered with a token");
  }

  function open(url: string, timeout?: number) {
    state = "connecting";
    client = connect(url, { token, timeout });
    client.on("state", (next, detail) => {
      state = next;
      send({ hub: name, state, detail });
      if (state == "open") {
        user = detail.user;
        sessions.forEach(welcome);
      } else if (state == "closed") {
        // 4001 is final here: the hub has asked for tokens as often as it may.
        sessions.forEach(({ tab }) => send({ tab, closed: { code: detail.code!, reason: detail.reason! } }));
        sessions.clear();
        client = undefined;
      }
    });
  }

  /** Once the user is known: a tab decides by it what it may send again. */
  function welcome(session: Session) {
    if (session.welcomed || !session.opened || state != "open") return;
    session.welcomed = true;
    reply(session, { type: "welcome", session: session.tab, node: name, user, ping_interval_ms: PING_INTERVAL });
  }

  function release(tab: string) {
    const session = sessions.get(tab);
    if (!session) return;
    sessions.delete(tab);
    session.subscriptions.forEach((subscription) => subscription.unsubscribe());
    if (!sessions.size) {
      client?.close();
      client = undefined;
    }
  }

  function subscribe(session: Session, id: number, channel: string, options: Wire) {
    if (session.subscriptions.has(channel)) return;
    let repeats = options.since != null;
    let subscription: Subscription;
    try {
      subscription = client!.subscribe(channel, options);
    } catch (error) {
      return reply(session, { ...faultFrame(error as TidegateError), id, channel });
    }
    session.subscriptions.set(channel, subscription);
    // The hub recovers. Where it cannot, `gap` follows.
    subscription.on("subscribed", ({ position }) => {
      reply(session, { type: "subscribed", id, channel, position, recovered: repeats || undefined });
      repeats = true;
    });
    subscription.on("publication", (publication) => reply(session, { type: "publication", ...encode(publication) }));
    for (const type of ["gap", "ended", "join", "leave"] as const) {
      subscription.on(type, (fields) => reply(session, { ...fields, type, channel }));
    }
    subscription.on("ended", () => session.subscriptions.delete(channel));
    subscription.on("error", (error) => {
      session.subscriptions.delete(channel);
      reply(session, { ...faultFrame(error), id, channel });
    });
  }

  const commands: Record<string, (session: Session, command: Wire) => unknown> = {
    ping: (session) => reply(session, { type: "pong" }),
    subscribe(session, { id, channel, channels, since, last, echo }) {
      if (channel != null) subscribe(session, id, channel, { since, last, echo });
      else for (const each in channels) subscribe(session, id, each, startOf(channels[each]));
    },
    unsubscribe(session, { channel }) {
      session.subscriptions.get(channel)?.unsubscribe();
      session.subscriptions.delete(channel);
    },
    async publish(_, { channel, data, text, base64, idempotency_key: key, traceparent }) {
      const payload = base64 != null ? decodeBase64(base64) : (text ?? data);
      return { type: "published", ...(await client!.publish(channel, payload, { key, text: text != null, traceparent })) };
    },
    async presence(_, { channel }) {
      return { type: "presence", channel, ...(await client!.presence(channel)) };
    },
    async history(_, { channel, since, limit }) {
      const { publications, ...fields } = await client!.history(channel, { since, limit });
      return { type: "history", channel, ...fields, publications: publications.map(encode) };
    },
  };

  async function execute(session: Session, command: Wire) {
    try {
      const answer = await commands[command.type]?.(session, command);
      if (answer) reply(session, { ...answer, id: command.id });
    } catch (error) {
      reply(session, { ...faultFrame(error as TidegateError), id: command.id });
    }
  }

  return {
    name,
    receive(message) {
      const { tab } = message;
      const session = sessions.get(tab);
      if ("hello" in message) {
        if (session) return;
        if (!client) open(message.hello.url, message.hello.timeout);
        const joined: Session = { tab, subscriptions: new Map() };
        sessions.set(tab, joined);
        // The tab holds this lock as long as it lives: a crashed tab is released too.
        navigator.locks.request(lockOf(tab), () => release(tab));
        locked.then(() => {
          joined.opened = true;
          send({ tab, opened: name });
          send({ hub: name, state });
          welcome(joined);
        });
      } else if ("bye" in message) {
        release(tab);
      } else if (!session) {
        // A session of an earlier hub, or one that was released while its tab was frozen.
        send({ tab, closed: { code: 1006, reason: "unknown to the hub" } });
      } else if ("frame" in message) {
        execute(session, message.frame);
      } else {
        session.gotToken?.(message);
      }
    },
    close() {
      client?.close();
      free();
    },
  };
}

const faultFrame = ({ code, message, temporary }: TidegateError): Wire => ({ type: "error", code: code ?? "internal", message, temporary });
