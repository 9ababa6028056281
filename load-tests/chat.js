// People in rooms: everyone joins one of the rooms `chat:1`, `chat:2`, …, says something now and then, and
// waits to see it appear, on their own screen and on everybody else's. Speaks the json protocol.
//
//   k6 run -e VUS=500 -e DURATION=5m -e RATE=0.1 load-tests/chat.js
import { Trend } from 'k6/metrics';
import exec from 'k6/execution';
import { Plan, listen, metrics, thresholds } from './lib/run.js';
import { membersOf, momentsToSpeak, roomOf, say } from './lib/people.js';
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
    // Alone in a room, one hears oneself only.
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
  let speech;

  const client = listen(run, { channels: [channel], index: me, publishers }, {
    latencyOf: ({ from }) => (from === me ? echoLatency : metrics.latency),
    ready() {
      speech = say(client, { run, me, channel, moments: momentsToSpeak(run, MESSAGES) });
    },
    closed: () => speech && speech.stop(),
  });
}

export function handleSummary(data) {
  const sentence = `${plan.vus} people in rooms of ${ROOM_SIZE}, who say ${MESSAGES} things each in ${plan.duration / 1000} s`;
  return summary('chat.js', sentence, data);
}
