/** What applications see of the client. The terms are those of docs/GLOSSARY.md. */

/** Where the connection is: `waiting` has a retry scheduled, `closed` is final. */
export type State = "connecting" | "open" | "waiting" | "closed";

/** Why the connection is in its state. */
export interface StateDetail {
  /** The WebSocket close code that led to `waiting` or `closed`; 1006 for a cut connection. */
  code?: number;
  reason?: string;
  /** Milliseconds until the next attempt, with `waiting`. */
  delay?: number;
  /** With `open`: the node and the session there, and the user of the token. */
  node?: string;
  session?: string;
  user?: string | null;
}

/** The fields of every publication. */
export interface PublicationFields {
  channel: string;
  /** `<epoch>-<seq>`, where the channel keeps history. Opaque: store it, hand it back in `since`. */
  position?: string;
  /** The user who published it; absent for services and anonymous clients. */
  user?: string;
  /** When the first node took it, in Unix milliseconds. */
  time?: number;
}

/**
 * One publication. The payload is in `data` if it is JSON, else in `text`, and in `bytes` if it was published as binary.
 * For a channel with a declared payload type, `data` (or `bytes`) is taken for granted.
 */
export type Publication<T = unknown> = PublicationFields &
  (unknown extends T
    ? { data?: T; text?: string; bytes?: Uint8Array }
    : [T] extends [Uint8Array]
      ? { bytes: Uint8Array }
      : { data: T; text?: string; bytes?: Uint8Array });

export interface Member {
  /** null: all sessions without a user together. */
  user: string | null;
  sessions: number;
  /** The `info` claim of the user's token. */
  info?: Record<string, unknown>;
}

export interface Presence {
  members: Member[];
  /** The channel has more members than one answer holds. */
  truncated?: boolean;
}

export interface History<T = unknown> {
  /** Oldest first. */
  publications: Publication<T>[];
  /** Where the answer ends. */
  position?: string;
  /** With `since`: whether nothing is missing between it and the first publication. */
  recovered?: boolean;
  /** Something was left out. */
  more?: boolean;
}

export interface HistoryOptions {
  since?: string;
  /** 1 to 1000; 100 by default. */
  limit?: number;
}

export interface SubscribeOptions {
  /** Begins with the newest publications of the history, so many at most. */
  last?: number;
  /** Begins after this position, or with the oldest publication that is kept. */
  since?: "first" | (string & {});
  /** false: without this client's own publications. */
  echo?: boolean;
}

export interface PublishOptions {
  /** Idempotency key, 1 to 255 bytes; random by default. Give the same one to publish again without publishing twice. */
  key?: string;
  /** The payload is a text as it is, not the JSON of it. */
  text?: boolean;
  /** W3C trace context. */
  traceparent?: string;
}

/** An answer of the node, or of the client itself, that something did not happen. */
export interface TidegateError extends Error {
  /**
   * A code of the json protocol (`forbidden`, `unavailable`, …), or one of the client: `unknown_outcome` (sent, but no
   * answer came: it may have been published), `timeout` (not sent), `queue_full`, `closed`, `slow_consumer`.
   */
  code: string;
  /** Whether the same again may succeed later. */
  temporary: boolean;
}

export interface SubscriptionEvents<T = unknown> {
  publication: Publication<T>;
  /** After each (re)subscription, before its publications. */
  subscribed: { position?: string; recovered?: boolean };
  /** Publications may be missing before this point: load your state again. */
  gap: { reason: string };
  /** The channel's run has ended: nothing follows. */
  ended: { reason: string; position?: string };
  join: { user: string | null; info?: Record<string, unknown> };
  leave: { user: string | null };
  /** The subscription is over: it is not allowed, or the client is closed for good. */
  error: TidegateError;
}

export interface Subscription<T = unknown> extends AsyncIterable<Publication<T>> {
  readonly channel: string;
  /** The position up to which this subscription has delivered; to be stored for a later `since`. */
  readonly position: string | undefined;
  /** Returns a function that removes the listener. */
  on<E extends keyof SubscriptionEvents>(event: E, listener: (value: SubscriptionEvents<T>[E]) => void): () => void;
  /** Nothing is delivered after it. */
  unsubscribe(): void;
}

export interface Options {
  /** Gives the token at each connect and before it expires; null or undefined connects anonymously. */
  token?: () => string | null | undefined | Promise<string | null | undefined>;
  /** A WebSocket class, where there is no global one (Node 20: that of the package `ws`). */
  WebSocket?: new (url: string, protocols?: string | string[]) => WebSocketLike;
  /** How long a command may take, in milliseconds, before its promise rejects; 60,000 by default. */
  timeout?: number;
}

/** What the client uses of a WebSocket. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  /** false: the frame is queued, and `onsend` is called before it is sent. */
  send(frame: string): unknown;
  /** Set by the client, called with the id of a queued command. Returns whether it is still wanted. */
  onsend?: (id: number) => boolean;
  close(code?: number, reason?: string): void;
}

/** Names of the channels that a client knows, each with the type of its payload. */
export type AnyChannels = Record<string, unknown>;

export interface Client<Channels = AnyChannels> {
  readonly state: State;
  /** Returns a function that removes the listener. */
  on(event: "state", listener: (state: State, detail: StateDetail) => void): () => void;
  subscribe<C extends keyof Channels & string, T extends Channels[C] = Channels[C]>(
    channel: C,
    handler?: (publication: Publication<T>) => void,
    options?: SubscribeOptions,
  ): Subscription<T>;
  subscribe<C extends keyof Channels & string, T extends Channels[C] = Channels[C]>(
    channel: C,
    options: SubscribeOptions,
    handler?: (publication: Publication<T>) => void,
  ): Subscription<T>;
  /** Bytes (Uint8Array, ArrayBuffer) are published as binary, everything else as JSON. */
  publish<C extends keyof Channels & string>(
    channel: C,
    data: Channels[C] | ArrayBuffer,
    options?: PublishOptions,
  ): Promise<{ position?: string }>;
  presence(channel: keyof Channels & string): Promise<Presence>;
  history<C extends keyof Channels & string>(channel: C, options?: HistoryOptions): Promise<History<Channels[C]>>;
  /** Final: all subscriptions end, and commands without an answer are rejected. */
  close(): void;
}
