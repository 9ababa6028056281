// One seed, in a process of its own: reads the plan's arguments from the command line, sends the result to its parent.
//
//   node scenario.mjs '{"seed":1}'        prints the result if there is no parent

import fs from 'node:fs';
import { createClient, RESP_TYPES } from 'redis';
import { Scratch } from '../browser/lib/processes.mjs';
import { Random } from '../browser/lib/random.mjs';
import { sleep, until } from '../browser/lib/wait.mjs';
import { json } from '../runs_chaos/connectors/json.mjs';
import { plain } from '../runs_chaos/connectors/plain.mjs';
import { sse } from '../runs_chaos/connectors/sse.mjs';
import { Viewer } from '../runs_chaos/viewer.mjs';
import { audit } from './audit.mjs';
import { Hostile } from './hostile.mjs';
import { labelOf, Ledger } from './ledger.mjs';
import { CHANNELS, drawPlan, isFault, isKept, KEPT } from './plan.mjs';
import { JsonPublisher, PlainService, Service } from './publishers/keyed.mjs';
import { MqttPublisher, schemeOf } from './publishers/mqtt.mjs';
import { RepeatingPublisher } from './publishers/repeating.mjs';
import { StompPublisher } from './publishers/stomp.mjs';
import { MqttReader } from './readers/mqtt.mjs';
import { StompReader } from './readers/stomp.mjs';
import { sabotage } from './sabotage.mjs';
import { Stage } from './stage.mjs';

/** Milliseconds after the repair until each publication is settled, and until each reader gets what is published then. */
const SETTLED_TIME_MAX = 40_000;
const SERVED_TIME_MAX = 40_000;

/** Milliseconds between two publications that show which readers are served. */
const MARK_INTERVAL = 200;

/** Milliseconds for what the connection of a hostile client is ended in: one and a half times its keep-alive time, and some. */
const HOSTILE_TIME_MAX = 15_000;

const CONNECTORS = { json, sse: { ...sse, connect: (options) => sse.connect({ ...options, query: '?since=first' }) }, socket: plain };

const crashes = [];
process.on('uncaughtException', (error) => crashes.push(error.stack));
process.on('unhandledRejection', (error) => crashes.push(error?.stack ?? String(error)));

function createPublisher(plan, stage, context) {
  const port = stage.port(plan.name);
  const own = { ...context, port, url: `http://127.0.0.1:${port}`, redisPort: stage.redis.port, random: new Random(plan.seed) };
  switch (plan.kind) {
    case 'repeating': return new RepeatingPublisher(plan, own);
    case 'json': return new JsonPublisher(plan, { ...own, url: `ws://127.0.0.1:${port}` });
    case 'stomp': return new StompPublisher(plan, { ...own, url: `ws://127.0.0.1:${port}` });
    case 'service': return new Service(plan, own);
    case 'plain': return new PlainService(plan, own);
    default: return new MqttPublisher(plan, { ...own, url: mqttUrl(plan.kind, port) });
  }
}

const mqttUrl = (kind, port) => (schemeOf(kind) === 'ws' ? `ws://127.0.0.1:${port}/ws` : `mqtt://127.0.0.1:${port}`);

function createReader(plan, stage, { now }) {
  const port = stage.port(plan.name);
  const own = { now, random: new Random(plan.seed) };
  if (plan.kind === 'stomp') return new StompReader(plan, { ...own, url: `ws://127.0.0.1:${port}` });
  if (plan.kind.startsWith('mqtt')) return new MqttReader(plan, { ...own, url: mqttUrl(plan.kind, port) });
  return new Viewer(plan, { now, nodes: stage.nodes, connector: CONNECTORS[plan.kind], address: () => `http://127.0.0.1:${port}` });
}

