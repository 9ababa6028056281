// The windows on a channel: each announces its state, and forgets those it has not heard from.
//
// A node's presence lists users, and windows without a token are one anonymous user; so windows announce themselves.

import { me, onLeave } from '/demo/page.js';

const ANNOUNCE_EVERY = 10_000;   // milliseconds
const FORGET_AFTER = 25_000;
const LISTEN_FOR = 900;           // before a window takes itself for the only one
const ANSWER_WITHIN = 400;       // a newcomer's announcement is answered within this time, not by all windows at once

export class Peers {
  #client; #channel; #state; #changed; #timer; #answering; #subscription; #stay; #announcedAt = 0; #since = performance.now(); #followState;
  /** Id to `{ name, seen, … }` of the other windows. */
  others = new Map();

  /** `state()`: what this window announces beside its id and name. `changed()`: called when another window's state changed. */
  constructor(client, channel, state, changed) {
    this.#client = client;
    this.#channel = channel;
    this.#state = state;
    this.#changed = changed;
    this.#subscription = client.subscribe(channel, ({ data }) => this.#hear(data));
    document.addEventListener('visibilitychange', this.#look);
    this.#timer = setInterval(() => { this.#forget(); this.announce(); }, ANNOUNCE_EVERY);
    this.#stay = onLeave(this.#leave);
    this.#followState = client.on('state', (now) => { if (now === 'open') this.announce({ hello: true }); });
    this.announce({ hello: true });
  }

  /** Publishes this window's state, unless there is no connection. A failure is of no consequence: the next announcement follows. */
  announce(more = {}) {
    clearTimeout(this.#answering);
    this.#answering = undefined;
    if (this.#client.state !== 'open') return;
    this.#announcedAt = performance.now();
    this.#client.publish(this.#channel, { id: me.id, name: me.name, hidden: document.hidden, ...this.#state(), ...more }).catch(() => {});
  }

  /** Announces within `every` milliseconds, and at most once in that time. */
  soon(every) {
    this.#answering ??= setTimeout(() => this.announce(), Math.max(0, this.#announcedAt + every - performance.now()));
  }

  /** Whether this window is to do what one window has to do for all, such as making up data: of those that are looked at, the one with the least id. */
  get leads() {
    if (document.hidden || performance.now() - this.#since < LISTEN_FOR) return false;
    for (const [id, { hidden, seen }] of this.others) if (!hidden && id < me.id && Date.now() - seen < FORGET_AFTER) return false;
    return true;
  }

  close() {
    this.#leave();
    this.#subscription.unsubscribe();
    clearInterval(this.#timer);
    this.#stay();
    this.#followState();
    document.removeEventListener('visibilitychange', this.#look);
  }

  #leave = () => this.announce({ gone: true });
  #look = () => this.announce();

  #hear(state) {
    if (typeof state?.id !== 'string' || state.id === me.id) return;
    if (state.gone) this.others.delete(state.id);
    else this.others.set(state.id, { ...state, name: String(state.name ?? '').slice(0, 40) || 'anonymous', seen: Date.now() });
    if (state.hello) this.#answering ??= setTimeout(() => this.announce(), Math.random() * ANSWER_WITHIN);
    this.#changed(state);
  }

  #forget() {
    const limit = Date.now() - FORGET_AFTER;
    for (const [id, { seen }] of this.others) if (seen < limit) { this.others.delete(id); this.#changed({}); }
  }
}
