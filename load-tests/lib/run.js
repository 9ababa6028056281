// What the scripts have in common: when a run begins and ends, what it counts and what that must come to, one who
// listens, and one who publishes by the clock.
import { Counter, Trend } from 'k6/metrics';
import { Ledgers } from './ledger.js';
import { PlainClient } from './plain.js';
import { duration, settings, wholeNumber } from './settings.js';
import { Client } from './tidegate.js';

/** What every script counts of its deliveries. */
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

/** And what it must come to. */
export const thresholds = {
  delivery_latency: [`p(95)<${settings.p95}`, `p(99)<${settings.p99}`],
  missing: ['count==0'],
  duplicates: ['count==0'],
  out_of_order: ['count==0'],
  session_errors: ['count==0'],
};

/** `VUS`, `DURATION` and `WARMUP` of a script, and the times that follow from them in milliseconds. */
export class Plan {
  constructor({ vus, duration: length }) {
    this.vus = wholeNumber('VUS', vus);
    this.duration = duration('DURATION', length, 1);
    /** Time for everyone to connect, before the first publication. */
    this.warmup = duration('WARMUP', `${2000 + this.vus * 2}ms`);
  }

  /** How many there are in the run of what there are `rate` of in a second: at least one. */
  count(rate) {
    return Math.max(1, Math.floor((rate * this.duration) / 1000));
  }

  /**
   * When this run's publications begin and end, on the one clock that all VUs share: for `setup()`. `id` tells this
   * run's publications from those of another on the same channel.
   */
  begin() {
    // A threshold on what nobody ever counted would hold: each begins at 0.
    for (const metric of Object.values(metrics)) if (metric !== metrics.latency) metric.add(0);
    const start = Date.now() + this.warmup;
    return { id: `${start.toString(36)}-${Math.random().toString(36).slice(2, 8)}`, start, end: start + this.duration };
  }

  /** The scenario of `vus` VUs that call `exec` once. It lasts until every session has ended by itself, as what has not is never counted. */
  scenario(exec, vus = this.vus) {
    const length = this.warmup + this.duration + settings.grace + settings.awayMax;
    return { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: `${Math.ceil(length / 1000) + 10}s`, exec };
  }

  /** Loss is judged only where a subscriber was there all the time: so nearly all must have been. */
  nearlyAll() {
    return [`count>=${Math.ceil(this.vus * 0.99)}`];
  }
}

/**
 * One who listens from the first publication to the last. `publishers` are those it hears, with how many each will send:
 * how many there will be is known beforehand, so a lost last one is noticed, too. Leaves when it has them all.
 *
 * `latencyOf(payload)` says which Trend a delivery counts for. `ready`, `lost` and `closed` are those of a `Client`.
 */
export function listen(run, { publishers, protocol = 'json', ...client }, { latencyOf = () => metrics.latency, ...on } = {}) {
  const ledgers = new Ledgers(publishers);
  let firstReadyAt = Infinity;

  const listener = new (protocol === 'json' ? Client : PlainClient)(client, {
    ready(comeback) {
      firstReadyAt = Math.min(firstReadyAt, Date.now());
      if (on.ready) on.ready(comeback);
    },
    publication(payload) {
      if (payload.run !== run.id) return;
      metrics.received.add(1);
      // What it missed and what waited at its publisher was late before it came to the gateway.
      if (!payload.late && payload.sent >= listener.readyAt) latencyOf(payload).add(Date.now() - payload.sent);
      if (!ledgers.record(payload.from, payload.seq)) report(`heard publisher ${payload.from}, who is none of this channel's`);
    },
    lost: on.lost || (() => {}),
    failed: report,
    closed(asked) {
      clearTimeout(deadline);
      clearInterval(watch);
      const thereAllTheTime = asked && firstReadyAt <= run.start;
      metrics.complete.add(thereAllTheTime ? 1 : 0);
      metrics.late.add(firstReadyAt > run.start ? 1 : 0);
      metrics.missing.add(thereAllTheTime ? ledgers.missing : 0);
      metrics.duplicates.add(ledgers.duplicates);
      metrics.disordered.add(ledgers.disordered);
      if (on.closed) on.closed(asked);
    },
  });

  const deadline = setTimeout(() => listener.close(), run.end + settings.grace - Date.now());
  // Duplicates come after the original: one that has everything stays for another look.
  let satisfied = false;
  const watch = setInterval(() => {
    if (satisfied && Date.now() > run.end) listener.close();
    satisfied = ledgers.missing === 0;
  }, 500);
  return listener;
}

/** The only one that `publishByClock` knows, as listeners' `publishers` has it. */
export const PUBLISHER = 'publisher';

/** Publishes `count` times over the run, whether or not the earlier ones have arrived. */
export function publishByClock(run, { channel, count, size, ...client }, protocol = 'json') {
  const interval = (run.end - run.start) / count;
  const padding = 'x'.repeat(Math.max(0, size - 100));
  let seq = 0;
  let begun = false;

  const publisher = new (protocol === 'json' ? Client : PlainClient)({ channels: [channel], echo: false, ...client }, {
    ready() {
      if (!begun) wait();
      begun = true;
    },
    publication() {},
    lost() {},
    failed: report,
    closed() {
      seq = count; // nothing more can be sent
    },
  });

  // Timers may fire late, and then all that is due goes out at once: the rate is that of the schedule.
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
    else setTimeout(leave, 1000);
  }

  // The last answers are awaited, as an error may be among them, and what waits for the next connection must still go out.
  function leave() {
    const waiting = publisher.unanswered && publisher.unanswered.size > 0;
    if (waiting && Date.now() < run.end + settings.grace) setTimeout(leave, 100);
    else publisher.close();
  }
}

/** What went wrong: counted, and printed. */
export function report(reason) {
  metrics.errors.add(1);
  console.error(reason);
}
