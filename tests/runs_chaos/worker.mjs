// A worker: publishes a run, renews its lease while it thinks, notices a stop, and ends the run; or is killed.
//
// Its record is what the audit compares viewers with: each publication with its bytes, and the positions that were acknowledged.

import { createClient } from 'redis';
import { Random } from '../browser/lib/random.mjs';
import { sleep } from '../browser/lib/wait.mjs';
import { Ended, NoRun, RedisCalls } from './redis_calls.mjs';
import { split, TextSource } from './text.mjs';

/** Milliseconds for a request to a node, and between two attempts. */
const REQUEST_TIME_MAX = 3000;
const RETRY = [20, 200];

/** Milliseconds for which a worker that is to be stopped publishes on after its planned end: the stop may take a while. */
const OVERTIME_MAX = 60_000;

class Killed extends Error {}

export class Worker {
  /** `{ n, id, bytes, positions }`: of each publication, in order. `attempted`: when it was sent first. */
  publications = [];
  /** Reasons of ends that the worker has asked for. */
  asked = new Set();
  /** When the calls were sent that Redis is known to have executed: the lease lasts from then at least. */
  renewals = [];
  /** When the worker was told of an end, and the reason where it was told. */
  ended = null;
  isOver = false;
  retries = 0;
  #killed = false;
  #stopped = false;

  constructor(plan, { redisPort, nodes, lease, now }) {
    Object.assign(this, { ...plan, redisPort, nodes, lease, now });
    this.random = new Random(plan.seed);
    this.source = new TextSource(this.random, plan);
    this.calls = new RedisCalls(redisPort);
    this.key = `tidegate:${plan.channel}`;
  }

  get isStopped() { return this.#stopped; }

  /** Resolves when the worker is done, was killed, or was told that the run has ended. */
  async run() {
    this.#listen();
    try {
      await this.#publishAll();
      await this.#end();
    } catch (error) {
      if (error instanceof Ended) this.ended ??= { at: this.now(), reason: error.reason };
      else if (!(error instanceof Killed)) throw error;
    }
    this.#hangUp();
  }

  /** As a process that is killed: its connections break and it does nothing more. */
  kill() {
    this.#killed = true;
    this.killedAt = this.now();
    this.#hangUp();
  }

  /** Listens on the control channel, again after each loss. */
  async #listen() {
    while (!this.#killed && !this.isOver) {
      const lost = new Promise((resolve) => {
        this.control = createClient({ socket: { host: '127.0.0.1', port: this.redisPort, reconnectStrategy: false } });
        this.control.on('error', resolve);
        this.control.on('end', resolve);
      });
      try {
        await this.control.connect();
        await this.control.subscribe(`tidegate:run-control:${this.channel}`, () => { this.#stopped = true; });
        await lost;
      } catch { /* Redis is away. */ }
      await sleep(RETRY[1]);
    }
  }

  #hangUp() {
    this.isOver = true;
    this.calls.close();
    try { this.control?.destroy(); } catch { /* It was closed already. */ }
  }

  async #publishAll() {
    const begun = this.now();
    const due = (share) => begun + share * this.lasts;
    const until = due(1) + (this.fate === 'stopped' ? OVERTIME_MAX : 0);
    const bursts = [...this.bursts].sort((one, other) => one.share - other.share);
    let isThinking = this.thinksAt !== null;
    if (this.fate === 'killed') setTimeout(() => this.kill(), this.share * this.lasts);
    while (this.now() < until && !this.#stopped) {
      for (const bytes of this.#next()) await this.#publish(this.#add(bytes));
      if (bursts.length && this.now() >= due(bursts[0].share)) await this.#burst(bursts.shift());
      if (isThinking && this.now() >= due(this.thinksAt)) { isThinking = false; await this.#think(); }
      await sleep(this.random.between(0, 2 * this.pace));
    }
  }

  #next() {
    const text = this.source.next();
    return this.splits && this.random.chance(0.1) ? split(text) : [Buffer.from(text)];
  }

  #add(bytes) {
    const n = this.publications.length + 1;
    const publication = { n, id: `${this.channel} ${this.seed} ${n}`, bytes, positions: [], attempted: null };
    this.publications.push(publication);
    return publication;
  }

