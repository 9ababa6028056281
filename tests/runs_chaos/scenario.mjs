// One seed, in a process of its own: reads the plan's arguments from the command line, sends the result to its parent.
//
//   node scenario.mjs '{"seed":1}'        prints the result if there is no parent

import { setMaxListeners } from 'node:events';
import fs from 'node:fs';
import { createClient, RESP_TYPES } from 'redis';
import { Scratch } from '../browser/lib/processes.mjs';
import { Random } from '../browser/lib/random.mjs';
import { sleep, until } from '../browser/lib/wait.mjs';
import { audit, isCut } from './audit.mjs';
import { CONNECTORS } from './connectors/all.mjs';
import { drawPlan, isFault, isMerged, isWhole } from './plan.mjs';
import { sabotage } from './sabotage.mjs';
import { Stage } from './stage.mjs';
import { stop } from './stopper.mjs';
import { Viewer } from './viewer.mjs';
import { Worker } from './worker.mjs';

/** Milliseconds after the repair until all workers are done, until Redis has the end of each run, and until each viewer has it. */
const WORKERS_TIME_MAX = 70_000;
const END_TIME_MAX = 20_000;
const VIEWERS_TIME_MAX = 60_000;

const crashes = [];
process.on('uncaughtException', (error) => crashes.push(error.stack));
process.on('unhandledRejection', (error) => crashes.push(error?.stack ?? String(error)));

/** Pages get `online` from their window. Node has none, so it is a target of the same form. */
const page = new EventTarget();
setMaxListeners(0, page);
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.removeEventListener = page.removeEventListener.bind(page);

async function run(plan, scratch) {
  const begun = performance.now();
  const now = () => performance.now() - begun;
  const stage = await Stage.start(scratch, plan);
  const startedIn = now();
  const { nodes } = stage;
  const viewers = plan.viewers.map((it) => new Viewer(it, { nodes, now, connector: CONNECTORS[it.kind], address: (node) => stage.address(node, it) }));
  const workers = plan.runs.map((it) => new Worker(it, { nodes, redisPort: stage.redis.port, lease: plan.lease, now }));
  const stuck = [];
  const waits = {};
  const attempt = async (what, wait) => {
    const from = now();
    try { await wait(); } catch (error) { stuck.push({ kind: 'Stuck', who: what, text: error.message }); }
    waits[what] = Math.round(now() - from);
  };

  const working = Promise.all(workers.map((worker, at) => work(worker, plan.runs[at], nodes)));
  await perform(plan, stage, viewers, now);
  const before = now();
  await stage.repair();
  waits.repair = Math.round(now() - before);
  page.dispatchEvent(new Event('online'));
  const repairedAt = now();
  await attempt('workers', () => inTime(working, WORKERS_TIME_MAX, () => workers.map((it) => ({ channel: it.channel, ended: it.ended, publications: it.publications.length, lastError: it.lastError }))));
  for (const it of workers) if (!it.ended && !it.killedAt) it.kill();

  const redis = await createClient({ url: stage.redis.url }).on('error', () => {}).connect();
  let rows = await readRuns(redis, plan);
  const isOver = () => rows.every((it) => !it.length || JSON.parse(it.at(-1).header).ended !== undefined);
  await attempt('runs', () => until('each run has an end', async () => { rows = await readRuns(redis, plan); return isOver(); }, {
    timeout: END_TIME_MAX, found: () => plan.runs.filter((_, at) => JSON.parse(rows[at].at(-1)?.header ?? '{"ended":1}').ended === undefined).map(({ channel }) => channel),
  }));
  for (const it of viewers) if (!it.isStarted) it.start();
  const lacking = () => lackingEnds(viewers, workers, plan.runs, rows, stage.lostAt);
  await attempt('viewers', () => until('each viewer has the end', () => !lacking().length, { timeout: VIEWERS_TIME_MAX, found: () => lacking().slice(0, 20) }));
  const settledIn = now() - repairedAt;
  // What comes after the end comes now.
  await sleep(100);
  rows = await readRuns(redis, plan);
  for (const it of viewers) it.close();
  const panics = nodes.flatMap((it) => it.panics());
  redis.destroy();
  await stage.end();

  const auditedAt = now();
  const runs = plan.runs.map(({ channel, fate }, at) => ({ channel, fate, worker: workers[at], rows: rows[at], isMerged: isMerged(channel), isWhole: isWhole(channel) }));
  const context = { lease: plan.lease, lostAt: stage.lostAt };
  const findings = audit({ runs, viewers, ...context });
  const audits = (viewer) => audit({ runs: runs.filter(({ channel }) => viewer.channels.includes(channel)), viewers: [viewer], ...context });
  const blind = sabotage(viewers, audits, new Random(plan.seed));
  findings.push(...blind.findings, ...stuck, ...[...crashes, ...panics].map((text) => ({ kind: 'Crash', text })));
  const times = { started: startedIn, repaired: repairedAt, ...waits, settled: settledIn, audited: now() - auditedAt, all: now() };
  return { plan, findings, journals: journalsOf(viewers, workers, rows), figures: figuresOf(plan, viewers, workers, { sabotaged: blind.done }), times };
}

/** The worker of a run, and the viewer that stops it. */
async function work(worker, { startsAt, fate, share, lasts, stopBy, channel }, nodes) {
  await sleep(startsAt);
  const working = worker.run();
  if (fate === 'stopped') {
    const random = worker.random.fork();
    sleep(share * lasts).then(() => stop(stopBy, channel, nodes, random, () => worker.isStopped || worker.ended));
  }
  await working;
}

