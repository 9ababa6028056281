// The webhooks of docs/PUSHER.md as they are written but for addresses: its settings on two nodes, its program, and a backend that checks
// each webhook with Pusher's libraries for Node and Python.
//
//   (cd tests/pusher && npm ci), and tests/setup.sh for Python's libraries
//   node tests/pusher/webhooks.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import Server from 'pusher';
import Pusher from 'pusher-js';
import { Checks } from '../browser/lib/checks.mjs';
import { Node, Redis, Scratch } from '../browser/lib/processes.mjs';
import { until } from '../browser/lib/wait.mjs';
import { PYTHON, output } from '../browser/lib/python.mjs';

/** Code lines of the program, at most: it is to be read on the page. */
const LINES_MAX = 28;

const page = fs.readFileSync(new URL('../../docs/PUSHER.md', import.meta.url), 'utf8');
const [, section] = page.match(/^## Webhooks\n(.*?)^## /ms);
const block = (language) => section.match(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms'))[1];
const settings = block('toml'), program = block('python');
const lines = program.split('\n').filter((line) => line.trim());
assert.ok(lines.length <= LINES_MAX, `the program has ${lines.length} lines, more than ${LINES_MAX}`);
const [id, key, secret] = ['id', 'key', 'secret'].map((name) => settings.match(new RegExp(`^${name} *= "(.*)"`, 'm'))[1]);
const application = new Server({ appId: id, key, secret });

/** The text with its address replaced, which must be there. */
function replace(text, from, to) {
  assert.ok(text.includes(from), `the page has no ${from}`);
  return text.replaceAll(from, to);
}

/** The backend: it refuses the first request, and keeps the others. */
const hooks = { refused: [], accepted: [] };
const backend = http.createServer(async (request, response) => {
  let rawBody = '';
  for await (const part of request) rawBody += part;
  const [kept, status] = hooks.refused.length ? [hooks.accepted, 204] : [hooks.refused, 503];
  kept.push({ headers: request.headers, rawBody });
  response.writeHead(status).end();
});
await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));

const scratch = new Scratch('tidegate-webhooks-');
const redis = await Redis.start(scratch);
fs.writeFileSync(scratch.file('tidegate.toml'), settings);
const start = (name) => Node.start(scratch, { name, redis, config: scratch.file('tidegate.toml'), settings: { 'presence.grace': '0s' } });
const nodes = await Promise.all(['a', 'b'].map(start));
const written = replace(program, 'http://127.0.0.1:8000/', `http://127.0.0.1:${backend.address().port}/`);
fs.writeFileSync(scratch.file('webhooks.py'), replace(written, 'redis.Redis(', `redis.Redis(port=${redis.port}, `));

