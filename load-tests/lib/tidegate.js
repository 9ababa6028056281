// Tidegate for k6: sessions over the plain and the json protocol, the settings all scripts share, and
// the book-keeping that says which publications a subscriber missed.
//
// k6 1.1 has the standard WebSocket only as `k6/experimental/websockets`. Releases that call it
// `k6/websockets` want this one line changed.
import { WebSocket } from 'k6/experimental/websockets';
import { Counter, Trend } from 'k6/metrics';

const RFC6455_NORMAL = 1000;

/** Settings of a run, from the environment; each script adds its own. */
export const settings = {
  /** One address, or several separated by commas: sessions are dealt out among them in turn. */
  urls: (__ENV.URL || 'ws://127.0.0.1:8080').split(',').map((url) => url.trim().replace(/\/+$/, '')),
  token: __ENV.TOKEN || '',
  vus: number('VUS', 50),
  duration: duration('DURATION', '10s'),
  /** Time for everyone to connect, before the first publication. */
  warmup: duration('WARMUP', `${2000 + number('VUS', 50) * 2}ms`),
  /** How long the last publications may take before they count as missing. */
  grace: duration('GRACE', '5s'),
  p95: duration('P95', '1s'),
  p99: duration('P99', '2s'),
};

/** What every script counts of its deliveries. */
export const metrics = {
  latency: new Trend('delivery_latency', true),
  received: new Counter('received'),
  published: new Counter('published'),
  missing: new Counter('missing'),
  duplicates: new Counter('duplicates'),
  disordered: new Counter('out_of_order'),
  errors: new Counter('session_errors'),
};

/** And what it must come to. */
export const thresholds = {
  delivery_latency: [`p(95)<${settings.p95}`, `p(99)<${settings.p99}`],
  missing: ['count==0'],
  duplicates: ['count==0'],
  out_of_order: ['count==0'],
  session_errors: ['count==0'],
};

/** A number from the environment; stops the run on anything else, before it has begun. */
export function number(name, fallback) {
  const value = __ENV[name] === undefined ? fallback : Number(__ENV[name]);
  if (!(value >= 0)) throw new Error(`${name}=${__ENV[name]}: a number from 0 on is expected`);
  return value;
}

/** A duration from the environment, such as 500ms, 10s, 2m or 1m30s, in milliseconds. */
export function duration(name, fallback) {
  const text = __ENV[name] || fallback;
  const unit = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
  if (!/^(\d+(\.\d+)?(ms|h|m|s))+$/.test(text)) throw new Error(`${name}=${text}: a duration such as 500ms, 10s or 1m30s is expected`);
  return [...text.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce((sum, [, amount, suffix]) => sum + Number(amount) * unit[suffix], 0);
}

/** One of a few words from the environment; the first is the default. */
export function choice(name, ...words) {
  const value = __ENV[name] || words[0];
  if (!words.includes(value)) throw new Error(`${name}=${value}: ${words.join(' or ')} is expected`);
  return value;
}

/**
 * When this run's publications begin and end, on the one clock that all VUs share: call it in `setup()`.
 * `id` tells this run's publications from those of another on the same channel.
 */
export function schedule() {
  const start = Date.now() + settings.warmup;
  return { id: `${start.toString(36)}-${Math.random().toString(36).slice(2, 8)}`, start, end: start + settings.duration };
}

/** Long enough for every session to end by itself, as what has not is never counted. */
export function durationMax() {
  return `${Math.ceil((settings.warmup + settings.duration + settings.grace) / 1000) + 10}s`;
}

/**
 * Opens a session on one channel and calls back:
 *
 * - `ready()` once it is subscribed,
 * - `publication(payload)` for each JSON object that arrives,
 * - `failed(reason)` for each thing that went wrong; the session may go on,
 * - `closed(asked)` once, last: true where the script itself called `close()`.
 *
 * `index` chooses the address. With `echo: false` its own publications do not come back.
 */
export function open({ protocol, channel, index = 0, echo = true }, on) {
  const url = settings.urls[index % settings.urls.length];
  return protocol === 'json' ? new JsonSession(url, { channel, echo }, on) : new PlainSession(url, { channel, echo }, on);
}

/** What both protocols share: the socket, and one clear end to it. */
class Session {
  constructor(url, on) {
    this.on = on;
    this.ending = false;
    const headers = settings.token ? { Authorization: `Bearer ${settings.token}` } : {};
    this.socket = new WebSocket(url, null, { headers });
    this.socket.binaryType = 'arraybuffer';
    this.socket.onerror = (event) => this.end(`socket: ${event.error}`);
    this.socket.onclose = (event) => this.end(`closed with ${event.code} ${event.reason || ''}`.trim());
  }

  close() {
    this.ending = true;
    this.socket.close(RFC6455_NORMAL);
  }

  /** k6 may report one failed socket as error, as close, or as both. */
  end(reason) {
    if (this.ended) return;
    this.ended = true;
    if (!this.ending) this.on.failed(reason);
    this.on.closed(this.ending);
  }
}

class PlainSession extends Session {
  constructor(url, { channel, echo }, on) {
    super(`${url}/ws/${encodeURIComponent(channel)}${echo ? '' : '?echo=false'}`, on);
    this.socket.onopen = () => on.ready();
    this.socket.onmessage = ({ data }) => {
      const payload = parsed(data);
      if (payload) on.publication(payload);
    };
  }

  publish(payload) {
    this.socket.send(JSON.stringify(payload));
  }
}

class JsonSession extends Session {
  constructor(url, { channel, echo }, on) {
    super(`${url}/ws`, on);
    this.channel = channel;
    this.subscription = echo ? { type: 'subscribe', id: 0, channel } : { type: 'subscribe', id: 0, channel, echo };
    this.published = 0;
    this.socket.onmessage = ({ data }) => this.receive(parsed(data) || {});
  }

  receive(message) {
    switch (message.type) {
      case 'publication':
        if (isObject(message.data)) this.on.publication(message.data);
        break;
      case 'welcome':
        this.send(this.subscription);
        break;
      case 'subscribed':
        this.on.ready();
        break;
      case 'error':
        this.on.failed(`${message.code}: ${message.message}`);
        break;
      case 'gap':
        this.on.failed(`gap: ${message.reason}`);
        break;
    }
  }

  publish(payload) {
    this.published += 1;
    this.send({ type: 'publish', id: this.published, channel: this.channel, data: payload });
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }
}

/** The JSON object in a frame. Others may publish what they like on the channel: anything else is not ours. */
function parsed(frame) {
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

/**
 * What one subscriber has received of one publisher's sequence 0, 1, … `expected` - 1.
 *
 * Costs memory only for what is missing, so that thousands of subscribers can each keep one.
 */
export class Ledger {
  constructor(expected) {
    this.expected = expected;
    this.next = 0;
    this.holes = new Set();
    this.duplicates = 0;
    this.disordered = 0;
  }

  record(seq) {
    if (seq >= this.next) {
      for (let skipped = this.next; skipped < seq; skipped++) this.holes.add(skipped);
      this.next = seq + 1;
    } else if (this.holes.delete(seq)) {
      this.disordered += 1;
    } else {
      this.duplicates += 1;
    }
  }

  get missing() {
    return this.holes.size + Math.max(0, this.expected - this.next);
  }
}
