// Publishers that give each publication an idempotency key and send it again until it is acknowledged: json over a WebSocket, a service with
// functions in Redis, and one that publishes plainly, whose publications are in no history.

import { createClient } from 'redis';
import WebSocket from 'ws';
import { sleep } from '../../browser/lib/wait.mjs';
import { RedisCalls } from '../../runs_chaos/redis_calls.mjs';
import { isKept, OPEN } from '../plan.mjs';

/** Milliseconds for an answer, and until the next attempt. */
const ANSWER_TIME_MAX = 3000;
const RETRY = [20, 300];

/** `attempt(publication)` of each kind returns the position, or undefined; it throws if the outcome is unknown or it was refused for now. */
class KeyedPublisher {
  journal = [];
  connections = 0;
  #isOver = false;
  #current = null;

  constructor(plan, context) {
    Object.assign(this, plan, context);
    this.source = this.ledger.source(plan.name, this.random);
  }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  get unsettled() { return this.#current ? [this.#current.id] : []; }

  start() { this.publishing = this.#publish(); }

  draw() { return this.source.next(this.random.pick(this.channels), { via: 'keyed', qos: 2 }); }

  async #publish() {
    while (!this.#isOver) {
      await sleep(this.random.unit() * 2 * this.pace);
      this.#current = this.draw();
      while (this.#current && !this.isClosed) {
        try {
          this.source.acknowledged(this.#current, this.connections, await this.attempt(this.#current));
          this.#current = null;
        } catch (error) {
          this.note({ kind: 'retry', text: error.message });
          await sleep(this.random.between(...RETRY));
        }
      }
    }
  }

  stop() { this.#isOver = true; }

  close() {
    this.stop();
    this.isClosed = true;
    this.disconnect();
  }
}

export class JsonPublisher extends KeyedPublisher {
  #socket = null;
  #answers = new Map();
  #count = 0;

  async attempt(publication) {
    const socket = await this.#connect();
    const id = ++this.#count;
    const payload = publication.isBinary ? { base64: publication.bytes.toString('base64') } : { text: publication.bytes.toString() };
    const answered = this.#answer(id);
    this.source.sent(publication, this.connections);
    socket.send(JSON.stringify({ type: 'publish', id, channel: publication.channel, idempotency_key: publication.id, ...payload }));
    const { type, code, position, temporary } = await answered;
    if (type === 'published') return position;
    if (!temporary) this.note({ kind: 'breach', text: `publish was answered ${code}` });
    throw new Error(code);
  }

  #answer(id) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { this.disconnect(); reject(new Error('no answer in time')); }, ANSWER_TIME_MAX);
      this.#answers.set(id, { resolve: (it) => { clearTimeout(timer); resolve(it); }, reject: (error) => { clearTimeout(timer); reject(error); } });
    });
  }

  async #connect() {
    if (this.#socket?.readyState === WebSocket.OPEN) return this.#socket;
    this.connections += 1;
    const socket = new WebSocket(`${this.url}/ws`, 'tidegate.v1.json', { handshakeTimeout: ANSWER_TIME_MAX });
    this.#socket = socket;
    const closed = new Promise((_, reject) => { socket.on('close', (code) => reject(new Error(`closed ${code}`))); });
    closed.catch((error) => {
      if (this.wasOpen === socket && !this.isClosed) this.note({ kind: 'lost', why: error.message });
      for (const it of this.#answers.values()) it.reject(error);
      this.#answers.clear();
    });
    socket.on('error', () => {});
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      this.#answers.get(message.id)?.resolve(message);
      this.#answers.delete(message.id);
    });
    await Promise.race([new Promise((opened) => { socket.on('open', opened); }), closed]);
    this.wasOpen = socket;
    this.note({ kind: 'connected' });
    return socket;
  }

  disconnect() { this.#socket?.terminate(); this.#socket = null; }
}

/** A service: functions in Redis where the channel keeps history. */
export class Service extends KeyedPublisher {
  calls = new RedisCalls(this.redisPort);

  draw() { return this.source.next(this.random.pick(this.channels.filter(isKept)), { via: 'keyed', qos: 2 }); }

  async attempt(publication) {
    this.source.sent(publication, 0);
    const header = JSON.stringify({ id: publication.id, binary: publication.isBinary || undefined });
    return String(await this.calls.call('tidegate_publish', `tidegate:${publication.channel}`, publication.bytes, header));
  }

  disconnect() { this.calls.close(); }
}

/** A service that publishes plainly: delivered at most once, kept nowhere. */
export class PlainService extends KeyedPublisher {
  draw() { return this.source.next(this.random.chance(0.3) ? this.random.pick(this.channels.filter(isKept)) : OPEN, { via: 'plain', qos: 0 }); }

  async attempt(publication) {
    if (!this.client?.isReady) {
      this.disconnect();
      this.client = createClient({ socket: { host: '127.0.0.1', port: this.redisPort, reconnectStrategy: false, connectTimeout: 1000 }, disableOfflineQueue: true });
      this.client.on('error', () => {});
      await this.client.connect();
    }
    this.source.sent(publication, publication.attempts.length);
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => { this.disconnect(); reject(new Error('no answer in time')); }, ANSWER_TIME_MAX); });
    await Promise.race([this.client.publish(`tidegate:${publication.channel}`, publication.bytes), late]).finally(() => clearTimeout(timer));
  }

  disconnect() {
    const { client } = this;
    this.client = null;
    try { client?.destroy(); } catch { /* It was closed already. */ }
  }
}
