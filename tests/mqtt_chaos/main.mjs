// Seeded chaos of devices: MQTT and STOMP clients publish and subscribe on two nodes beside json clients, streams and services, while nodes and
// Redis are killed and hostile clients send what no client should; then an audit of what each client got.
//
//   SEEDS=100 node tests/mqtt_chaos/main.mjs
//
// SEED is the first seed (drawn at random), SEEDS their number (1), PARALLEL how many at a time (2), MILLISECONDS how long faults happen
// in each (3500), WITHOUT=7,63 leaves these entries of the plan out, VERBOSE=1 prints what each seed took. TIDEGATE selects another binary.
// docs/operating/testing.md describes the findings. Exit code 0: no findings; 1: findings.

import { drawSeed } from '../browser/lib/random.mjs';
import { numberOf, numbersOf, runSeeds } from '../browser/lib/seeds.mjs';
import { KINDS } from './audit.mjs';
import { isFault } from './plan.mjs';

/** Milliseconds for one seed. */
const SEED_TIME_MAX = 240_000;

/** Figures that must not be zero: a test in which nothing of it happened proves nothing. */
const NEEDED = ['acknowledged of QoS 1', 'acknowledged of QoS 2', 'received by MQTT', 'received with QoS 1', 'received by STOMP', 'received by json', 'faults put into journals'];

const [first, seeds, parallel] = [numberOf('SEED', drawSeed()), numberOf('SEEDS', 1), Math.max(1, numberOf('PARALLEL', 2))];
const options = { milliseconds: numberOf('MILLISECONDS', 3500), without: numbersOf('WITHOUT') };
console.log(`SEED=${first} SEEDS=${seeds} PARALLEL=${parallel}`);
const started = performance.now();
const { failed, figures, slowest } = await runSeeds({
  script: new URL('scenario.mjs', import.meta.url), first, seeds, parallel, options, timeMax: SEED_TIME_MAX, kinds: KINDS, isFault, target: 'mqtt-chaos',
});
const missing = NEEDED.filter((name) => !figures[name]);
console.log(`${seeds} seeds in ${Math.round((performance.now() - started) / 1000)} s, ${failed.length} with findings: `
  + `${Object.entries(figures).map(([name, count]) => `${count} ${name}`).join(', ')}; all were served again ${Math.round(slowest)} ms after the repair at the latest`);
if (failed.length > 1) for (const { plan, findings } of failed) console.log(`FAIL  SEED=${plan.seed}: ${[...new Set(findings.map((it) => it.kind))].join(', ')}`);
if (missing.length && !failed.length) console.log(`FAIL  there were none of these: ${missing.join(', ')}`);
process.exit(failed.length || missing.length ? 1 : 0);