async function run(plan, scratch) {
  const begun = performance.now();
  const now = () => performance.now() - begun;
  const stage = await Stage.start(scratch, plan);
  const startedIn = now();
  const ledger = new Ledger(now);
  const readers = plan.readers.map((it) => createReader(it, stage, { now }));
  const publishers = plan.publishers.map((it) => createPublisher(it, stage, { ledger, now }));
  const findings = [];
  const waits = {};
  const attempt = async (what, wait) => {
    const from = now();
    try { await wait(); } catch (error) { findings.push({ kind: 'Stuck', who: what, text: error.message }); }
    waits[what] = Math.round(now() - from);
  };

  const marker = new Marker(ledger, stage, plan.seed);
  for (const it of readers) it.start();
  await attempt('readers at first', () => serve(readers, marker, 0));
  for (const it of publishers) it.start();
  const hostile = await perform(plan, stage, readers, now);
  await stage.repair();
  const repairedAt = now();
  for (const it of publishers) it.stop();
  const unsettled = () => publishers.filter((it) => it.unsettled.length).map((it) => ({ who: it.name, text: it.unsettled.slice(0, 10).join(' ') }));
  await attempt('publications', () => until('all are settled', () => !unsettled().length, { timeout: SETTLED_TIME_MAX, found: unsettled }));
  findings.push(...unsettled().map((it) => ({ kind: 'Unsettled', ...it })));
  await attempt('readers', () => serve(readers, marker, now()));
  const settledIn = now() - repairedAt;
  marker.close();
  const surviving = () => hostile.filter((it) => it.mustEnd && !it.hasEnded).map(({ name }) => name);
  await attempt('hostile clients', () => until('their connections are ended', () => !surviving().length, { timeout: HOSTILE_TIME_MAX, found: surviving }));
  findings.push(...surviving().map((who) => ({ kind: 'Survived', who, text: who })));
  const rows = await readRows(stage.redis.url);
  for (const it of [...readers, ...publishers, ...hostile]) it.close?.();
  findings.push(...stage.nodes.flatMap((it) => it.panics()).map((text) => ({ kind: 'Crash', text })));
  await stage.end();

  const auditedAt = now();
  for (const it of readers) for (const entry of it.journal) if (entry.kind === 'text') entry.isPlain = ledger.find(entry.bytes)?.via === 'plain' || !entry.bytes.length;
  const lost = stage.lostAt === null ? null : { at: stage.lostAt, backAt: stage.backAt };
  const input = { publications: ledger.publications, rows, readers, lost, calm: plan.calm };
  findings.push(...audit(input), ...auditConnections(publishers, readers, plan.calm, repairedAt));
  const blind = sabotage(input, (changes) => audit({ ...input, ...changes }), new Random(plan.seed));
  findings.push(...blind.findings, ...crashes.map((text) => ({ kind: 'Crash', text })));
  const times = { started: startedIn, repaired: repairedAt, ...waits, settled: settledIn, audited: now() - auditedAt, all: now() };
  return { plan, findings, journals: journalsOf(ledger, [...publishers, ...readers, ...hostile], rows), figures: figuresOf(plan, ledger, readers, publishers, blind.done), times };
}

/** What the plan lists, at its times. Returns the hostile clients. */
async function perform(plan, stage, readers, now) {
  const byName = new Map(readers.map((it) => [it.name, it]));
  const begun = performance.now();
  const injected = [];
  const hostile = [];
  for (const entry of plan.entries) {
    const early = entry.at - (performance.now() - begun);
    if (early > 0) await sleep(early);
    if (isFault(entry)) injected.push(stage.inject(entry, now));
    else if (entry.what === 'reload') byName.get(entry.reader).reload('position', 0);
    else {
      const { url, mqttPort } = stage.nodes[entry.node];
      const client = new Hostile(entry, { random: new Random(entry.seed), now, url: url.replace('http', 'ws'), mqttPort });
      hostile.push(client);
      client.run().catch((error) => crashes.push(error.stack));
    }
  }
  await sleep(Math.max(0, plan.milliseconds - (performance.now() - begun)));
  await Promise.all(injected);
  return hostile;
}

/** Publishes marks on all channels. */
class Marker {
  constructor(ledger, stage, seed) {
    const random = new Random(seed);
    this.service = new Service({ name: 'marks', channels: CHANNELS }, { ledger, redisPort: stage.redis.port, random, now: ledger.now });
    this.plain = new PlainService({ name: 'marks-open', channels: CHANNELS }, { ledger, redisPort: stage.redis.port, random, now: ledger.now });
  }

  async mark() {
    for (const channel of CHANNELS) {
      const by = isKept(channel) ? this.service : this.plain;
      const publication = by.source.next(channel, { via: isKept(channel) ? 'keyed' : 'plain', qos: isKept(channel) ? 2 : 0 });
      publication.isMark = true;
      for (;;) {
        try { by.source.acknowledged(publication, 0, await by.attempt(publication)); break; } catch { await sleep(MARK_INTERVAL); }
      }
    }
  }

  close() { this.service.close(); this.plain.close(); }
}

/** Publishes marks until each reader has got one on each of its channels. */
async function serve(readers, marker, since) {
  const has = (reader, channel) => reader.journal.some((it) => it.kind === 'text' && it.channel === channel && it.at >= since && labelOf(it.bytes).id.startsWith('marks'));
  const lacking = () => readers.flatMap((reader) => reader.channels.filter((channel) => !has(reader, channel)).map((channel) => `${reader.name} ${channel}`));
  let isMarking = true;
  const marking = (async () => { while (isMarking) { await marker.mark(); await sleep(MARK_INTERVAL); } })();
  try {
    await until('each reader is served', () => !lacking().length, { timeout: SERVED_TIME_MAX, found: () => lacking().slice(0, 20) });
  } finally {
    isMarking = false;
    await marking;
  }
}

