// The json protocol for k6, and a client that speaks it and comes back where it stood. All of the protocol is in
// docs/PROTOCOL.md.
import { settings } from './settings.js';

// k6 2 has the standard WebSocket as `k6/websockets`, k6 1 as `k6/experimental/websockets` only.
export const { WebSocket } = loaded('k6/websockets') || require('k6/experimental/websockets');

export const RFC6455_NORMAL = 1000;
/** Closes after which it is no use to come back as one was (docs/PROTOCOL.md), as k6 words them. */
const FINAL = /\bclose (1002|1003|1007|1008|1009|4001|4003)\b/;
const BACKOFF_MAX_MS = 30_000;
/** Most publications of a client that wait for an answer; one that has more has been away for too long. */
const UNANSWERED_MAX = 1000;

/** What every upgrade carries. */
export const params = settings.token ? { headers: { Authorization: `Bearer ${settings.token}` } } : {};

/** The address of the `attempt`th connection of the client `index`: each further one goes to the next node. */
export function address(index, attempt = 0) {
  return settings.urls[(index + attempt) % settings.urls.length];
}

/** How long a client waits that has no `after_ms`, in milliseconds: at random, so that a fleet does not come back as one. */
export function backoff(failures) {
  return Math.random() * Math.min(BACKOFF_MAX_MS, settings.backoff * 2 ** failures);
}

/**
 * The json protocol on one connection, whatever the socket: `send(text)` takes what goes out, `receive(frame)` what
 * came in. `positions` (channel to position, or to undefined) are the channels it subscribes to; it is kept up to
 * date, and with it the next session resumes. Calls back:
 *
 * - `subscribed(recovered)` once all channels are; `recovered` says whether all that were resumed are complete,
 * - `publication(payload, channel)` for each that carries a JSON object,
 * - `answered(id)` for each of its own publications, by `published`,
 * - `pong()`,
 * - `failed(reason)` for `error`, `gap` and a channel that could not be resumed.
 */
export class JsonSession {
  constructor(send, positions, { echo = true, stays = false }, on) {
    Object.assign(this, { sendText: send, positions, echo, resumes: stays, on });
    this.unconfirmed = positions.size;
    this.recovered = true;
    /** What the node said before it closed the connection, in milliseconds. */
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
   * To be called as soon as the socket is open. Waiting for `welcome` is no use: k6 loses a frame that comes so soon after
   * the upgrade that its socket is not open yet.
   */
  subscribe() {
    const channels = {};
    for (const [channel, position] of this.positions) channels[channel] = position === undefined ? null : position;
    this.send(this.echo ? { type: 'subscribe', id: 0, channels } : { type: 'subscribe', id: 0, channels, echo: false });
  }

  confirm({ channel, position, recovered }) {
    if (recovered === false) this.recovered = false;
    // With `recovered: true` what was missed follows, and each publication brings its own position.
    if (recovered !== true) this.positions.set(channel, position);
    if (this.resumes && position === undefined) this.on.failed(`${channel} keeps no history: nobody can resume there`);
    this.unconfirmed -= 1;
    if (this.unconfirmed === 0) this.on.subscribed(this.recovered);
  }

  send(message) {
    this.sendText(JSON.stringify(message));
  }
}

/**
 * A client of the json protocol. With `stays` it reconnects when it was closed, to the next of the addresses, and
 * resumes; publications that got no answer it sends again, with the same idempotency key. Calls back:
 *
 * - `ready(comeback)` when it is subscribed; from the second time on with `{ recovered, away }` (milliseconds),
 * - `publication(payload, channel)` for each JSON object that arrives,
 * - `lost(reason)` for each connection that ended or did not come about, if it stays,
 * - `failed(reason)` for each thing that went wrong; the client may go on,
 * - `closed(asked)` once, last: true where the script itself called `close()`.
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
    // What a connection says that was given up is not heard.
    const heard = (handler) => (event) => this.socket === socket && handler(event);
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
    socket.onopen = heard(() => this.session.subscribe());
    socket.onmessage = heard(({ data }) => this.session.receive(data));
    socket.onerror = heard((event) => this.lost(`socket: ${event.error}`));
    socket.onclose = heard((event) => this.lost(`closed with ${event.code} ${event.reason || ''}`.trim()));
  }

  subscribed(recovered) {
    const comeback = this.readyAt === undefined ? undefined : { recovered, away: Date.now() - this.awayFrom };
    this.ready = true;
    this.readyAt = Date.now();
    this.awayFrom = undefined;
    this.failures = 0;
    for (const message of this.unanswered.values()) this.session.send(message);
    this.on.ready(comeback);
  }

  publish(channel, payload) {
    const message = { type: 'publish', id: ++this.published, channel, data: payload };
    if (this.stays) {
      message.idempotency_key = `${this.key}-${message.id}`;
      if (this.unanswered.size === UNANSWERED_MAX) this.on.failed(`${UNANSWERED_MAX} publications without an answer`);
      else this.unanswered.set(message.id, message);
    }
    if (this.ready) this.session.send(message);
    // How long a publication was on its way says nothing of the gateway where it waited here.
    else payload.late = true;
  }

  /** Asks the node whether it is there; `answer` is called when it says so. */
  ping(answer) {
    this.awaitedPong = answer;
    this.session.send({ type: 'ping', id: 0 });
  }

  awaitedPong() {}

  /** Leaves without a word, as one whose network is gone; a client that stays comes back. */
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
    // Those that were sent, too: they may not have arrived, and will have been under way for long when they do.
    for (const { data } of this.unanswered.values()) data.late = true;
    this.on.lost(reason);
    if (this.awayFrom === undefined) this.awayFrom = Date.now();
    if (Date.now() - this.awayFrom > settings.awayMax) return this.fail(`not back after ${settings.awayMax} ms: ${reason}`);
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

/** The JSON object in a frame. Others may publish what they like on the channel: anything else is not ours. */
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