/** What the plan lists, at its times. */
async function perform(plan, stage, viewers, now) {
  const byName = new Map(viewers.map((it) => [it.name, it]));
  const starts = plan.viewers.filter(({ startsAt }) => startsAt !== undefined).map(({ name, startsAt }) => ({ at: startsAt, what: 'start', viewer: name }));
  const entries = [...starts, ...plan.entries].sort((one, other) => one.at - other.at);
  const begun = performance.now();
  const injected = [];
  for (const entry of entries) {
    const early = entry.at - (performance.now() - begun);
    if (early > 0) await sleep(early);
    const viewer = byName.get(entry.viewer);
    if (isFault(entry)) injected.push(stage.inject(entry, now));
    else if (entry.what === 'start') viewer.start();
    else if (entry.what === 'reload') viewer.reload(entry.from, entry.milliseconds);
    else if (entry.what === 'slow') viewer.slow(entry.milliseconds);
  }
  await sleep(Math.max(0, plan.milliseconds - (performance.now() - begun)));
  await Promise.all(injected);
}

async function inTime(promise, milliseconds, found) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not after ${milliseconds / 1000} s: ${JSON.stringify(found())}`)), milliseconds); });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The entries of each run's stream. */
function readRuns(redis, { runs }) {
  const bytes = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  return Promise.all(runs.map(async ({ channel }) => (await bytes.xRange(`tidegate:${channel}`, '-', '+')).map(({ id, message }) => ({
    position: String(id), header: String(message.h), bytes: Buffer.from(message.p),
  }))));
}

/** Viewers that have neither the end of a run that has one, nor were told that it is lost. */
function lackingEnds(viewers, workers, runs, rows, lostAt) {
  return viewers.flatMap((viewer) => viewer.channels.filter((channel) => {
    if (viewer.hasEnded(channel)) return false;
    const entries = viewer.sinceLoaded(channel);
    if (isCut(entries) && !isWhole(channel)) return false;
    const at = runs.findIndex((it) => it.channel === channel);
    // A worker that was killed before its first publication has begun no run.
    if (!rows[at].length && lostAt === null && !workers[at].publications.some(({ positions }) => positions.length)) return false;
    if (rows[at].length || lostAt === null) return true;
    const had = entries.some((it) => it.kind === 'text' && it.at < lostAt);
    return had && !entries.some((it) => it.at >= lostAt && (it.kind === 'gap' || it.recovered === false));
  }).map((channel) => `${viewer.name} ${channel}`));
}

function figuresOf(plan, viewers, workers, { sabotaged }) {
  const entries = viewers.flatMap((it) => it.journal);
  const count = (kind) => entries.filter((it) => it.kind === kind).length;
  const faults = plan.entries.filter(isFault).map(({ what }) => what);
  const of = (...names) => faults.filter((it) => names.includes(it)).length;
  return {
    viewers: viewers.length,
    reloads: viewers.reduce((sum, it) => sum + it.reloads, 0),
    connections: viewers.reduce((sum, it) => sum + it.connections, 0),
    publications: workers.reduce((sum, it) => sum + it.publications.filter(({ positions }) => positions.length).length, 0),
    retries: workers.reduce((sum, it) => sum + it.retries, 0),
    pieces: count('text'),
    ends: count('ended'),
    gaps: count('gap'),
    'faults put into journals': sabotaged,
    'workers killed': workers.filter((it) => it.killedAt).length,
    'runs stopped': workers.filter((it) => it.ended?.reason === 'stopped').length,
    'nodes killed or restarted': of('killNode', 'restartNode'),
    'nodes paused': of('pauseNode'),
    'Redis killed or paused': of('killRedis', 'pauseRedis'),
    'connections cut or stalled': of('cutViewers', 'stallViewers', 'cutRedis', 'stallRedis'),
  };
}

/** For people: pieces as text. */
function journalsOf(viewers, workers, rows) {
  const readable = ({ bytes, ...entry }) => (bytes ? { ...entry, text: bytes.toString() } : entry);
  const journals = Object.fromEntries(viewers.map((it) => [it.name, it.journal.map(readable)]));
  for (const [at, { channel, publications, ended, asked, killedAt, retries, lastError }] of workers.entries()) {
    journals[`worker ${channel}`] = [...publications.map(readable), { ended, asked: [...asked], killedAt, retries, lastError }];
    journals[`redis ${channel}`] = rows[at].map(readable);
  }
  return journals;
}

const { seed, ...options } = JSON.parse(process.argv[2]);
const scratch = new Scratch('tidegate-runs-chaos-');
const plan = drawPlan(seed, options);
const result = await run(plan, scratch).catch((error) => ({ plan, journals: {}, findings: [{ kind: 'Crash', text: error.stack }] }));
if (result.findings.length) {
  scratch.keep();
  fs.writeFileSync(scratch.file('plan.json'), JSON.stringify(result.plan, null, 1));
  for (const [name, entries] of Object.entries(result.journals)) {
    fs.writeFileSync(scratch.file(`${name.replace(/[ :]/g, '-')}.journal`), entries.map((it) => JSON.stringify(it)).join('\n'));
  }
  result.directory = scratch.path;
}
result.journals = Object.fromEntries(Object.entries(result.journals).filter(([name]) => result.findings.some(({ who, channel }) => who === name || name === `worker ${channel}`)));
if (process.send) process.send(result, () => process.exit(0));
else { console.log(JSON.stringify({ ...result, journals: undefined, plan: undefined }, null, 1)); process.exit(result.findings.length ? 1 : 0); }