  async #publish(publication) {
    const header = JSON.stringify({ id: publication.id });
    // A repetition does not renew the lease: the first attempt may have.
    const renewedAt = () => publication.attempted;
    const position = await this.#until(() => {
      publication.attempted ??= this.now();
      return this.#byApi() ? this.#post(`publish/${this.channel}`, publication.bytes, { 'Idempotency-Key': publication.id })
        : this.calls.call('tidegate_publish', this.key, publication.bytes, header);
    }, renewedAt);
    publication.positions.push(position);
  }

  /** A pipeline, on a connection that has just worked. What was not acknowledged follows in order. */
  async #burst({ count }) {
    const publications = Array.from({ length: count }, () => this.#next()).flat().map((bytes) => this.#add(bytes));
    const [first, ...rest] = publications;
    await this.#publish(first);
    const sentAt = this.now();
    for (const it of rest) it.attempted = sentAt;
    let outcomes = [];
    try {
      outcomes = await this.calls.pipeline(rest.map(({ id, bytes }) => ['tidegate_publish', this.key, bytes, JSON.stringify({ id })]));
    } catch { /* There was no connection. */ }
    for (const [at, publication] of rest.entries()) {
      if (outcomes[at]?.status === 'fulfilled') this.#acknowledged(publication, outcomes[at].value, sentAt);
      else await this.#publish(publication);
    }
  }

  #acknowledged(publication, position, sentAt) {
    publication.positions.push(position);
    this.renewals.push(sentAt);
  }

  /** A model that thinks for longer than the lease. */
  async #think() {
    const until = this.now() + this.lease * (0.5 + 1.5 * this.random.unit());
    while (this.now() < until && !this.#stopped) {
      await sleep(this.lease / 3);
      try {
        await this.#until(() => (this.#byApi() ? this.#post(`renew/${this.channel}`) : this.calls.call('tidegate_renew', this.key)));
      } catch (error) {
        if (!(error instanceof NoRun)) throw error;
      }
    }
  }

  async #end() {
    if (this.#killed) throw new Killed();
    const reason = this.#stopped ? 'stopped' : this.fate === 'error' ? 'error: the model is gone' : 'done';
    if (this.fate === 'stopped' && !this.#stopped) this.unstopped = true;
    const last = this.withLast ? Object.assign(this.#add(Buffer.from(this.source.next())), { isLast: true }) : null;
    for (;;) {
      try {
        const position = await this.#until(() => this.#askForEnd(reason, last));
        this.ended = { at: this.now(), reason, position };
        break;
      } catch (error) {
        // Redis lost the run: what follows is another one.
        if (error instanceof NoRun) await this.#publish(this.#add(Buffer.from('…')));
        else throw error;
      }
    }
    if (this.after) await this.#publishAfter();
  }

  #askForEnd(reason, last) {
    this.asked.add(reason);
    if (last) last.attempted ??= this.now();
    if (this.#byApi()) return this.#post(`end/${this.channel}`, JSON.stringify({ reason, ...(last ? { text: last.bytes.toString() } : {}) }));
    return this.calls.call('tidegate_end', this.key, reason, ...(last ? [last.bytes, JSON.stringify({ id: last.id })] : []));
  }

  /** A worker that does not stop is refused. */
  async #publishAfter() {
    const publication = this.#add(Buffer.from('after the end'));
    publication.isAfterEnd = true;
    try {
      await this.#publish(publication);
    } catch (error) {
      if (error instanceof Ended) this.refusedAfter = true;
      else throw error;
    }
  }

  #byApi() { return this.via === 'api' || (this.via === 'both' && this.random.chance(0.5)); }

  /** Repeats the call until its outcome is known. */
  async #until(call, renewedAt) {
    for (;;) {
      if (this.#killed) throw new Killed();
      const sentAt = this.now();
      try {
        const answer = await call();
        this.renewals.push(renewedAt?.() ?? sentAt);
        return answer;
      } catch (error) {
        if (error instanceof Ended || error instanceof NoRun) throw error;
        this.retries += 1;
        this.lastError = error.message;
      }
      await sleep(this.random.between(...RETRY));
    }
  }

  /** A request to the API of a node. Returns the position. */
  async #post(path, body, headers = {}) {
    const node = this.random.pick(this.nodes);
    const answer = await fetch(`${node.internalUrl}/api/${path}`, { method: 'POST', body, headers, signal: AbortSignal.timeout(REQUEST_TIME_MAX) });
    const text = await answer.text();
    if (answer.status === 409) throw new Ended(undefined);
    if (answer.status === 404) throw new NoRun(text);
    if (!answer.ok) throw new Error(`${answer.status} ${text}`);
    return JSON.parse(text).position;
  }
}