function auditConnections(publishers, readers, calm, repairedAt) {
  const findings = [];
  for (const { name, journal } of publishers) {
    for (const { kind, text, at } of journal) {
      if (kind === 'breach') findings.push({ kind: 'Breach', who: name, text, at });
      if (kind === 'refused' && at < repairedAt) findings.push({ kind: 'Breach', who: name, text: `a publication was refused: ${text}`, at });
    }
  }
  if (calm) {
    for (const { name, journal } of [...publishers, ...readers]) {
      const lost = journal.find(({ kind }) => kind === 'lost');
      if (lost) findings.push({ kind: 'Dropped', who: name, text: JSON.stringify(lost), at: lost.at });
    }
  }
  return findings;
}

/** The entries of each channel's stream. */
async function readRows(url) {
  const redis = await createClient({ url }).on('error', () => {}).connect();
  const bytes = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const rows = await Promise.all(KEPT.map(async (channel) => [channel, (await bytes.xRange(`tidegate:${channel}`, '-', '+')).map(({ id, message }) => ({
    position: String(id), header: String(message.h), bytes: Buffer.from(message.p),
  }))]));
  redis.destroy();
  return Object.fromEntries(rows);
}

function figuresOf(plan, ledger, readers, publishers, sabotaged) {
  const all = [...ledger.publications.values()];
  const acknowledged = (test) => all.filter((it) => it.acks.length && test(it)).length;
  const received = (test) => readers.filter(test).reduce((sum, { journal }) => sum + journal.filter(({ kind }) => kind === 'text').length, 0);
  const faults = plan.entries.filter(isFault).map(({ what }) => what);
  const of = (...names) => faults.filter((it) => names.includes(it)).length;
  const mqtt = (qos) => ({ via, qos: own, channel }) => via === 'mqtt' && own === qos && isKept(channel);
  return {
    publications: all.filter((it) => it.attempts.length).length,
    'acknowledged of QoS 1': acknowledged(mqtt(1)),
    'acknowledged of QoS 2': acknowledged(mqtt(2)),
    'acknowledged with keys': acknowledged(({ via }) => via === 'keyed'),
    'sent again': all.filter((it) => it.via === 'mqtt' && it.attempts.length > 1).length,
    'received by MQTT': received(({ kind }) => kind.startsWith('mqtt')),
    'received with QoS 1': readers.reduce((sum, { journal }) => sum + journal.filter(({ kind, qos }) => kind === 'text' && qos === 1).length, 0),
    'received by STOMP': received(({ kind }) => kind === 'stomp'),
    'received by json': received(({ kind }) => kind === 'json'),
    'received by others': received(({ kind }) => kind === 'sse' || kind === 'socket'),
    connections: [...readers, ...publishers].reduce((sum, it) => sum + it.connections, 0),
    "clients that mqtt's library gave up": [...readers, ...publishers].reduce((sum, { journal }) => sum + journal.filter(({ kind }) => kind === 'revived').length, 0),
    'faults put into journals': sabotaged,
    'seeds without faults': plan.calm ? 1 : 0,
    'hostile clients': plan.entries.filter(({ what }) => what === 'hostile').length,
    'nodes killed or restarted': of('killNode', 'restartNode'),
    'nodes paused': of('pauseNode'),
    'Redis killed or paused': of('killRedis', 'pauseRedis', 'pauseCommands', 'killSubscribers'),
    'connections cut or stalled': of('cut', 'move', 'stall', 'blackHole'),
  };
}

/** For people: payloads as text. */
function journalsOf(ledger, clients, rows) {
  const readable = ({ bytes, ...entry }) => (bytes ? { ...entry, text: bytes.toString().slice(0, 60) } : entry);
  const journals = Object.fromEntries(clients.map((it) => [it.name, it.journal.map(readable)]));
  journals.ledger = [...ledger.publications.values()].map(readable);
  for (const [channel, own] of Object.entries(rows)) journals[`redis ${channel}`] = own.map(readable);
  return journals;
}

const { seed, ...options } = JSON.parse(process.argv[2]);
const scratch = new Scratch('tidegate-mqtt-chaos-');
const plan = drawPlan(seed, options);
const result = await run(plan, scratch).catch((error) => ({ plan, journals: {}, findings: [{ kind: 'Crash', text: error.stack }] }));
if (result.findings.length) {
  scratch.keep();
  fs.writeFileSync(scratch.file('plan.json'), JSON.stringify(result.plan, null, 1));
  for (const [name, entries] of Object.entries(result.journals)) {
    fs.writeFileSync(scratch.file(`${name.replace(/[ :/]/g, '-')}.journal`), entries.map((it) => JSON.stringify(it)).join('\n'));
  }
  result.directory = scratch.path;
}
result.journals = Object.fromEntries(Object.entries(result.journals).filter(([name]) => result.findings.some(({ who }) => who === name)));
if (process.send) process.send(result, () => process.exit(0));
else { console.log(JSON.stringify({ ...result, journals: undefined, plan: undefined }, null, 1)); process.exit(result.findings.length ? 1 : 0); }
