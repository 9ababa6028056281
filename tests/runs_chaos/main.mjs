// Seeded runs, streams that end: workers publish them and a hundred viewers follow them on three nodes, while viewers reload and workers, nodes
// and Redis are killed; then an audit of what the viewers got.
//
//   SEEDS=200 node tests/runs_chaos/main.mjs
//
// SEED is the first seed (drawn at random), SEEDS their number (1), PARALLEL how many at a time (2), MILLISECONDS how long faults happen
// in each (3500), WITHOUT=7,63 leaves these entries of the plan out, VERBOSE=1 prints what each seed took. TIDEGATE selects another binary, CLIENT
// another build of the client. docs/operating/testing.md describes the findings. Exit code 0: no findings; 1: findings.

import { fork } from 'node:child_process';
import { drawSeed } from '../browser/lib/random.mjs';
import { KINDS } from './audit.mjs';
import { isFault } from './plan.mjs';

/** Milliseconds for one seed. */
const SEED_TIME_MAX = 300_000;
/** Findings of one seed that are printed, and journal entries around each. */
const FINDINGS_SHOWN = 8;
const ENTRIES_SHOWN = 12;
const ENTRY_CHARS_MAX = 240;

const number = (name, otherwise) => {
  const text = process.env[name];
  if (!text) return otherwise;
  if (!/^\d+$/.test(text)) { console.error(`${name}=${text} is not a number`); process.exit(2); }
  return Number(text);
};

const first = number('SEED', drawSeed());
const seeds = number('SEEDS', 1);
const parallel = Math.max(1, number('PARALLEL', 2));
const options = { milliseconds: number('MILLISECONDS', 3500), without: (process.env.WITHOUT ?? '').split(/[, ]/).filter(Boolean).map(Number) };

/** One seed in a process of its own, so that an exception is a finding and not the end of the tests. */
function run(seed) {
  return new Promise((done) => {
    const child = fork(new URL('scenario.mjs', import.meta.url), [JSON.stringify({ seed, ...options })]);
    const failed = (kind, text) => ({ plan: { seed, entries: [] }, journals: {}, findings: [{ kind, text }] });
    let result = null;
    // SIGTERM, so that it ends its own processes.
    const timer = setTimeout(() => { result ??= failed('Stuck', `no result after ${SEED_TIME_MAX / 1000} s`); child.kill('SIGTERM'); }, SEED_TIME_MAX);
    child.on('message', (message) => { result = message; });
    child.on('exit', (code) => { clearTimeout(timer); done(result ?? failed('Crash', `the seed ended with ${code}`)); });
  });
}

function report({ plan, findings, journals, directory }) {
  const { seed } = plan;
  console.log(`FAIL  SEED=${seed}: ${findings.length} findings; journals in ${directory}`);
  for (const { kind, who = '', channel = '', at, text } of findings.slice(0, FINDINGS_SHOWN)) {
    console.log(`      ${kind} ${who} ${channel} ${at === undefined ? '' : `at ${Math.round(at)} ms`}: ${text}\n        (${KINDS[kind]})`);
    for (const entry of around(journals[who] ?? [], at, channel)) console.log(`        ${JSON.stringify(entry).slice(0, ENTRY_CHARS_MAX)}`);
  }
  const faults = plan.entries.filter(isFault).map(({ number: at, ...entry }) => `        ${at}: ${JSON.stringify(entry)}`);
  console.log(`      the faults of the plan, with ${plan.durable ? 'a durable' : 'an empty'} Redis after a kill:\n${faults.join('\n')}`);
  console.log(`      again: SEED=${seed} SEEDS=1 make runs-chaos`);
}

/** The viewer's entries of the channel around the time of the finding. */
function around(journal, at, channel) {
  if (at === undefined) return [];
  const own = journal.filter((it) => !it.channel || it.channel === channel);
  const index = own.findLastIndex((it) => it.at <= at);
  return own.slice(Math.max(0, index - ENTRIES_SHOWN + 3), index + 3);
}

console.log(`SEED=${first} SEEDS=${seeds} PARALLEL=${parallel}`);
const queue = Array.from({ length: seeds }, (_, index) => first + index);
const failed = [];
const all = {};
let slowest = 0;
const started = performance.now();
await Promise.all(Array.from({ length: parallel }, async () => {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const result = await run(next);
    for (const [name, count] of Object.entries(result.figures ?? {})) all[name] = (all[name] ?? 0) + count;
    slowest = Math.max(slowest, result.times?.settled ?? 0);
    if (process.env.VERBOSE) console.log(`SEED=${next} ${JSON.stringify(result.times)} ${JSON.stringify(result.figures)}`);
    if (result.findings.length) { failed.push(result); report(result); }
  }
}));

const figures = Object.entries(all).map(([name, count]) => `${count} ${name}`).join(', ');
console.log(`${seeds} seeds in ${Math.round((performance.now() - started) / 1000)} s, ${failed.length} with findings: ${figures}; `
  + `all had the end ${Math.round(slowest)} ms after the repair at the latest`);
if (failed.length > 1) for (const { plan, findings } of failed) console.log(`FAIL  SEED=${plan.seed}: ${[...new Set(findings.map((it) => it.kind))].join(', ')}`);
process.exit(failed.length || !all.pieces || !all.ends || !all['faults put into journals'] ? 1 : 0);
