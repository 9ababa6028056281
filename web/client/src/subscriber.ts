import { HELD_MAX } from "./bounds.js";
import { createEvents } from "./events.js";
import { fault } from "./fault.js";
import { isNew } from "./position.js";
import type { Publication, Subscription, TidegateError } from "./types.js";

/** A subscription of the application, and the client's side of it. */
export interface Subscriber {
  subscription: Subscription<any>;
  /** What comes live: publications, and what is to be seen between them. */
  deliver(event: string, value: unknown): void;
  /** An event at once. */
  emit(event: string, value: unknown): void;
  /** What comes live waits until `release`, while the past is delivered with `deliverPast`. */
  hold(): void;
  release(): void;
  deliverPast(publication: Publication): void;
  /** Begins behind this position: others, with whom it shares the channel, get the past. */
  skip(position: string): void;
  /** Nothing is delivered any more. An iterator ends, with the error if there is one. */
  end(error?: TidegateError): void;
}

export function createSubscriber(channel: string, unsubscribe: () => void): Subscriber {
  const events = createEvents();
  let position: string | undefined;
  let over = false;
  let failure: TidegateError | undefined;
  /** For an iterator, or for the handler that is added later; undefined where there is one. */
  let queue: Publication[] | undefined = [];
  let held: [event: string, value: any][] | undefined;
  let isIterated = false;
  let wake = () => {};

  function overflow() {
    failure = fault("slow_consumer", "publications were not fetched fast enough");
    queue = undefined;
    events.emit("gap", { reason: failure.code });
  }

  function deliverNow(publication: Publication, mixed?: boolean) {
    if (over || (publication.position && position && !isNew(publication.position, position, mixed))) return;
    position = publication.position ?? position;
    if (queue && queue.push(publication) > HELD_MAX) overflow();
    wake();
    events.emit("publication", publication);
  }

  function emit(event: string, value: unknown) {
    if (!over) events.emit(event, value);
  }

  function act([event, value]: [string, any], mixed?: boolean) {
    if (event == "publication") return deliverNow(value, mixed);
    emit(event, value);
    if (event == "ended") end();
  }

  function release() {
    const all = held;
    held = undefined;
    all?.forEach((each) => act(each, true));
  }

  function end(error?: TidegateError) {
    if (over) return;
    if (error && !events.emit("error", error) && !isIterated) console.error(error);
    over = true;
    failure ??= error;
    wake();
  }

  return {
    release,
    end,
    emit,
    deliverPast: deliverNow,
    skip: (to) => void (position ??= to),
    hold: () => void (held = []),
    deliver(event, value) {
      if (!held) return act([event, value]);
      if (held.push([event, value]) > HELD_MAX) {
        events.emit("gap", { reason: "slow_consumer" });
        release();
      }
    },
    subscription: {
      channel,
      get position() {
        return position;
      },
      on(event, listener) {
        const off = events.on(event, listener);
        if (event == "publication" && !isIterated) {
          queue?.forEach((publication) => listener(publication as any));
          queue = undefined;
        }
        return off;
      },
      unsubscribe,
      async *[Symbol.asyncIterator]() {
        isIterated = true;
        if (!failure) queue ??= [];
        try {
          for (;;) {
            while (queue?.length) yield queue.shift()!;
            if (failure) throw failure;
            if (over) return;
            await new Promise<void>((resolve) => (wake = resolve));
          }
        } finally {
          unsubscribe();
        }
      },
    },
  };
}