const children = [];
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
function startProgram() {
  const child = spawn(PYTHON, [scratch.file('webhooks.py')], { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  child.errors = '';
  child.stderr.on('data', (bytes) => { child.errors += bytes; });
  child.ended = new Promise((ended) => child.on('exit', ended));
  return child;
}

const webhook = (request) => application.webhook(request);
const told = () => hooks.accepted.flatMap((request) => webhook(request).getEvents());

async function connect(node, user) {
  const client = new Pusher(key, {
    cluster: '', wsHost: '127.0.0.1', wsPort: node.port, forceTLS: false, enabledTransports: ['ws'], disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => done(null, application.authorizeChannel(socketId, channelName,
        channelName.startsWith('presence-') ? { user_id: user } : undefined)),
    },
  });
  await until('the client is connected', () => client.connection.state === 'connected');
  return client;
}

async function subscribe(client, name) {
  const channel = client.subscribe(name);
  await until(`${name} is subscribed`, () => channel.subscribed);
  return channel;
}

const ROOM = 'presence-room';
let checked = 0;
/** Waits until the backend is told these of the room, in any order, after all before. */
async function untilTold(...events) {
  const found = () => told().filter(({ channel }) => channel === ROOM).slice(checked);
  const child = children.at(-1);
  await until(`the backend is told ${events.map(({ name }) => name)}`, () => found().length >= events.length,
    { found: async () => [found(), child.exitCode, child.errors.slice(-500)] });
  const sorted = (events) => events.map((event) => JSON.stringify(Object.entries(event).sort())).sort();
  assert.deepEqual(sorted(found().slice(0, events.length)), sorted(events.map((event) => ({ ...event, channel: ROOM }))));
  checked += events.length;
}

const checks = {
  async 'the program ends when the backend refuses, and sends the same after it is started again'() {
    const first = startProgram();
    const news = await connect(nodes[0], 'news');
    await subscribe(news, 'news');
    assert.notEqual(await first.ended, 0);
    startProgram();
    await until('the backend gets a webhook', () => hooks.accepted.length);
    assert.deepEqual(told()[0], { name: 'channel_occupied', channel: 'news' });
    assert.deepEqual(webhook(hooks.refused[0]).getEvents()[0], told()[0]);
    news.disconnect();
    await until('the backend is told of the end', () => told().some(({ name, channel }) => name === 'channel_vacated' && channel === 'news'));
  },

  async 'channels, members and events of clients on two nodes are told in order'() {
    const [ada, bo] = [await connect(nodes[0], 'ada'), await connect(nodes[1], 'bo')];
    const room = await subscribe(ada, ROOM);
    await untilTold({ name: 'channel_occupied' }, { name: 'member_added', user_id: 'ada' });
    await subscribe(bo, ROOM);
    await untilTold({ name: 'member_added', user_id: 'bo' });
    room.trigger('client-typed', { at: 3 });
    await untilTold({ name: 'client_event', user_id: 'ada', event: 'client-typed', data: '{"at": 3}', socket_id: ada.connection.socket_id });
    // What a service publishes is no event of a client.
    await nodes[0].publish(ROOM, '{"event":"client-forged","data":1}');
    bo.disconnect();
    await untilTold({ name: 'member_removed', user_id: 'bo' });
    ada.unsubscribe(ROOM);
    await untilTold({ name: 'member_removed', user_id: 'ada' }, { name: 'channel_vacated' });
    // Of another channel, so that anything more of the room has come before.
    await subscribe(ada, 'news');
    await until('the backend is told of the other channel', () => told().filter(({ channel }) => channel === 'news').length === 3);
    await untilTold();
    assert.equal(told().filter(({ channel }) => channel === ROOM).length, checked);
    ada.disconnect();
  },

  async 'the libraries accept the signatures, and no others'() {
    const forger = new Server({ appId: id, key, secret: 'another secret' });
    for (const request of [...hooks.refused, ...hooks.accepted]) {
      assert.ok(webhook(request).isValid());
      assert.ok(Math.abs(webhook(request).getTime() - Date.now()) < 600_000);
      assert.ok(!forger.webhook(request).isValid());
    }
    const { headers, rawBody } = hooks.accepted.at(-1);
    const given = [id, key, secret, headers['x-pusher-key'], headers['x-pusher-signature'], rawBody];
    const check = 'import sys, json, pusher; a = sys.argv[1:]; print(json.dumps(pusher.Pusher(*a[:3]).validate_webhook(*a[3:])))';
    assert.deepEqual(JSON.parse(await output(PYTHON, ['-c', check, ...given])), JSON.parse(rawBody));
    assert.equal((await output(PYTHON, ['-c', check, ...given.with(5, `${rawBody} `)])).trim(), 'null');
    if (process.env.KEEP_WEBHOOK) fs.writeFileSync(process.env.KEEP_WEBHOOK, JSON.stringify(given));
  },
};

console.log('-- webhooks, two nodes');
const ran = new Checks();
for (const [what, check] of Object.entries(checks)) {
  await ran.check(what, check);
  if (ran.failed) break;
}
if (!ran.failed) for (const node of nodes) assert.deepEqual(node.panics(), []);
process.exit(ran.failed ? 1 : 0);
