// Seeded runs, streams that end: workers publish them and a hundred viewers follow them on three nodes, while viewers reload and workers, nodes
// and Redis are killed; then an audit of what the viewers got.
//
//   SEEDS=200 node tests/runs_chaos/main.mjs
//
// SEED is the first seed (drawn at random), SEEDS their number (1), PARALLEL how many at a time (2), MILLISECONDS how long faults happen
// in each (3500), WITHOUT=7,63 leaves these entries of the plan out, VERBOSE=1 prints what each seed took. TIDEGATE selects another binary, CLIENT
// another build of the client. docs/operating/testing.md describes the findings. Exit code 0: no findings; 1: findings.

import { drawSeed } from '../browser/lib/random.mjs';
import { numberOf, numbersOf, runSeeds } from '../browser/lib/seeds.mjs';
import { KINDS } from './audit.mjs';
import { isFault } from './plan.mjs';

/** Milliseconds for one seed. */
const SEED_TIME_MAX = 300_000;

const [first, seeds, parallel] = [numberOf('SEED', drawSeed()), numberOf('SEEDS', 1), Math.max(1, numberOf('PARALLEL', 2))];
const options = { milliseconds: numberOf('MILLISECONDS', 3500), without: numbersOf('WITHOUT') };
console.log(`SEED=${first} SEEDS=${seeds} PARALLEL=${parallel}`);
const started = performance.now();
const { failed, figures, slowest } = await runSeeds({
  script: new URL('scenario.mjs', import.meta.url), first, seeds, parallel, options, timeMax: SEED_TIME_MAX, kinds: KINDS, isFault, target: 'runs-chaos',
});
const text = Object.entries(figures).map(([name, count]) => `${count} ${name}`).join(', ');
console.log(`${seeds} seeds in ${Math.round((performance.now() - started) / 1000)} s, ${failed.length} with findings: ${text}; `
  + `all had the end ${Math.round(slowest)} ms after the repair at the latest`);
if (failed.length > 1) for (const { plan, findings } of failed) console.log(`FAIL  SEED=${plan.seed}: ${[...new Set(findings.map((it) => it.kind))].join(', ')}`);
process.exit(failed.length || !figures.pieces || !figures.ends || !figures['faults put into journals'] ? 1 : 0);
