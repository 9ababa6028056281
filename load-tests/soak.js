// A mixed load for hours: most clients are idle, others subscribe to one channel and chat in rooms, lose their connection
// now and then and resume, and visitors connect briefly. No loss and no duplicates; idle clients must still be connected at
// the end, and the nodes must release the memory and connections of the run. Needs channels with history.
//
//   k6 run -e VUS=2000 -e DURATION=8h -e CHURN=20m -e METRICS=http://10.0.0.5:9090 load-tests/soak.js
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import * as nodes from './lib/nodes.js';
import { membersOf, messageTimes, roomOf, publishAt } from './lib/people.js';
import { PUBLISHER, Plan, subscriber, publishByClock, report, thresholds } from './lib/run.js';
import { channelName, duration, number, settings, share, wholeNumber } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { Client } from './lib/tidegate.js';

const CHANNEL = channelName('CHANNEL', 'load-test:soak'); // and CHANNEL:room:1, …, CHANNEL:idle, CHANNEL:visitors
const RATE = number('RATE', 2, 0.001); // publications a second to all clients that are not idle
const TALK = number('TALK', 0.2); // messages a second of one person in a room
const ROOM_SIZE = wholeNumber('ROOM_SIZE', 10);
const SIZE = wholeNumber('SIZE', 512); // approximate bytes of a publication to all
const IDLE = share('IDLE', 0.6); // of the VUS
const CHURN = duration('CHURN', '5s'); // average life of a connection of a client that is not idle
const VISITORS = number('VISITORS', 2, 0.001); // sessions a second that connect, send one request and disconnect
const plan = new Plan({ vus: 50, duration: '15s' });
const IDLE_VUS = Math.min(plan.vus - 1, Math.max(1, Math.floor(plan.vus * IDLE)));
const PEOPLE = plan.vus - IDLE_VUS;
const PUBLICATIONS = plan.count(RATE);
const MESSAGES = plan.count(TALK);
const PONG_MAX_MS = 5000;

const stillThere = new Counter('idle_still_there');
const resumed = new Counter('resumed');
const unrecovered = new Counter('not_recovered');
const visits = new Counter('visits');
const away = new Trend('time_away', true);

if (plan.vus < 2) throw new Error(`VUS=${plan.vus}: 2 or more are expected, one of them idle`);

export const options = {
  scenarios: {
    idle: plan.scenario('idle', IDLE_VUS),
    people: plan.scenario('person', PEOPLE),
    publisher: plan.scenario('publish', 1),
    visitors: {
      executor: 'constant-arrival-rate', rate: Math.ceil(VISITORS * 1000), timeUnit: '1000s', exec: 'visit',
      duration: `${Math.ceil((plan.warmup + plan.duration) / 1000)}s`, preAllocatedVUs: Math.ceil(VISITORS * 2), maxVUs: Math.ceil(VISITORS * 10),
    },
    ...(nodes.watched ? { watch: plan.scenario('watch', 1) } : {}),
  },
  thresholds: {
    ...thresholds,
    ...nodes.thresholds,
    published: [`count==${PUBLICATIONS + PEOPLE * MESSAGES}`],
    complete: [`count>=${Math.ceil(PEOPLE * 0.99)}`],
    idle_still_there: [`count==${IDLE_VUS}`],
    not_recovered: ['count==0'],
    time_away: [`max<${settings.awayMax}`],
  },
  summaryTrendStats,
  // Time for the nodes to notice that the last session has ended.
  teardownTimeout: '2m',
};

export function setup() {
  for (const counter of [stillThere, resumed, unrecovered, visits]) counter.add(0);
  return { ...plan.begin(), nodes: nodes.look() };
}

/** Connects, subscribes and stays silent; at the end it sends a ping to verify that the connection works. */
export function idle(run) {
  const client = new Client({ channels: [`${CHANNEL}:idle`], index: exec.scenario.iterationInTest }, {
    ready: () => setTimeout(ask, run.end - Date.now()),
    publication() {},
    failed: report,
    closed() {},
  });

  function ask() {
    const patience = setTimeout(() => {
      report('an idle client got no pong');
      client.close();
    }, PONG_MAX_MS);
    client.ping(() => {
      clearTimeout(patience);
      stillThere.add(1);
      client.close();
    });
  }
}

export function person(run) {
  const me = exec.scenario.iterationInTest;
  const room = `${CHANNEL}:room:${roomOf(me, ROOM_SIZE) + 1}`;
  const publishers = [[PUBLISHER, PUBLICATIONS], ...membersOf(me, ROOM_SIZE, PEOPLE).map((user) => [user, MESSAGES])];
  let messages;
  let churn;

  const client = subscriber(run, { channels: [CHANNEL, room], index: me, stays: true, publishers }, {
    ready(resumption) {
      loseConnectionSoon();
      if (!resumption) {
        messages = publishAt(client, { run, me, channel: room, moments: messageTimes(run, MESSAGES) });
        return;
      }
      resumed.add(1);
      away.add(resumption.away);
      if (!resumption.recovered) unrecovered.add(1);
    },
    lost: () => clearTimeout(churn),
    closed() {
      clearTimeout(churn);
      if (messages) messages.stop();
    },
  });

  // Exponentially distributed, so equally likely at any moment; never at the very start or end.
  function loseConnectionSoon() {
    const at = Math.max(run.start, Date.now()) - Math.log(1 - Math.random()) * CHURN;
    if (at < run.end - settings.backoff) churn = setTimeout(() => client.drop(), at - Date.now());
  }
}

export function publish(run) {
  publishByClock(run, { channel: CHANNEL, count: PUBLICATIONS, size: SIZE, stays: true });
}

/** Connects, subscribes, sends one ping and disconnects. */
export function visit() {
  const client = new Client({ channels: [`${CHANNEL}:visitors`], index: exec.scenario.iterationInTest }, {
    ready: () => client.ping(() => client.close()),
    publication() {},
    failed: report,
    closed: (requested) => visits.add(requested ? 1 : 0),
  });
}

/** Scrapes the nodes fifty times in the run, and at least every minute. */
export function watch(run) {
  const pause = Math.min(60, plan.duration / 50_000);
  while (Date.now() < run.end) {
    nodes.look();
    sleep(pause);
  }
}

export function teardown(run) {
  nodes.compare(run.nodes);
}

export function handleSummary(data) {
  const sentence = `${PEOPLE} people, ${IDLE_VUS} idle clients and ${VISITORS} visitors a second for ${plan.duration / 1000} s`;
  return summary('soak.js', sentence, data);
}
