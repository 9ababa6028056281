import * as bounds from "./bounds.js";
import { fault } from "./fault.js";
import { decode, type Wire } from "./payload.js";
import { beginningOf, isNew } from "./position.js";
import { createSubscriber, type Subscriber } from "./subscriber.js";
import type { Connection } from "./connection.js";
import type { Requests } from "./requests.js";
import type { Publication, SubscribeOptions, Subscription, TidegateError } from "./types.js";

/** One channel of this client. The application's subscriptions to it share it. */
interface Shared {
  channel: string;
  options: SubscribeOptions;
  subscribers: Set<Subscriber>;
  /** The `subscribe` whose answer counts; answers to earlier ones are stale. */
  id?: number;
  /** Publications are delivered: from the answer on, until the connection is lost. */
  live?: boolean;
  /** It was live before, so publications may be missing unless the node recovers them. */
  resumes?: boolean;
  /** Where to resume. */
  position?: string;
  /** It has been live once; then at this position, where the channel keeps history. */
  begun?: boolean;
  begunAt?: string;
  /** Subscribers that joined before, each with what it wants of the past. */
  joined: [Subscriber, SubscribeOptions][];
  refusals: number;
  retryTimer?: any;
}

/** All subscriptions of a client: subscribes again after each loss, resumes, and tells every gap. */
export function createSubscriptions(connection: () => Connection, requests: Requests) {
  const channels = new Map<string, Shared>();

  const deliver = (shared: Shared, event: string, value: unknown) =>
    shared.subscribers.forEach((subscriber) => subscriber.deliver(event, value));

  /** Subscribes, in few commands. While there is no connection it does nothing: `connected` does it later. */
  function ask(list: Iterable<Shared>) {
    const id = requests.nextId();
    const send = (fields: Wire) => connection().send({ type: "subscribe", id, ...fields });
    let batch: Record<string, unknown> | undefined;
    let chars = 0;
    for (const shared of list) {
      const { channel, position, options } = shared;
      const { last, since, echo } = options;
      const start = position ?? (last ? { last } : (since ?? null));
      shared.id = id;
      clearTimeout(shared.retryTimer);
      if (echo === false) {
        send({ channel, echo, ...(typeof start == "string" ? { since: start } : start) });
        continue;
      }
      // Without a prototype, a channel may be called `__proto__`.
      batch ??= Object.create(null) as Record<string, unknown>;
      batch[channel] = start;
      chars += channel.length + bounds.START_CHARS;
      if (chars > bounds.BATCH_CHARS_MAX) {
        send({ channels: batch });
        batch = undefined;
        chars = 0;
      }
    }
    if (batch) send({ channels: batch });
  }

  function forget(shared: Shared) {
    clearTimeout(shared.retryTimer);
    channels.delete(shared.channel);
  }

  function end(shared: Shared, error?: TidegateError) {
    forget(shared);
    shared.subscribers.forEach((subscriber) => subscriber.end(error));
  }

  function subscribed(shared: Shared, { position, recovered }: Wire) {
    const { last, since } = shared.options;
    const gap = recovered === false || (shared.resumes && !recovered);
    // Publications up to `position` follow: only they move the place to resume.
    const pastFollows = recovered || (!shared.position && (last || since == "first") && !/-0$/.test(position));
    if (!shared.begun) shared.begunAt = position;
    shared.begun = true;
    if (!pastFollows) shared.position = position;
    shared.live = shared.resumes = true;
    shared.refusals = 0;
    shared.subscribers.forEach((subscriber) => subscriber.emit("subscribed", { position, recovered }));
    shared.joined.splice(0).forEach((each) => join(shared, ...each));
    if (gap) deliver(shared, "gap", { reason: recovered == null ? "reconnected" : "not_recovered" });
  }

  function refused(shared: Shared, { code, message, temporary }: Wire) {
    shared.live = false;
    if (!temporary) return end(shared, fault(code, message));
    const delay = Math.random() * Math.min(bounds.BACKOFF_MAX, bounds.BACKOFF_BASE * 2 ** ++shared.refusals);
    shared.retryTimer = setTimeout(ask, delay, [shared]);
  }

  /** Begins a subscription to a channel that is or was live for others. */
  function join(shared: Shared, subscriber: Subscriber, options: SubscribeOptions) {
    // Until here from the history, behind it as the others.
    const end = shared.position ?? shared.begunAt;
    if (!shared.subscribers.has(subscriber)) return;
    if (options.last || options.since) backfill(subscriber, shared.channel, options, end);
    else if (end) subscriber.skip(end);
  }

  /** Delivers the past, up to `end`, to a subscriber that joins others, without disturbing them. */
  async function backfill(subscriber: Subscriber, channel: string, { last, since }: SubscribeOptions, end: string | undefined) {
    subscriber.hold();
    for (let failures = 0; ; ) {
      try {
        const read = (query: Wire) => requests.request({ type: "history", channel, ...query });
        // `history` knows no "first".
        if (since == "first") since = beginningOf((await read({ limit: 1 })).position);
        const answer = await read({ since, limit: last ?? bounds.HISTORY_LIMIT });
        const past = answer.publications.filter(({ position }: Wire) => end && !isNew(position, end, true));
        const isLast = !answer.more || last || past.length < answer.publications.length;
        // Where another history has begun meanwhile, this one does not reach `end`.
        const misses = isLast && since && end && ![since, past.at(-1)?.position, answer.position].includes(end);
        if (answer.recovered === false || misses) subscriber.emit("gap", { reason: "not_recovered" });
        past.forEach((each: Wire) => subscriber.deliverPast(decode(channel, each)));
        if (isLast) break;
        since = answer.position;
      } catch (error) {
        const { code, temporary } = error as TidegateError;
        if (!temporary || ++failures > bounds.BACKFILL_FAILURES_MAX) {
          subscriber.emit("gap", { reason: code });
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, Math.random() * bounds.BACKOFF_BASE * 2 ** failures));
      }
    }
    subscriber.release();
  }

  return {
    subscribe(channel: string, handler?: (publication: Publication) => void, options: SubscribeOptions = {}): Subscription<any> {
      let shared = channels.get(channel);
      if (shared && (options.echo ?? true) != (shared.options.echo ?? true)) {
        throw fault("echo_conflict", `${channel} is subscribed to with another echo`);
      }
      const subscriber = createSubscriber(channel, () => {
        subscriber.end();
        shared!.subscribers.delete(subscriber);
        if (shared!.subscribers.size || channels.get(channel) != shared) return;
        end(shared!);
        connection().send({ type: "unsubscribe", channel });
      });
      if (handler) subscriber.subscription.on("publication", handler);
      if (shared) {
        shared.subscribers.add(subscriber);
        if (shared.begun) join(shared, subscriber, options);
        else shared.joined.push([subscriber, options]);
        const { live, position } = shared;
        if (live) queueMicrotask(() => subscriber.emit("subscribed", { position }));
      } else if (connection().state == "closed") {
        queueMicrotask(() => subscriber.end(fault("closed", "the client is closed")));
      } else {
        shared = { channel, options, subscribers: new Set([subscriber]), joined: [], refusals: 0 };
        channels.set(channel, shared);
        ask([shared]);
      }
      return subscriber.subscription;
    },

    connected: () => ask(channels.values()),

    received(message: Wire) {
      const { type, channel, position, id } = message;
      const shared = channels.get(channel);
      requests.keeps(channel, position);
      if (type == "subscribed" && id == null) {
        // The token has subscribed the session to the channel, without a position: begin anew where the client was.
        connection().send({ type: "unsubscribe", channel });
        if (shared) ask([shared]);
      }
      if (!shared) return;
      if (type == "publication" && shared.live) {
        shared.position = position ?? shared.position;
        deliver(shared, type, decode(channel, message));
      } else if (type == "subscribed" && id === shared.id) {
        subscribed(shared, message);
      } else if (type == "error" && (id == null || id === shared.id)) {
        refused(shared, message);
      } else if (shared.live && ["gap", "ended", "join", "leave"].includes(type)) {
        if (message.reason == "rules_changed") requests.forgets(channel);
        deliver(shared, type, message);
        if (type == "ended") {
          forget(shared);
          // The node would keep the subscription, and tell one that follows nothing.
          connection().send({ type: "unsubscribe", channel });
        }
      }
    },

    lost() {
      channels.forEach((shared) => {
        shared.live = false;
        clearTimeout(shared.retryTimer);
      });
    },

    closed: (error?: TidegateError) => channels.forEach((shared) => end(shared, error)),
  };
}
