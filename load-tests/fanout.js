// One publisher, many subscribers, one channel: how long a publication takes to reach each of them, and
// whether each of them got every one, once, in order.
//
//   k6 run -e VUS=1000 -e RATE=10 -e DURATION=1m load-tests/fanout.js
import { Counter } from 'k6/metrics';
import exec from 'k6/execution';
import { Ledger, metrics, thresholds, choice, durationMax, number, open, schedule, settings } from './lib/tidegate.js';

const PROTOCOL = choice('PROTOCOL', 'plain', 'json');
const CHANNEL = __ENV.CHANNEL || 'load-test';
const RATE = number('RATE', 20); // publications a second
const SIZE = number('SIZE', 128); // bytes of payload, roughly
const { vus: VUS, duration, grace } = settings;
const { latency, received, published, missing, duplicates, disordered, errors } = metrics;
const PUBLICATIONS = Math.max(1, Math.floor((RATE * duration) / 1000));

const complete = new Counter('subscribers_complete');

export const options = {
  scenarios: {
    subscribers: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: durationMax(), exec: 'subscribe' },
    publisher: { executor: 'per-vu-iterations', vus: 1, iterations: 1, maxDuration: durationMax(), exec: 'publish' },
  },
  thresholds: {
    ...thresholds,
    published: [`count==${PUBLICATIONS}`],
    // Loss is judged only where a subscriber was there all the time: so nearly all must have been.
    subscribers_complete: [`count>=${Math.ceil(VUS * 0.99)}`],
  },
  summaryTrendStats: ['min', 'avg', 'med', 'p(95)', 'p(99)', 'max'],
};

export const setup = schedule;

export function subscribe(run) {
  const ledger = new Ledger(PUBLICATIONS);
  let readyAt = Infinity;

  const session = open({ protocol: PROTOCOL, channel: CHANNEL, index: exec.scenario.iterationInTest }, {
    ready() {
      readyAt = Date.now();
    },
    publication({ run: id, seq, sent }) {
      if (id !== run.id) return;
      received.add(1);
      latency.add(Date.now() - sent);
      ledger.record(seq);
    },
    failed: report,
    closed(asked) {
      clearTimeout(deadline);
      clearInterval(watch);
      const thereAllTheTime = asked && readyAt <= run.start;
      complete.add(thereAllTheTime ? 1 : 0);
      missing.add(thereAllTheTime ? ledger.missing : 0);
      duplicates.add(ledger.duplicates);
      disordered.add(ledger.disordered);
    },
  });

  const deadline = setTimeout(() => session.close(), run.end + grace - Date.now());
  // Duplicates come after the original: a subscriber that has everything stays for another look.
  let satisfied = false;
  const watch = setInterval(() => {
    if (satisfied) session.close();
    satisfied = ledger.missing === 0;
  }, 500);
}

export function publish(run) {
  const interval = duration / PUBLICATIONS;
  const padding = 'x'.repeat(Math.max(0, SIZE - 70));
  let seq = 0;

  const session = open({ protocol: PROTOCOL, channel: CHANNEL, echo: false }, {
    ready: () => wait(),
    publication() {},
    failed: report,
    closed() {
      seq = PUBLICATIONS; // nothing more can be sent
    },
  });

  // Timers may fire late, and then all that is due goes out at once: the rate is that of the schedule.
  function wait() {
    setTimeout(publishDue, Math.max(0, run.start + seq * interval - Date.now()));
  }

  function publishDue() {
    while (seq < PUBLICATIONS && run.start + seq * interval <= Date.now()) {
      session.publish({ run: run.id, seq, sent: Date.now(), padding });
      published.add(1);
      seq += 1;
    }
    // The last answers are awaited, as an error may be among them.
    if (seq < PUBLICATIONS) wait();
    else setTimeout(() => session.close(), 1000);
  }
}

function report(reason) {
  errors.add(1);
  console.error(reason);
}
