// Calls of functions in Redis, as a worker makes them: one connection, a time limit, and an outcome that may be unknown.

import { createClient } from 'redis';

/** Milliseconds for a connection and for a call. */
const CONNECT_TIME_MAX = 1000;
const CALL_TIME_MAX = 2500;

/** The run has ended. */
export class Ended extends Error {
  constructor(reason) { super(`ended: ${reason}`); this.reason = reason; }
}

/** Nothing was published on the channel. */
export class NoRun extends Error {}

export function failureOf(message) {
  const ended = message.match(/^ENDED the run has ended: (.*)$/s);
  if (ended) return new Ended(ended[1]);
  return message.startsWith('NORUN') ? new NoRun(message) : null;
}

export class RedisCalls {
  #client = null;

  constructor(port) { this.port = port; }

  /**
   * Calls a function with this key. Throws `Ended` or `NoRun`, or another error: whether the function ran is then unknown, and the
   * connection is closed.
   */
  async call(name, key, ...values) {
    const client = await this.#connect();
    return this.#outcome(client, client.fCall(name, { keys: [key], arguments: values }));
  }

  /** Several calls in one pipeline: what `Promise.allSettled` gives. */
  async pipeline(calls) {
    const client = await this.#connect();
    return Promise.allSettled(calls.map(([name, key, ...values]) => this.#outcome(client, client.fCall(name, { keys: [key], arguments: values }))));
  }

  async #outcome(client, call) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer in time')), CALL_TIME_MAX); });
    try {
      return await Promise.race([call, late]);
    } catch (error) {
      call.catch(() => {});
      const failure = failureOf(error.message);
      if (!failure) this.#drop(client);
      throw failure ?? error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #connect() {
    if (this.#client?.isReady) return this.#client;
    this.close();
    const client = createClient({ socket: { host: '127.0.0.1', port: this.port, reconnectStrategy: false, connectTimeout: CONNECT_TIME_MAX }, disableOfflineQueue: true });
    client.on('error', () => {});
    this.#client = client;
    await client.connect();
    return client;
  }

  #drop(client) {
    if (client === this.#client) this.close();
  }

  close() {
    const client = this.#client;
    this.#client = null;
    try { client?.destroy(); } catch { /* It was closed already. */ }
  }
}
