// A viewer of one run, or of all: follows it over reloads and broken connections, and keeps a journal.
//
//   { kind: 'open', channel, from, node }              it connects: from 'first', from its last position, with what comes 'next', or from where
//                                                      a stream of several was, which is 'resumed'
//   { kind: 'begun', channel, position, recovered }    what the node said about the beginning, where the protocol has it
//   { kind: 'text', channel, bytes, position }         a piece; the position where the protocol has one
//   { kind: 'gap', channel, reason }                   it was told that something may be missing
//   { kind: 'ended', channel, reason, position }       the end
//   { kind: 'lost', why }                              the connection is over, and the viewer connects again
//   { kind: 'breach', text }                           what the protocol forbids
//
// Each entry has `at`, milliseconds since the start of the seed. After `ended`, a viewer does not connect again unless it reloads.

import { Random } from '../browser/lib/random.mjs';

/** Milliseconds between a broken connection and the next one: at first, and after many without anything received. */
const RETRY = [10, 200];
const RETRY_MAX = 4000;

export class Viewer {
  journal = [];
  reloads = 0;
  connections = 0;
  /** By channel: the last position, and whether the end has come since the page was loaded. */
  positions = new Map();
  ends = new Map();
  #connection = null;
  #timer = null;
  #generation = 0;
  #failures = 0;
  #closed = true;

  /** `address(node, proxied)`: the URL of a node for this viewer. `connector`: how it connects, as in connectors/all.mjs. */
  constructor({ name, kind, channels, seed, proxied }, { address, nodes, now, connector }) {
    Object.assign(this, { name, kind, channels, proxied, address, nodes, now, connector });
    this.random = new Random(seed);
  }

  get isStarted() { return !this.#closed; }

  start() {
    this.#closed = false;
    this.#open(new Map(this.channels.map((it) => [it, 'first'])));
  }

  /** Leaves the page, and comes back after `pause` milliseconds: from its `position`, or from the `first` publication. */
  reload(from, pause) {
    if (this.#closed) return;
    this.reloads += 1;
    this.#drop();
    if (from === 'first' || !this.connector.resumes) this.#forget();
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  /** Reads nothing for a while. */
  slow(milliseconds) {
    const connection = this.#connection;
    if (!connection?.pause || this.#closed) return;
    this.note({ kind: 'slow', milliseconds });
    connection.pause();
    setTimeout(() => connection.resume(), milliseconds);
  }

  close() {
    this.#closed = true;
    this.#drop();
  }

  /** Whether the end of the channel has come to the page as it is loaded now. */
  hasEnded(channel) { return this.ends.has(channel); }

  /** The entries of the channel since the page was loaded. */
  sinceLoaded(channel) {
    const own = this.journal.filter((it) => it.channel === channel);
    return own.slice(Math.max(0, own.findLastIndex(({ kind, from }) => kind === 'open' && (from === 'first' || from === 'next'))));
  }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  #forget() {
    this.positions.clear();
    this.ends.clear();
    this.resumePoint = undefined;
  }

  #drop() {
    this.#generation += 1;
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = null;
  }

  #connect() {
    const from = (channel) => (this.connector.resumes ? this.positions.get(channel) ?? 'first' : 'first');
    if (!this.connector.resumes) this.#forget();
    this.#open(new Map(this.channels.map((it) => [it, from(it)])));
  }

  #open(starts) {
    if (this.#closed) return;
    const generation = ++this.#generation;
    const isCurrent = () => generation === this.#generation;
    const node = this.random.pick(this.nodes);
    this.connections += 1;
    for (const [channel, from] of starts) {
      const begins = !this.connector.beginsNext ? from : !this.resumePoint ? 'next' : from === 'first' ? 'resumed' : from;
      this.note({ kind: 'open', channel, from: begins, node: node.name });
    }
    const note = (entry) => { if (isCurrent()) this.#received(entry); };
    const over = (why, least = 0) => {
      if (!isCurrent()) return;
      const wait = Math.max(least, this.random.unit() * Math.min(RETRY_MAX, RETRY[1] * 2 ** this.#failures), RETRY[0]);
      this.#failures += 1;
      this.note({ kind: 'lost', why });
      this.#drop();
      this.#timer = setTimeout(() => this.#connect(), wait);
    };
    try {
      this.#connection = this.connector.connect({ url: this.address(node, this.proxied), starts, viewer: this, note, over, isCurrent });
    } catch (error) {
      over(error.message);
    }
    // It may have ended before `connect` returned.
    if (!isCurrent()) this.#connection = null;
  }

  #received(entry) {
    this.note(entry);
    if (entry.kind === 'text' || entry.kind === 'begun') this.#failures = 0;
    const { kind, channel, position, reason } = entry;
    if (position && channel) this.positions.set(channel, position);
    if (kind === 'ended') this.ends.set(channel, reason);
    // A stream of several moves on at a gap, and does not tell the viewer where to.
    if (kind === 'gap' && this.connector.beginsNext) this.positions.delete(channel);
  }
}
