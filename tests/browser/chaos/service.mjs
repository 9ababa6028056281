// A service that publishes on the channels through the nodes' HTTP API, as one more publisher with a journal.

import { sleep } from '../lib/wait.mjs';

/** Milliseconds between two publications, and for one. */
const PAUSE = 60;
const TIMEOUT = 4000;

export class Service {
  journal = [];
  #numbers = new Map();
  #lastId = 0;
  #stopped = false;

  constructor(name, nodes, channels, now) { Object.assign(this, { name, nodes, channels, now }); }

  start() { this.running = this.#run(); }

  /** Publishes so many, one after another. */
  async burst(channel, count) {
    for (let left = count; left > 0; left -= 1) await this.publish(channel);
  }

  async stop() {
    this.#stopped = true;
    await this.running;
  }

  async #run() {
    for (let round = 0; !this.#stopped; round += 1) {
      await this.publish(this.channels[round % this.channels.length]);
      await sleep(PAUSE);
    }
  }

  /** Sends it once: the API knows no idempotency keys. */
  async publish(channel) {
    const n = (this.#numbers.get(channel) ?? 0) + 1;
    this.#numbers.set(channel, n);
    const id = ++this.#lastId;
    this.#note({ kind: 'publish', id, channel, n });
    try {
      const { position } = await this.nodes[n % this.nodes.length].publish(channel, JSON.stringify({ from: this.name, n }), { timeout: TIMEOUT });
      this.#note({ kind: 'acknowledged', id, position });
    } catch {
      this.#note({ kind: 'rejected', id, code: 'unavailable' });
    }
  }

  #note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }
}
