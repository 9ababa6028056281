// Clients lose their connection, through a rolling restart of the nodes or because the script drops it. They reconnect
// after the node's `after_ms` or a random delay and resume from their last position: no loss, no duplicates.
// Needs a channel with history.
//
//   k6 run -e VUS=500 -e DURATION=2m load-tests/resume.js                     each client drops its connection once
//   k6 run -e DROPS=0 -e RESUMES=1 -e DURATION=5m load-tests/resume.js        and restart the nodes meanwhile
import { Counter, Trend } from 'k6/metrics';
import exec from 'k6/execution';
import { PUBLISHER, Plan, subscriber, publishByClock, report, thresholds } from './lib/run.js';
import { channelName, number, settings, wholeNumber } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';

const CHANNEL = channelName('CHANNEL', 'load-test:resume');
const RATE = number('RATE', 20, 0.001); // publications a second
const SIZE = wholeNumber('SIZE', 128); // approximate bytes of payload
const DROPS = wholeNumber('DROPS', 1, 0); // how often each client drops its connection by itself
const RESUMES = wholeNumber('RESUMES', DROPS, 0); // how often each must have resumed, on average
const plan = new Plan({ vus: 50, duration: '10s' });
const PUBLICATIONS = plan.count(RATE);

const lost = new Counter('connections_lost');
const resumed = new Counter('resumed');
const unrecovered = new Counter('not_recovered');
const away = new Trend('time_away', true);

export const options = {
  scenarios: { clients: plan.scenario('stay'), publisher: plan.scenario('publish', 1) },
  thresholds: {
    ...thresholds,
    published: [`count==${PUBLICATIONS}`],
    complete: [`count==${plan.vus}`],
    resumed: [`count>=${plan.vus * RESUMES}`],
    not_recovered: ['count==0'],
    time_away: [`max<${settings.awayMax}`],
  },
  summaryTrendStats,
};

export function setup() {
  for (const counter of [lost, resumed, unrecovered]) counter.add(0);
  return plan.begin();
}

export function stay(run) {
  const publishers = [[PUBLISHER, PUBLICATIONS]];
  const client = subscriber(run, { channels: [CHANNEL], index: exec.scenario.iterationInTest, stays: true, publishers }, {
    ready(resumption) {
      if (!resumption) return;
      resumed.add(1);
      away.add(resumption.away);
      if (resumption.recovered) return;
      unrecovered.add(1);
      report('reconnected with "recovered":false: the history is too short for the time of the disconnection, or was lost');
    },
    lost: () => lost.add(1),
    closed: () => drops.forEach(clearTimeout),
  });
  // Not in the last tenth of the run, so that every client has reconnected at the end.
  const moments = Array.from({ length: DROPS }, () => run.start + Math.random() * 0.9 * plan.duration);
  const drops = moments.map((moment) => setTimeout(() => client.drop(), moment - Date.now()));
}

export function publish(run) {
  publishByClock(run, { channel: CHANNEL, count: PUBLICATIONS, size: SIZE, stays: true });
}

export function handleSummary(data) {
  const sentence = `${plan.vus} clients that reconnect and resume; ${PUBLICATIONS} publications in ${plan.duration / 1000} s`;
  return summary('resume.js', sentence, data);
}
