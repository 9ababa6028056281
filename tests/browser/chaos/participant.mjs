// One participant of a run: a client that subscribes to every channel and publishes on them, and its journal.

import { Random } from '../lib/random.mjs';
import { sign } from '../lib/tokens.mjs';

/** Unsettled publications of one participant. More would only measure the bounds of the client, and over HTTP one waits for the other. */
const UNSETTLED_MAX = { websocket: 300, sse: 30, poll: 30 };

export class Participant {
  #random;
  #lastId = 0;
  #numbers = new Map();
  #unsettled = 0;
  /** By channel: the subscription that `resubscribe` replaces. */
  #main = new Map();
  #publishing = false;

  /** `connect(options)` returns a client; `now()` is the run's clock. */
  constructor({ name, seed, tokenSeconds, pause }, channels, connect, now) {
    Object.assign(this, { name, channels, pause, now });
    this.#random = new Random(seed);
    this.journal = [];
    /** Subscriptions that have neither ended nor been unsubscribed: their number, channel, and finals that they received. */
    this.active = new Map();
    this.client = connect({ token: () => sign(name, { seconds: tokenSeconds }) });
    this.client.on('state', (state, detail) => this.#note({ kind: 'state', state, code: detail?.code, reason: detail?.reason }));
    for (const channel of channels) this.#main.set(channel, this.subscribe(channel, {}));
  }

  get unsettled() { return this.#unsettled; }

  /** What a finding shows of the client. */
  get state() {
    const { name, client: { state, transport = 'websocket' }, unsettled, isServed } = this;
    return { name, state, transport, unsettled, isServed };
  }

  /** Connected, and every subscription is confirmed on this connection. */
  get isServed() {
    // By Server-Sent Events and poll, subscriptions are confirmed before the client is open.
    const attempted = this.journal.findLastIndex(({ kind, state }) => kind === 'state' && state !== 'open');
    if (this.client.state !== 'open') return false;
    return [...this.active.values()].every((it) => it.subscribedAt > attempted || it.isJoined);
  }

  subscribe(channel, options, { isJoined = false } = {}) {
    const sub = ++this.#lastId;
    this.#note({ kind: 'subscribe', sub, channel, options });
    const subscription = this.client.subscribe(channel, options);
    const record = { sub, channel, subscription, finals: new Map(), subscribedAt: -1, isJoined };
    this.active.set(sub, record);
    subscription.on('subscribed', ({ position, recovered }) => {
      this.#note({ kind: 'subscribed', sub, position, recovered });
      record.subscribedAt = this.journal.length - 1;
    });
    subscription.on('gap', ({ reason }) => this.#note({ kind: 'gap', sub, reason }));
    subscription.on('error', ({ code }) => {
      this.active.delete(sub);
      this.#note({ kind: 'error', sub, code });
    });
    subscription.on('publication', ({ data: { from, n, final }, position }) => {
      this.#note({ kind: 'publication', sub, from, n, position });
      if (final) record.finals.set(from, final);
    });
    return record;
  }

  /** Ends the subscription of this channel, and after `pause` milliseconds begins another one where it was. Resolves when it has begun. */
  async resubscribe(channel, pause) {
    const old = this.#main.get(channel);
    if (!old) return;
    this.#main.delete(channel);
    this.active.delete(old.sub);
    old.subscription.unsubscribe();
    this.#note({ kind: 'unsubscribe', sub: old.sub });
    const { position } = old.subscription;
    await new Promise((resolve) => setTimeout(resolve, pause));
    this.#main.set(channel, this.subscribe(channel, position ? { since: position } : {}));
  }

  /** Another subscription of a channel, besides the one there is. */
  join(channel, options) { this.subscribe(channel, options, { isJoined: true }); }

  /** Publishes on random channels until `stop`. */
  start() {
    this.#publishing = true;
    const next = () => {
      if (!this.#publishing) return;
      if (this.#unsettled < UNSETTLED_MAX[this.client.transport ?? 'websocket']) this.publish(this.#random.pick(this.channels));
      setTimeout(next, this.#random.between(0, 2 * this.pause));
    };
    next();
  }

  stop() { this.#publishing = false; }

  /** `final` is a number: the round of publications that show that everything before them has arrived. */
  async publish(channel, final) {
    const n = (this.#numbers.get(channel) ?? 0) + 1;
    this.#numbers.set(channel, n);
    const id = ++this.#lastId;
    this.#note({ kind: 'publish', id, channel, n });
    this.#unsettled += 1;
    try {
      const { position } = await this.client.publish(channel, { from: this.name, n, ...(final ? { final } : {}) });
      this.#note({ kind: 'acknowledged', id, position });
    } catch (error) {
      if (!error.code) throw error;
      this.#note({ kind: 'rejected', id, code: error.code });
    } finally {
      this.#unsettled -= 1;
    }
  }

  #note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }
}
