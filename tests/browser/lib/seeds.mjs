// Runs of seeded tests: each seed in a process of its own, several at a time, with a report of what was found.

import { fork } from 'node:child_process';

/** Findings of one seed that are printed, journal entries around each, and characters of an entry. */
const FINDINGS_SHOWN = 8;
const ENTRIES_SHOWN = 12;
const ENTRY_CHARS_MAX = 240;

/** A whole number of the environment. */
export function numberOf(name, otherwise) {
  const text = process.env[name];
  if (!text) return otherwise;
  if (!/^\d+$/.test(text)) { console.error(`${name}=${text} is not a number`); process.exit(2); }
  return Number(text);
}

/** Numbers of the environment, such as `WITHOUT=7,63`. */
export const numbersOf = (name) => (process.env[name] ?? '').split(/[, ]/).filter(Boolean).map(Number);

/** One seed in a process of its own, so that an exception is a finding and not the end of the tests. */
function run(script, timeMax, options) {
  return new Promise((done) => {
    const child = fork(script, [JSON.stringify(options)]);
    const failed = (kind, text) => ({ plan: { seed: options.seed, entries: [] }, journals: {}, findings: [{ kind, text }] });
    let result = null;
    // SIGTERM, so that it ends its own processes.
    const timer = setTimeout(() => { result ??= failed('Stuck', `no result after ${timeMax / 1000} s`); child.kill('SIGTERM'); }, timeMax);
    child.on('message', (message) => { result = message; });
    child.on('exit', (code) => { clearTimeout(timer); done(result ?? failed('Crash', `the seed ended with ${code}`)); });
  });
}

/** The entries of the finding's channel around its time. */
function around(journal, at, channel) {
  if (at === undefined) return [];
  const own = journal.filter((it) => !it.channel || it.channel === channel);
  const index = own.findLastIndex((it) => it.at <= at);
  return own.slice(Math.max(0, index - ENTRIES_SHOWN + 3), index + 3);
}

function report({ plan, findings, journals, directory }, { kinds, isFault, target }) {
  const { seed } = plan;
  console.log(`FAIL  SEED=${seed}: ${findings.length} findings; journals in ${directory}`);
  // The first of each kind and client.
  const firsts = findings.filter(({ kind, who }, index) => findings.findIndex((it) => it.kind === kind && it.who === who) === index);
  for (const { kind, who = '', channel = '', at, text } of firsts.slice(0, FINDINGS_SHOWN)) {
    console.log(`      ${kind} ${who} ${channel} ${at === undefined ? '' : `at ${Math.round(at)} ms`}: ${text}\n        (${kinds[kind]})`);
    for (const entry of around(journals[who] ?? [], at, channel)) console.log(`        ${JSON.stringify(entry).slice(0, ENTRY_CHARS_MAX)}`);
  }
  const faults = plan.entries.filter(isFault).map(({ number, ...entry }) => `        ${number}: ${JSON.stringify(entry)}`);
  console.log(`      the faults of the plan, with ${plan.durable ? 'a durable' : 'an empty'} Redis after a kill:\n${faults.join('\n')}`);
  console.log(`      again: SEED=${seed} SEEDS=1 make ${target}`);
}

/**
 * Runs `seeds` seeds from `first`. `script` sends `{ plan, findings, journals, figures, times, directory }` to its parent. Returns the sums of all
 * figures and the results with findings.
 */
export async function runSeeds({ script, first, seeds, parallel, timeMax, options, ...reported }) {
  const queue = Array.from({ length: seeds }, (_, index) => first + index);
  const failed = [];
  const figures = {};
  let slowest = 0;
  await Promise.all(Array.from({ length: parallel }, async () => {
    for (let seed = queue.shift(); seed !== undefined; seed = queue.shift()) {
      const result = await run(script, timeMax, { seed, ...options });
      for (const [name, count] of Object.entries(result.figures ?? {})) figures[name] = (figures[name] ?? 0) + count;
      slowest = Math.max(slowest, result.times?.settled ?? 0);
      if (process.env.VERBOSE) console.log(`SEED=${seed} ${JSON.stringify(result.times)} ${JSON.stringify(result.figures)}`);
      if (result.findings.length) { failed.push(result); report(result, reported); }
    }
  }));
  return { failed, figures, slowest };
}
