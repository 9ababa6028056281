// Seeded runs of random faults between clients and two nodes on a real Redis; then an audit of the clients' journals.
//
//   SEEDS=200 node tests/browser/chaos/main.mjs [TRANSPORT…]
//
// SEED is the first seed (drawn at random), SEEDS their number (1), PARALLEL how many runs at a time (2), MILLISECONDS how long faults
// happen in each run (4000), WITHOUT=7,63 leaves these entries of the plan out, VERBOSE=1 prints what each run took. TIDEGATE selects another binary, CLIENT another build
// of the client. docs/operating/testing.md describes the findings. Exit code 0: no findings; 1: findings.

import { fork } from 'node:child_process';
import { drawSeed } from '../lib/random.mjs';
import { KINDS } from './audit.mjs';
import { TRANSPORTS } from './clients.mjs';

/** Milliseconds for one run. */
const RUN_TIME_MAX = 420_000;
/** Findings of one run that are printed, and journal entries around each. */
const FINDINGS_SHOWN = 8;
const ENTRIES_SHOWN = 12;

const number = (name, otherwise) => {
  const text = process.env[name];
  if (!text) return otherwise;
  if (!/^\d+$/.test(text)) { console.error(`${name}=${text} is not a number`); process.exit(2); }
  return Number(text);
};

const first = number('SEED', drawSeed());
const seeds = number('SEEDS', 1);
const parallel = Math.max(1, number('PARALLEL', 2));
const options = { milliseconds: number('MILLISECONDS', 4000), without: (process.env.WITHOUT ?? '').split(/[, ]/).filter(Boolean).map(Number) };
const transports = process.argv.length > 2 ? process.argv.slice(2) : (process.env.TRANSPORT ? [process.env.TRANSPORT] : TRANSPORTS);
for (const it of transports) {
  if (!TRANSPORTS.includes(it)) { console.error(`${it} is none of the transports: ${TRANSPORTS.join(', ')}`); process.exit(2); }
}

/** One run in a process of its own, so that an exception in a client is a finding and not the end of the tests. */
function run(seed, transport) {
  return new Promise((done) => {
    const child = fork(new URL('scenario.mjs', import.meta.url), [JSON.stringify({ seed, transport, ...options })]);
    let result = null;
    // SIGTERM, so that it ends its own processes.
    const timer = setTimeout(() => { result ??= failed('Stuck', `no result after ${RUN_TIME_MAX / 1000} s`); child.kill('SIGTERM'); }, RUN_TIME_MAX);
    const failed = (kind, text) => ({ plan: { seed, transport, entries: [] }, journals: {}, findings: [{ kind, text }] });
    child.on('message', (message) => { result = message; });
    child.on('exit', (code) => { clearTimeout(timer); done(result ?? failed('Crash', `the run ended with ${code}`)); });
  });
}

const all = { runs: 0, failed: [], published: 0, acknowledged: 0, rejected: {}, received: 0, gaps: 0, connections: 0, servedIn: 0 };

function count({ journals, servedIn = 0 }) {
  all.runs += 1;
  all.servedIn = Math.max(all.servedIn, servedIn);
  for (const entry of Object.values(journals).flat()) {
    if (entry.kind === 'publish') all.published += 1;
    if (entry.kind === 'acknowledged') all.acknowledged += 1;
    if (entry.kind === 'rejected') all.rejected[entry.code] = (all.rejected[entry.code] ?? 0) + 1;
    if (entry.kind === 'publication') all.received += 1;
    if (entry.kind === 'gap') all.gaps += 1;
    if (entry.kind === 'state' && entry.state === 'open') all.connections += 1;
  }
}

function report({ plan, findings, journals, directory }) {
  const { seed, transport } = plan;
  console.log(`FAIL  ${transport} SEED=${seed}: ${findings.length} findings; journals in ${directory}`);
  for (const { kind, who = '', channel = '', sub, at, text } of findings.slice(0, FINDINGS_SHOWN)) {
    console.log(`      ${kind} ${who} ${channel} ${sub ? `subscription ${sub} ` : ''}${at === undefined ? '' : `at ${at} ms`}: ${text}\n        (${KINDS[kind]})`);
    for (const entry of around(journals[who] ?? [], at, sub, channel)) console.log(`        ${JSON.stringify(entry)}`);
  }
  const faults = plan.entries.map(({ number: at, ...entry }) => `        ${at}: ${JSON.stringify(entry)}`);
  console.log(`      the plan, with ${plan.durable ? 'a durable' : 'an empty'} Redis after a kill:\n${faults.join('\n')}`);
  console.log(`      again: SEED=${seed} SEEDS=1 TRANSPORT=${transport} make client-chaos`);
}

/** The entries of the finding's subscription or channel, and of the connection's state, around its time. */
function around(journal, at, sub, channel) {
  if (at === undefined) return [];
  const own = journal.filter((it) => it.kind === 'state' || (sub ? it.sub === sub : it.channel === channel));
  const index = own.findIndex((it) => it.at >= at);
  return own.slice(Math.max(0, index - ENTRIES_SHOWN / 2), index + ENTRIES_SHOWN / 2);
}

console.log(`SEED=${first} SEEDS=${seeds} PARALLEL=${parallel}, ${transports.join(', ')}`);
const queue = transports.flatMap((transport) => Array.from({ length: seeds }, (_, index) => ({ seed: first + index, transport })));
const started = performance.now();
await Promise.all(Array.from({ length: parallel }, async () => {
  for (let next = queue.shift(); next; next = queue.shift()) {
    const result = await run(next.seed, next.transport);
    count(result);
    if (process.env.VERBOSE) console.log(`${result.plan.transport} SEED=${result.plan.seed} took ${result.took} ms, served again after ${result.servedIn} ms`);
    if (result.findings.length) { all.failed.push(result); report(result); }
  }
}));

const rejected = Object.entries(all.rejected).map(([code, times]) => `${times} ${code}`).join(', ');
console.log(`${all.runs} runs in ${Math.round((performance.now() - started) / 1000)} s, ${all.failed.length} with findings: ${all.connections} connections, `
  + `${all.published} publications, ${all.acknowledged} acknowledged, rejected: ${rejected || 'none'}; ${all.received} received, ${all.gaps} gaps; `
  + `served again within ${all.servedIn} ms`);
if (all.failed.length > 1) for (const { plan, findings } of all.failed) console.log(`FAIL  ${plan.transport} SEED=${plan.seed}: ${[...new Set(findings.map((it) => it.kind))].join(', ')}`);
process.exit(all.failed.length || !all.acknowledged || !all.received ? 1 : 0);
