// Shared by all scripts: when a run starts and ends, its metrics and thresholds, a subscriber, and a publisher with a
// fixed schedule.
import { Counter, Trend } from 'k6/metrics';
import { Ledgers } from './ledger.js';
import { PlainClient } from './plain.js';
import { duration, settings, wholeNumber } from './settings.js';
import { Client } from './tidegate.js';

/** The delivery metrics of every script. */
export const metrics = {
  latency: new Trend('delivery_latency', true),
  received: new Counter('received'),
  published: new Counter('published'),
  missing: new Counter('missing'),
  duplicates: new Counter('duplicates'),
  disordered: new Counter('out_of_order'),
  errors: new Counter('session_errors'),
  complete: new Counter('complete'),
  late: new Counter('late'),
};

/** The thresholds of these metrics. */
export const thresholds = {
  delivery_latency: [`p(95)<${settings.p95}`, `p(99)<${settings.p99}`],
  missing: ['count==0'],
  duplicates: ['count==0'],
  out_of_order: ['count==0'],
  session_errors: ['count==0'],
};

/** `VUS`, `DURATION` and `WARMUP` of a script, and the derived times in milliseconds. */
export class Plan {
  constructor({ vus, duration: length }) {
    this.vus = wholeNumber('VUS', vus);
    this.duration = duration('DURATION', length, 1);
    /** The time for all clients to connect before the first publication. */
    this.warmup = duration('WARMUP', `${2000 + this.vus * 2}ms`);
  }

  /** The number of events in the run at `rate` a second: at least one. */
  count(rate) {
    return Math.max(1, Math.floor((rate * this.duration) / 1000));
  }

  /**
   * For `setup()`: when this run's publications start and end, on the clock that all VUs share. `id` distinguishes this
   * run's publications from those of another run on the same channel.
   */
  begin() {
    // A threshold on a metric without samples would pass, so each metric starts with a 0.
    for (const metric of Object.values(metrics)) if (metric !== metrics.latency) metric.add(0);
    const start = Date.now() + this.warmup;
    return { id: `${start.toString(36)}-${Math.random().toString(36).slice(2, 8)}`, start, end: start + this.duration };
  }

  /** The scenario of `vus` VUs that call `exec` once. It lasts until every session has ended by itself, because k6 drops the counts of interrupted ones. */
  scenario(exec, vus = this.vus) {
    const length = this.warmup + this.duration + settings.grace + settings.awayMax;
    return { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: `${Math.ceil(length / 1000) + 10}s`, exec };
  }

  /** `missing` counts only subscribers that were connected all the time, so nearly all must have been. */
  nearlyAll() {
    return [`count>=${Math.ceil(this.vus * 0.99)}`];
  }
}

/**
 * A subscriber from the first publication to the last. `publishers` lists its publishers, with how many publications each
 * sends: because the numbers are fixed, it detects a lost last publication as well. Disconnects when it has all of them.
 *
 * `latencyOf(payload)` returns the Trend that a delivery counts for. `ready`, `lost` and `closed` are those of a `Client`.
 */
export function subscriber(run, { publishers, protocol = 'json', ...client }, { latencyOf = () => metrics.latency, ...on } = {}) {
  const ledgers = new Ledgers(publishers);
  let firstReadyAt = Infinity;

  const listener = new (protocol === 'json' ? Client : PlainClient)(client, {
    ready(resumption) {
      firstReadyAt = Math.min(firstReadyAt, Date.now());
      if (on.ready) on.ready(resumption);
    },
    publication(payload) {
      if (payload.run !== run.id) return;
      metrics.received.add(1);
      // Not publications from before it was ready, nor those that were delayed at the publisher.
      if (!payload.late && payload.sent >= listener.readyAt) latencyOf(payload).add(Date.now() - payload.sent);
      if (!ledgers.record(payload.from, payload.seq)) report(`received from publisher ${payload.from}, which does not belong to this channel`);
    },
    lost: on.lost || (() => {}),
    failed: report,
    closed(requested) {
      clearTimeout(deadline);
      clearInterval(watch);
      const connectedAllTheTime = requested && firstReadyAt <= run.start;
      metrics.complete.add(connectedAllTheTime ? 1 : 0);
      metrics.late.add(firstReadyAt > run.start ? 1 : 0);
      metrics.missing.add(connectedAllTheTime ? ledgers.missing : 0);
      metrics.duplicates.add(ledgers.duplicates);
      metrics.disordered.add(ledgers.disordered);
      if (on.closed) on.closed(requested);
    },
  });

  const deadline = setTimeout(() => listener.close(), run.end + settings.grace - Date.now());
  // A duplicate arrives after the original, so a subscriber that has everything stays for one more interval.
  let satisfied = false;
  const watch = setInterval(() => {
    if (satisfied && Date.now() > run.end) listener.close();
    satisfied = ledgers.missing === 0;
  }, 500);
  return listener;
}

/** The name of the publisher of `publishByClock`, for subscribers' `publishers`. */
export const PUBLISHER = 'publisher';

/** Publishes `count` times over the run, whether or not the earlier ones have arrived. */
export function publishByClock(run, { channel, count, size, ...client }, protocol = 'json') {
  const interval = (run.end - run.start) / count;
  const padding = 'x'.repeat(Math.max(0, size - 100));
  let seq = 0;
  let started = false;

  const publisher = new (protocol === 'json' ? Client : PlainClient)({ channels: [channel], echo: false, ...client }, {
    ready() {
      if (!started) wait();
      started = true;
    },
    publication() {},
    lost() {},
    failed: report,
    closed() {
      seq = count; // nothing more can be sent
    },
  });

  // Timers may fire late; then all publications that are due are sent at once, so that the rate follows the schedule.
  function wait() {
    setTimeout(publishDue, Math.max(0, run.start + seq * interval - Date.now()));
  }

  function publishDue() {
    while (seq < count && run.start + seq * interval <= Date.now()) {
      publisher.publish(channel, { run: run.id, from: PUBLISHER, seq, sent: Date.now(), padding });
      metrics.published.add(1);
      seq += 1;
    }
    if (seq < count) wait();
    else setTimeout(finish, 1000);
  }

  // Waits for the last replies, because one may be an error, and for publications that are queued for the next connection.
  function finish() {
    const waiting = publisher.unanswered && publisher.unanswered.size > 0;
    if (waiting && Date.now() < run.end + settings.grace) setTimeout(finish, 100);
    else publisher.close();
  }
}

/** Counts and prints an error. */
export function report(reason) {
  metrics.errors.add(1);
  console.error(reason);
}
