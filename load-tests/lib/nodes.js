// Reads the metrics of the nodes' internal listeners, to check that a fleet releases memory and connections after a run.
// Does nothing if `METRICS` is empty.
import { sleep } from 'k6';
import http from 'k6/http';
import { Gauge, Trend } from 'k6/metrics';
import { addresses, number } from './settings.js';

const METRICS = addresses('METRICS', ['http:', 'https:'], ''); // the internal listeners
const MEMORY_KEPT_MAX = number('MEMORY_KEPT_MAX', 64); // MiB a node, on average
const MIB = 1_048_576;
/** How long a node may take to notice that the last session has ended. */
const GONE_WITHIN_MS = 60_000;

export const watched = METRICS.length > 0;

const memory = watched && new Trend('node_memory_mib');
const connections = watched && new Trend('node_connections');
const memoryKept = watched && new Gauge('node_memory_kept_mib');
const connectionsLeft = watched && new Gauge('connections_left');

export const thresholds = watched ? { node_memory_kept_mib: [`value<=${MEMORY_KEPT_MAX}`], connections_left: ['value==0'] } : {};

/** Memory and connections of each node now; null without `METRICS`. */
export function look() {
  if (!watched) return null;
  return METRICS.map((url) => {
    const response = http.get(`${url}/metrics`);
    if (response.status !== 200) throw new Error(`METRICS: ${url}/metrics was answered with ${response.status} ${response.error || ''}`);
    const node = { memory: sum(response.body, 'process_resident_memory_bytes') / MIB, connections: sum(response.body, 'tidegate_connections') };
    memory.add(node.memory);
    connections.add(node.connections);
    return node;
  });
}

/** Records the memory and connections that the nodes still hold after all sessions of the run have ended. */
export function compare(before) {
  if (!watched) return;
  const total = (all, what) => all.reduce((subtotal, node) => subtotal + node[what], 0);
  const deadline = Date.now() + GONE_WITHIN_MS;
  let after = look();
  while (total(after, 'connections') > total(before, 'connections') && Date.now() < deadline) {
    sleep(0.5);
    after = look();
  }
  connectionsLeft.add(Math.max(0, total(after, 'connections') - total(before, 'connections')));
  memoryKept.add((total(after, 'memory') - total(before, 'memory')) / METRICS.length);
}

/** The sum over all series of one metric. */
function sum(exposition, name) {
  const series = exposition.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return series.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0);
}
