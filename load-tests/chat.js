// People in rooms: everyone joins one of the rooms `chat:1`, `chat:2`, …, says something now and then, and
// waits to see it appear, on their own screen and on everybody else's. Speaks the json protocol.
//
//   k6 run -e VUS=500 -e DURATION=5m -e RATE=0.1 load-tests/chat.js
import { Counter, Trend } from 'k6/metrics';
import exec from 'k6/execution';
import { Ledger, metrics, thresholds, durationMax, number, open, schedule, settings } from './lib/tidegate.js';

const CHANNEL = __ENV.CHANNEL || 'chat'; // rooms are CHANNEL:1, CHANNEL:2, …
const RATE = number('RATE', 0.3); // messages a second of one person
const ROOM_SIZE = number('ROOM_SIZE', 10); // people in a room
const { vus: VUS, duration, grace, p95, p99 } = settings;
const { latency, received, published, missing, duplicates, disordered, errors } = metrics;
const MESSAGES = Math.max(1, Math.round((RATE * duration) / 1000));

const echoLatency = new Trend('echo_latency', true);
const complete = new Counter('users_complete');

export const options = {
  scenarios: {
    users: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: durationMax(), exec: 'chat' },
  },
  thresholds: {
    echo_latency: [`p(95)<${p95}`, `p(99)<${p99}`],
    ...thresholds,
    published: [`count==${VUS * MESSAGES}`],
    // Loss is judged only where a user was there all the time: so nearly all must have been.
    users_complete: [`count>=${Math.ceil(VUS * 0.99)}`],
  },
  summaryTrendStats: ['min', 'avg', 'med', 'p(95)', 'p(99)', 'max'],
};

export const setup = schedule;

export function chat(run) {
  const me = exec.scenario.iterationInTest;
  const room = Math.floor(me / ROOM_SIZE);
  const ledgers = new Map(membersOf(room).map((user) => [user, new Ledger(MESSAGES)]));
  const moments = momentsToSpeak(run);
  let readyAt = Infinity;
  let said = 0;

  const session = open({ protocol: 'json', channel: `${CHANNEL}:${room + 1}`, index: me }, {
    ready() {
      readyAt = Date.now();
      waitToSpeak();
    },
    publication({ run: id, user, seq, sent }) {
      if (id !== run.id) return;
      received.add(1);
      (user === me ? echoLatency : latency).add(Date.now() - sent);
      const ledger = ledgers.get(user);
      if (ledger) ledger.record(seq);
      else report(`heard user ${user} of another room`);
    },
    failed: report,
    closed(asked) {
      clearTimeout(deadline);
      clearInterval(watch);
      clearTimeout(speaking);
      const thereAllTheTime = asked && readyAt <= run.start;
      complete.add(thereAllTheTime ? 1 : 0);
      missing.add(thereAllTheTime ? sum('missing') : 0);
      duplicates.add(sum('duplicates'));
      disordered.add(sum('disordered'));
    },
  });

  let speaking;
  function waitToSpeak() {
    if (said < MESSAGES) speaking = setTimeout(speak, Math.max(0, moments[said] - Date.now()));
  }

  function speak() {
    session.publish({ run: run.id, user: me, seq: said, sent: Date.now(), text: SAYINGS[said % SAYINGS.length] });
    published.add(1);
    said += 1;
    waitToSpeak();
  }

  const sum = (what) => [...ledgers.values()].reduce((total, ledger) => total + ledger[what], 0);

  const deadline = setTimeout(() => session.close(), run.end + grace - Date.now());
  // Duplicates come after the original: a user that has everything stays for another look.
  let satisfied = false;
  const watch = setInterval(() => {
    if (satisfied) session.close();
    satisfied = sum('missing') === 0;
  }, 500);
}

function report(reason) {
  errors.add(1);
  console.error(reason);
}

/** The last room may be smaller. */
function membersOf(room) {
  const first = room * ROOM_SIZE;
  return Array.from({ length: Math.min(ROOM_SIZE, VUS - first) }, (_, index) => first + index);
}

/**
 * At random all over the run, as people do, but always the same number of them: so everyone knows how many
 * messages to expect, and the last one lost is noticed like any other.
 */
function momentsToSpeak(run) {
  return Array.from({ length: MESSAGES }, () => run.start + Math.random() * duration).sort((a, b) => a - b);
}

const SAYINGS = [
  'hello',
  'Has anyone seen the tide table for tomorrow?',
  'Low water is at 06:12. 🌊',
  'Grüße aus dem Watt, bis später!',
  'I will be there, but not before the ferry: it is late again, they say, because of the fog out at the sands.',
];
