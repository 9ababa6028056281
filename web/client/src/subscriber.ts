import { HELD_MAX } from "./bounds.js";
import { createEvents } from "./events.js";
import { fault } from "./fault.js";
import { isNew } from "./position.js";
import type { Publication, Subscription, TidegateError } from "./types.js";

/** A subscription of the application, and the client's side of it. */
export interface Subscriber {
  subscription: Subscription<any>;
  deliver(publication: Publication): void;
  emit(event: string, value: unknown): void;
  /** Live publications wait until `release`, while the past is delivered with `deliverPast`. */
  hold(): void;
  release(): void;
  deliverPast(publications: Publication[]): void;
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
  let held: Publication[] | undefined;
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

  function release() {
    const publications = held;
    held = undefined;
    publications?.forEach((publication) => deliverNow(publication, true));
  }

  return {
    release,
    deliverPast(publications) {
      // The past may have been read long after the subscription: what came before its first publication goes first.
      const first = publications[0]?.position;
      while (first && held?.[0] && !(held[0].position && !isNew(first, held[0].position, true))) deliverNow(held.shift()!);
      publications.forEach((publication) => deliverNow(publication));
    },
    hold: () => void (held = []),
    deliver(publication) {
      if (!held) return deliverNow(publication);
      if (held.push(publication) > HELD_MAX) {
        events.emit("gap", { reason: "slow_consumer" });
        release();
      }
    },
    emit(event, value) {
      if (!over) events.emit(event, value);
    },
    end(error) {
      if (over) return;
      if (error && !events.emit("error", error) && !isIterated) console.error(error);
      over = true;
      failure ??= error;
      wake();
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
