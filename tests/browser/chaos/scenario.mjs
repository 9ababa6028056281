// One run, in a process of its own: reads the plan's arguments from the command line, sends the result to its parent.
//
//   node scenario.mjs '{"seed":1,"transport":"websocket"}'        prints the result if there is no parent

import fs from 'node:fs';
import { Scratch } from '../lib/processes.mjs';
import { sleep, until } from '../lib/wait.mjs';
import { audit } from './audit.mjs';
import { connector } from './clients.mjs';
import { Participant } from './participant.mjs';
import { BURST, CHANNELS, drawPlan, isLinkFault, isProcessFault } from './plan.mjs';
import { Service } from './service.mjs';
import { Stage } from './stage.mjs';

/**
 * Milliseconds after the repair until every participant must be served, and every publication settled. Requests over HTTP notice a black
 * hole later than a WebSocket, each connection for itself.
 */
const SERVED_TIME_MAX = { websocket: 150_000, sse: 240_000, poll: 240_000, changing: 240_000 };
/** Milliseconds for the first round of final publications, before another one is sent. Each further round has as much more: the machine may be busy. */
const ROUND_TIME = 3000;
/** Milliseconds between an answer to a poll and the next poll, for a client on a busy machine. */
const POLL_TIME = 300;
/** Milliseconds until all participants are connected at first. A proxy that holds streams back is noticed after a few seconds. */
const CONNECTED_TIME_MAX = 60_000;

const crashes = [];
process.on('uncaughtException', (error) => crashes.push(error.stack));
process.on('unhandledRejection', (error) => crashes.push(error?.stack ?? String(error)));

/** Pages get `online` from their window. Node has none, so it is a target of the same form. */
const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.removeEventListener = page.removeEventListener.bind(page);

async function run(plan, scratch) {
  const begun = performance.now();
  const now = () => performance.now() - begun;
  const stage = await Stage.start(scratch, plan);
  const channels = Object.keys(CHANNELS);
  const connect = await connector(plan.transport);
  const participants = plan.participants.map((it) => new Participant(it, channels, (options) => connect(stage.url(it.name), options), now));
  const [service, bursts] = ['service', 'bursts'].map((name) => new Service(name, stage.nodes, channels, now));
  const stuck = [];
  const attempt = async (what, wait) => { try { await wait(); } catch (error) { stuck.push({ what, text: error.message }); } };

  await attempt('connected', () => until('all are subscribed', () => participants.every((it) => it.isServed), {
    timeout: CONNECTED_TIME_MAX, found: () => participants.map((it) => it.state),
  }));
  for (const it of [...participants, service]) it.start();
  await injectAll(plan, stage, participants, bursts);
  participants.forEach((it) => it.stop());
  await Promise.all([service.stop(), bursts.stop()]);
  await stage.repair();
  const repairedAt = now();
  if (plan.online) page.dispatchEvent(new Event('online'));
  await attempt('settled', () => settle(participants, channels, SERVED_TIME_MAX[plan.transport]));
  const servedIn = Math.round(now() - repairedAt);
  participants.forEach((it) => it.client.close());
  const panics = stage.nodes.flatMap((it) => it.panics());
  await stage.end();

  const journals = Object.fromEntries([...participants, service, bursts].map((it) => [it.name, it.journal]));
  const redisFailed = plan.entries.some(({ what }) => what.endsWith('Redis'));
  const findings = audit({ channels: CHANNELS, journals, durable: plan.durable, redisFailed });
  for (const text of [...crashes, ...panics]) findings.push({ kind: 'Crash', text });
  for (const { what, text } of stuck) findings.push({ kind: 'Stuck', who: what, text });
  return { plan, findings, journals, servedIn, took: Math.round(now()) };
}

async function injectAll(plan, stage, participants, bursts) {
  const begun = performance.now();
  const injected = [];
  for (const entry of plan.entries) {
    await sleep(Math.max(0, entry.at - (performance.now() - begun)));
    const participant = participants.find(({ name }) => name === entry.participant);
    if (isProcessFault(entry) || isLinkFault(entry)) injected.push(stage.inject(entry));
    else if (entry.what === 'resubscribe') injected.push(participant.resubscribe(entry.channel, entry.milliseconds));
    else if (entry.what === 'join') participant.join(entry.channel, entry.options);
    else if (entry.what === 'burst') injected.push(bursts.burst(entry.channel, BURST));
  }
  await sleep(Math.max(0, plan.milliseconds - (performance.now() - begun)));
  await Promise.all(injected);
}

/** Waits until each participant is served again and has received a last publication of each on each channel. */
async function settle(participants, channels, timeout) {
  const deadline = performance.now() + timeout;
  for (let round = 1; ; round += 1) {
    await until('all are served again, with all publications settled', () => participants.every((it) => it.isServed && !it.unsettled), {
      timeout: deadline - performance.now(),
      found: () => participants.map((it) => it.state),
    });
    try {
      for (const last of lastPublications(participants, channels)) {
        for (const [publisher, channel] of last) publisher.publish(channel, round);
        const lacking = () => participants.flatMap((it) => [...it.active.values()].flatMap(({ sub, channel, finals }) => last
          .filter(([publisher, its]) => its === channel && finals.get(publisher.name) !== round)
          .map(([{ name }]) => `${it.name} lacks ${name}'s on ${channel} (${sub})`)));
        await until('the last publications are received', () => !lacking().length && participants.every(({ unsettled }) => !unsettled), {
          timeout: ROUND_TIME * round,
          found: () => [...lacking(), ...participants.map((it) => it.state)],
        });
        if (participants.some(({ client }) => client.transport === 'poll')) await sleep(POLL_TIME);
      }
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}

/**
 * Publishers and channels: lists of those that publish together. By poll, what is published on a channel without history between
 * two polls is lost, so there one publishes after the other.
 */
function lastPublications(participants, channels) {
  const isPolled = participants.some(({ client }) => client.transport === 'poll');
  const all = channels.flatMap((channel) => participants.map((it) => [it, channel]));
  const alone = all.filter(([, channel]) => isPolled && !CHANNELS[channel]);
  return [all.filter((it) => !alone.includes(it)), ...alone.map((it) => [it])];
}

const { seed, transport, ...options } = JSON.parse(process.argv[2]);
const scratch = new Scratch('tidegate-chaos-');
const plan = drawPlan(seed, transport, options);
const result = await run(plan, scratch).catch((error) => ({ plan, journals: {}, findings: [{ kind: 'Crash', text: error.stack }] }));
if (result.findings.length) {
  scratch.keep();
  fs.writeFileSync(scratch.file('plan.json'), JSON.stringify(result.plan, null, 1));
  for (const [name, entries] of Object.entries(result.journals)) {
    fs.writeFileSync(scratch.file(`${name}.journal`), entries.map((it) => JSON.stringify(it)).join('\n'));
  }
  result.directory = scratch.path;
}
if (process.send) process.send(result, () => process.exit(0));
else { console.log(JSON.stringify({ ...result, journals: undefined }, null, 1)); process.exit(result.findings.length ? 1 : 0); }
