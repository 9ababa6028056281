// One publisher, many subscribers, one channel: how long a publication takes to reach each of them, and
// whether each of them got every one, once, in order.
//
//   k6 run -e VUS=1000 -e RATE=10 -e DURATION=1m load-tests/fanout.js
import exec from 'k6/execution';
import { PUBLISHER, Plan, subscriber, publishByClock, thresholds } from './lib/run.js';
import { channelName, choice, number, wholeNumber } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';

const PROTOCOL = choice('PROTOCOL', 'plain', 'json');
const CHANNEL = channelName('CHANNEL', 'load-test');
const RATE = number('RATE', 20, 0.001); // publications a second
const SIZE = wholeNumber('SIZE', 128); // approximate bytes of payload
const plan = new Plan({ vus: 50, duration: '10s' });
const PUBLICATIONS = plan.count(RATE);

export const options = {
  scenarios: { subscribers: plan.scenario('subscribe'), publisher: plan.scenario('publish', 1) },
  thresholds: { ...thresholds, published: [`count==${PUBLICATIONS}`], complete: plan.nearlyAll() },
  summaryTrendStats,
};

export const setup = () => plan.begin();

export function subscribe(run) {
  const index = exec.scenario.iterationInTest;
  subscriber(run, { protocol: PROTOCOL, channels: [CHANNEL], index, publishers: [[PUBLISHER, PUBLICATIONS]] });
}

export function publish(run) {
  publishByClock(run, { channel: CHANNEL, count: PUBLICATIONS, size: SIZE }, PROTOCOL);
}

export function handleSummary(data) {
  const sentence = `${plan.vus} subscribers of one channel, ${PROTOCOL} protocol; ${PUBLICATIONS} publications in ${plan.duration / 1000} s`;
  return summary('fanout.js', sentence, data);
}
