// The json protocol for k6, and a client that reconnects and resumes. docs/PROTOCOL.md describes the protocol.
import { settings } from './settings.js';

// k6 2 has the standard WebSocket as `k6/websockets`, k6 1 only as `k6/experimental/websockets`.
export const { WebSocket } = loaded('k6/websockets') || require('k6/experimental/websockets');

export const RFC6455_NORMAL = 1000;
/** Close codes after which a client must not reconnect unchanged (docs/PROTOCOL.md), in the form of k6's messages. */
const FINAL = /\bclose (1002|1003|1007|1008|1009|4001|4003)\b/;
const BACKOFF_MAX_MS = 30_000;
/** Most unanswered publications of a client; one with more has been disconnected for too long. */
const UNANSWERED_MAX = 1000;

/** The headers of every upgrade. */
export const params = settings.token ? { headers: { Authorization: `Bearer ${settings.token}` } } : {};

/** The address of the `attempt`th connection of the client `index`: each further attempt uses the next node. */
export function address(index, attempt = 0) {
  return settings.urls[(index + attempt) % settings.urls.length];
}

/** The delay without an `after_ms`, in milliseconds: random, so that clients do not reconnect all at once. */
export function backoff(failures) {
  return Math.random() * Math.min(BACKOFF_MAX_MS, settings.backoff * 2 ** failures);
}

/**
 * The json protocol on one connection, over any socket: it sends frames with `send(text)` and takes received ones through
 * `receive(frame)`. `positions` (channel to position, or to undefined) are the channels it subscribes to; it updates them,
 * and the next session resumes from them. Callbacks:
 *
 * - `subscribed(recovered)` when all channels are subscribed; `recovered`: all resumed channels are complete,
 * - `publication(payload, channel)` for each publication with a JSON object,
 * - `answered(id)` for each `published`, the reply to its own publications,
 * - `pong()`,
 * - `failed(reason)` for `error`, `gap` and a channel that could not be resumed.
 */
export class JsonSession {
  constructor(send, positions, { echo = true, stays = false }, on) {
    Object.assign(this, { sendText: send, positions, echo, resumes: stays, on });
    this.unconfirmed = positions.size;
    this.recovered = true;
    /** `after_ms` of the node's last `reconnect`, in milliseconds. */
    this.afterMs = undefined;
  }

  receive(frame) {
    const message = parsed(frame) || {};
    switch (message.type) {
      case 'publication':
        if (message.position) this.positions.set(message.channel, message.position);
        if (isObject(message.data)) this.on.publication(message.data, message.channel);
        break;
      case 'published':
        this.on.answered(message.id);
        break;
      case 'subscribed':
        this.confirm(message);
        break;
      case 'pong':
        this.on.pong();
        break;
      case 'reconnect':
        this.afterMs = message.after_ms;
        break;
      case 'error':
        this.on.failed(`${message.code}: ${message.message}`);
        break;
      case 'gap':
        this.on.failed(`gap on ${message.channel}: ${message.reason}`);
        break;
    }
  }

  /**
   * Call it as soon as the socket is open. Do not wait for `welcome`: k6 loses frames that arrive right after the upgrade,
   * before its socket is open.
   */
  subscribe() {
    const channels = {};
    for (const [channel, position] of this.positions) channels[channel] = position === undefined ? null : position;
    this.send(this.echo ? { type: 'subscribe', id: 0, channels } : { type: 'subscribe', id: 0, channels, echo: false });
  }

  confirm({ channel, position, recovered }) {
    if (recovered === false) this.recovered = false;
    // With `recovered: true` the missed publications follow, each with its own position.
    if (recovered !== true) this.positions.set(channel, position);
    if (this.resumes && position === undefined) this.on.failed(`${channel} keeps no history: clients cannot resume there`);
    this.unconfirmed -= 1;
    if (this.unconfirmed === 0) this.on.subscribed(this.recovered);
  }

  send(message) {
    this.sendText(JSON.stringify(message));
  }
}

/**
 * A client of the json protocol. With `stays` it reconnects after a close, to the next address, resumes, and sends
 * unanswered publications again with the same idempotency key. Callbacks:
 *
 * - `ready(resumed)` when it is subscribed; after a reconnect with `{ recovered, away }` (milliseconds),
 * - `publication(payload, channel)` for each JSON object that arrives,
 * - `lost(reason)` with `stays`, for each connection that ended or could not be opened,
 * - `failed(reason)` for each error; the client may continue,
 * - `closed(requested)` once, last: true if the script itself called `close()`.
 */
