// Some clients read too slowly, half of them not at all: each of these must be closed with 4008, reconnect and resume
// without loss, and the other clients must be unaffected. Needs a channel with history.
//
// Slow clients really stop reading: they use `k6/ws`, which runs handlers in the socket's read loop. While a handler sleeps,
// the socket is not read, the system's buffers fill, and then the node's queue.
//
//   k6 run -e VUS=200 -e SLOW=0.1 -e DURATION=1m load-tests/slow-consumers.js
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import ws from 'k6/ws';
import { Ledger } from './lib/ledger.js';
import { PUBLISHER, Plan, subscriber, publishByClock, report, thresholds } from './lib/run.js';
import { channelName, duration, number, settings, share, wholeNumber } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { JsonSession, address, backoff, params } from './lib/tidegate.js';

const CHANNEL = channelName('CHANNEL', 'load-test:slow');
const RATE = number('RATE', 40, 0.001); // publications a second
const SIZE = wholeNumber('SIZE', 32_000); // approximate bytes of payload
const SLOW = share('SLOW', 0.2); // of the clients
const plan = new Plan({ vus: 10, duration: '10s' });
const STALL = duration('STALL', `${Math.min(15_000, plan.duration * 0.6)}ms`); // how long they are slow
const PAUSE = duration('PAUSE', '200ms'); // of those that read slowly, after each publication
const SLOW_VUS = Math.ceil(plan.vus * SLOW);
const HEALTHY_VUS = plan.vus - SLOW_VUS;
const PUBLICATIONS = plan.count(RATE);
const CLOSED_AS_SLOW = 4008;
/** Linux's socket buffers on loopback plus a node's default queue: fewer unread bytes hardly make a client slow. */
const UNREAD_BYTES_LEAST = 5_500_000;

const closedAsSlow = new Counter('closed_as_slow');
const slowComplete = new Counter('slow_complete');
const slowMissing = new Counter('slow_missing');
const slowDuplicates = new Counter('slow_duplicates');
const unrecovered = new Counter('not_recovered');
const away = new Trend('time_away', true);

if (SLOW_VUS === 0 || HEALTHY_VUS === 0) throw new Error(`SLOW=${SLOW}: some of the ${plan.vus} VUS must be slow, and some not`);

export const options = {
  scenarios: {
    healthy: plan.scenario('readAtOnce', HEALTHY_VUS),
    slow: plan.scenario('readSlowly', SLOW_VUS),
    publisher: plan.scenario('publish', 1),
  },
  thresholds: {
    ...thresholds,
    published: [`count==${PUBLICATIONS}`],
    complete: [`count==${HEALTHY_VUS}`],
    closed_as_slow: [`count>=${SLOW_VUS}`],
    slow_complete: [`count==${SLOW_VUS}`],
    slow_missing: ['count==0'],
    slow_duplicates: ['count==0'],
    not_recovered: ['count==0'],
  },
  summaryTrendStats,
};

export function setup() {
  const unread = (RATE * SIZE * STALL) / 1000;
  if (unread < UNREAD_BYTES_LEAST) {
    console.warn(`RATE x SIZE x STALL is ${(unread / 1e6).toFixed(1)} MB: the system's buffers and the node's queue may hold that much`);
  }
  for (const counter of [closedAsSlow, slowComplete, slowMissing, slowDuplicates, unrecovered]) counter.add(0);
  return plan.begin();
}

export function readAtOnce(run) {
  subscriber(run, { channels: [CHANNEL], index: exec.scenario.iterationInTest, publishers: [[PUBLISHER, PUBLICATIONS]] });
}

export function publish(run) {
  publishByClock(run, { channel: CHANNEL, count: PUBLICATIONS, size: SIZE });
}

/** Opens one connection after the other until the client has everything. Blocks its VU, because `k6/ws` is synchronous. */
export function readSlowly(run) {
  const index = exec.scenario.iterationInTest;
  const consumer = {
    run,
    ledger: new Ledger(PUBLICATIONS),
    positions: new Map([[CHANNEL, undefined]]),
    // Every second slow client reads a publication now and then, the others read none.
    pause: index % 2 === 0 ? STALL : PAUSE,
    slowUntil: run.start + STALL,
    lostAt: undefined,
  };
  let failures = 0;
  for (let attempt = 0; !isDone(consumer) && failures <= 5; attempt++) {
    const code = connection(address(index, attempt), consumer);
    if (isDone(consumer)) break;
    consumer.slowUntil = 0; // It was slow once; from now on it catches up.
    if (code === CLOSED_AS_SLOW) closedAsSlow.add(1);
    else report(`a slow consumer was closed with ${code}, not ${CLOSED_AS_SLOW}`);
    failures = code === CLOSED_AS_SLOW ? 0 : failures + 1;
    if (consumer.lostAt === undefined) consumer.lostAt = Date.now();
    sleep(backoff(failures) / 1000);
  }
  slowComplete.add(consumer.ledger.missing === 0 ? 1 : 0);
  slowMissing.add(consumer.ledger.missing);
  slowDuplicates.add(consumer.ledger.duplicates);
}

function isDone({ run, ledger }) {
  return ledger.missing === 0 || Date.now() > run.end + settings.grace;
}

/** Returns the close code of the connection, or the error. */
function connection(url, consumer) {
  const { run, ledger, positions, pause } = consumer;
  let code = 'nothing';
  ws.connect(`${url}/ws`, params, (socket) => {
    const session = new JsonSession((frame) => socket.send(frame), positions, { stays: true }, {
      subscribed(recovered) {
        if (consumer.lostAt === undefined) return;
        away.add(Date.now() - consumer.lostAt);
        consumer.lostAt = undefined;
        if (!recovered) unrecovered.add(1);
      },
      publication(payload) {
        if (payload.run !== run.id) return;
        ledger.record(payload.seq);
        const slowFor = Math.min(pause, consumer.slowUntil - Date.now());
        if (slowFor > 0) sleep(slowFor / 1000);
        if (isDone(consumer)) socket.close();
      },
      answered() {},
      pong() {},
      failed: report,
    });
    socket.on('open', () => session.subscribe());
    socket.on('message', (frame) => session.receive(frame));
    socket.on('close', (closed) => (code = closed));
    // k6/ws reports a close frame here as well; other errors have no code.
    socket.on('error', (error) => (code = error.error()));
    socket.setInterval(() => isDone(consumer) && socket.close(), 500);
  });
  return code;
}

export function handleSummary(data) {
  const sentence = `${HEALTHY_VUS} clients that read, ${SLOW_VUS} that do not for ${STALL / 1000} s; ${PUBLICATIONS} publications of ${SIZE} bytes`;
  return summary('slow-consumers.js', sentence, data);
}
