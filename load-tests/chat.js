// People in chat rooms: each client joins one of the rooms `chat:1`, `chat:2`, …, publishes a message now and then, and
// expects to receive it itself, like all others in the room. Uses the json protocol.
//
//   k6 run -e VUS=500 -e DURATION=5m -e RATE=0.1 load-tests/chat.js
import { Trend } from 'k6/metrics';
import exec from 'k6/execution';
import { Plan, subscriber, metrics, thresholds } from './lib/run.js';
import { membersOf, messageTimes, roomOf, publishAt } from './lib/people.js';
import { channelName, number, settings, wholeNumber } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';

const CHANNEL = channelName('CHANNEL', 'chat'); // rooms are CHANNEL:1, CHANNEL:2, …
const RATE = number('RATE', 0.3, 0.001); // messages a second of one person
const ROOM_SIZE = wholeNumber('ROOM_SIZE', 10); // people in a room
const plan = new Plan({ vus: 50, duration: '10s' });
const MESSAGES = plan.count(RATE); // of one person

const echoLatency = new Trend('echo_latency', true);

export const options = {
  scenarios: { users: plan.scenario('chat') },
  thresholds: {
    ...thresholds,
    // A person alone in a room receives only their own messages.
    delivery_latency: ROOM_SIZE > 1 && plan.vus > 1 ? thresholds.delivery_latency : [],
    echo_latency: [`p(95)<${settings.p95}`, `p(99)<${settings.p99}`],
    published: [`count==${plan.vus * MESSAGES}`],
    complete: plan.nearlyAll(),
  },
  summaryTrendStats,
};

export const setup = () => plan.begin();

export function chat(run) {
  const me = exec.scenario.iterationInTest;
  const channel = `${CHANNEL}:${roomOf(me, ROOM_SIZE) + 1}`;
  const publishers = membersOf(me, ROOM_SIZE, plan.vus).map((user) => [user, MESSAGES]);
  let messages;

  const client = subscriber(run, { channels: [channel], index: me, publishers }, {
    latencyOf: ({ from }) => (from === me ? echoLatency : metrics.latency),
    ready() {
      messages = publishAt(client, { run, me, channel, moments: messageTimes(run, MESSAGES) });
    },
    closed: () => messages && messages.stop(),
  });
}

export function handleSummary(data) {
  const sentence = `${plan.vus} people in rooms of ${ROOM_SIZE}, who publishAt ${MESSAGES} things each in ${plan.duration / 1000} s`;
  return summary('chat.js', sentence, data);
}