export class Client {
  constructor({ channels, index = 0, echo = true, stays = false }, on) {
    this.positions = new Map(channels.map((channel) => [channel, undefined]));
    this.key = `${index}-${Math.random().toString(36).slice(2)}`;
    this.unanswered = new Map();
    this.published = 0;
    this.attempts = 0;
    this.failures = 0;
    Object.assign(this, { index, echo, stays, on });
    this.connect();
  }

  connect() {
    const socket = new WebSocket(`${address(this.index, this.attempts)}/ws`, null, params);
    // Ignores events of a connection that was replaced.
    const current = (handler) => (event) => this.socket === socket && handler(event);
    this.attempts += 1;
    this.socket = socket;
    this.ready = false;
    this.session = new JsonSession((frame) => socket.send(frame), this.positions, this, {
      subscribed: (recovered) => this.subscribed(recovered),
      publication: this.on.publication,
      answered: (id) => this.unanswered.delete(id),
      pong: () => this.awaitedPong(),
      failed: this.on.failed,
    });
    socket.onopen = current(() => this.session.subscribe());
    socket.onmessage = current(({ data }) => this.session.receive(data));
    socket.onerror = current((event) => this.lost(`socket: ${event.error}`));
    socket.onclose = current((event) => this.lost(`closed with ${event.code} ${event.reason || ''}`.trim()));
  }

  subscribed(recovered) {
    const resumed = this.readyAt === undefined ? undefined : { recovered, away: Date.now() - this.awayFrom };
    this.ready = true;
    this.readyAt = Date.now();
    this.awayFrom = undefined;
    this.failures = 0;
    for (const message of this.unanswered.values()) this.session.send(message);
    this.on.ready(resumed);
  }

  publish(channel, payload) {
    const message = { type: 'publish', id: ++this.published, channel, data: payload };
    if (this.stays) message.idempotency_key = `${this.key}-${message.id}`;
    if (this.stays && this.unanswered.size === UNANSWERED_MAX) this.on.failed(`${UNANSWERED_MAX} publications without an answer`);
    else this.unanswered.set(message.id, message);
    if (this.ready) this.session.send(message);
    // Its latency would include the wait here, so it does not count.
    else payload.late = true;
  }

  /** Sends a ping; calls `answer` when the pong arrives. */
  ping(answer) {
    this.awaitedPong = answer;
    this.session.send({ type: 'ping', id: 0 });
  }

  awaitedPong() {}

  /** Drops the connection without a close handshake, as after a network failure; a client with `stays` reconnects. */
  drop() {
    this.socket.close();
    this.lost('dropped by the script');
  }

  close() {
    this.closing = true;
    if (!this.socket) return this.end();
    this.socket.close(RFC6455_NORMAL);
  }

  lost(reason) {
    const wait = this.session.afterMs === undefined ? backoff(this.failures) : this.session.afterMs;
    this.socket = undefined;
    this.ready = false;
    if (this.closing) return this.end();
    if (!this.stays || FINAL.test(reason)) return this.fail(reason);
    // Sent publications as well: they may not have arrived, and the repeated ones have a long latency.
    for (const { data } of this.unanswered.values()) data.late = true;
    this.on.lost(reason);
    if (this.awayFrom === undefined) this.awayFrom = Date.now();
    if (Date.now() - this.awayFrom > settings.awayMax) return this.fail(`not reconnected after ${settings.awayMax} ms: ${reason}`);
    this.failures += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  fail(reason) {
    this.on.failed(reason);
    this.end();
  }

  /** k6 may report one failed socket as error, as close, or as both. */
  end() {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    this.on.closed(this.closing === true);
  }
}

/** The JSON object in a frame; null for anything else, which other publishers may send. */
export function parsed(frame) {
  try {
    const value = typeof frame === 'string' ? JSON.parse(frame) : null;
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value) {
  return typeof value === 'object' && value !== null;
}

function loaded(module) {
  try {
    return require(module);
  } catch {
    return undefined;
  }
}
