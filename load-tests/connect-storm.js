// All clients connect at once, as after an outage. Measures the time until each is subscribed and how many attempts were
// refused, and checks that every connected client stays and receives the publication at the end.
//
//   k6 run -e VUS=5000 -e RATE=500 -e DURATION=1m load-tests/connect-storm.js
import { Counter, Trend } from 'k6/metrics';
import exec from 'k6/execution';
import { PUBLISHER, Plan, subscriber, publishByClock, report, thresholds } from './lib/run.js';
import { channelName, duration, number, settings } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';

const CHANNEL = channelName('CHANNEL', 'load-test:storm');
const RATE = number('RATE', 0); // new connections a second; 0: all at once
const READY_P95 = duration('READY_P95', '2s'); // until 95% must be subscribed
const plan = new Plan({ vus: 200, duration: '5s' });
// The whole duration is for connecting: the publication is sent at its end.
plan.warmup = plan.duration + (RATE > 0 ? (plan.vus / RATE) * 1000 : 0);

const timeToReady = new Trend('time_to_subscribed', true);
const refused = new Counter('turned_away');

export const options = {
  scenarios: { clients: plan.scenario('join'), publisher: plan.scenario('publish', 1) },
  thresholds: {
    ...thresholds,
    published: ['count==1'],
    complete: [`count==${plan.vus}`],
    time_to_subscribed: [`p(95)<${READY_P95}`],
  },
  summaryTrendStats,
};

export function setup() {
  refused.add(0);
  const run = plan.begin();
  return { ...run, end: run.start, opened: Date.now() };
}

export function join(run) {
  const index = exec.scenario.iterationInTest;
  const turn = RATE > 0 ? run.opened + (index / RATE) * 1000 : run.opened;
  setTimeout(() => {
    const from = Date.now();
    let wasReady = false;
    // A refused client (429, 503) retries, as real clients do; a connected client must stay connected.
    subscriber(run, { channels: [CHANNEL], index, stays: true, publishers: [[PUBLISHER, 1]] }, {
      ready(resumption) {
        wasReady = true;
        if (!resumption) timeToReady.add(Date.now() - from);
      },
      lost: (reason) => (wasReady ? report(`disconnected: ${reason}`) : refused.add(1)),
    });
  }, Math.max(0, turn - Date.now()));
}

export function publish(run) {
  publishByClock(run, { channel: CHANNEL, count: 1, size: 128 });
}

export function handleSummary(data) {
  const sentence = `${plan.vus} clients connect ${RATE > 0 ? `at ${RATE} a second` : 'at once'} and stay for ${plan.duration / 1000} s`;
  return summary('connect-storm.js', sentence, data);
}
