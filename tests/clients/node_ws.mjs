// Node's `ws` client against two nodes of one fleet.
//
//   node node_ws.mjs --node-a http://127.0.0.1:8080 --node-b http://127.0.0.1:8081 [--redis-port 6379]
//
// Prints a line for each check; exits with 1 at the first failure. With --redis-port, the nodes' broker is that Redis
// (prefix `tidegate:`), and plain PUBLISH by other services is checked as well.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';

const TIMEOUT = 20_000; // milliseconds, for each check
const UNICODE = 'Ebbe und Flut 🌊 – 潮の満ち引き \u0000 e\u0301';
const NOT_UTF8 = Buffer.from([0x00, 0xff, 0xfe, 0x80, 0x20]);
const KIB_60_TEXT = '0123456789abcdef'.repeat(60 * 64);
const KIB_60_BINARY = Buffer.alloc(60 * 1024, Buffer.from(Uint8Array.from({ length: 256 }, (_, byte) => byte)));

const { values: options } = parseArgs({
  options: { 'node-a': { type: 'string' }, 'node-b': { type: 'string' }, 'redis-port': { type: 'string' } },
});
if (!options['node-a'] || !options['node-b']) {
  console.error('usage: node node_ws.mjs --node-a URL --node-b URL [--redis-port PORT]');
  process.exit(1);
}
const [nodeA, nodeB] = [options['node-a'], options['node-b']].map((url) => url.replace(/^http/, 'ws').replace(/\/$/, ''));

/** A function for each connection of the running check, which closes it. */
const openConnections = [];

/** The error, with the place, of the running check's last wait, for a timeout. */
let waiting = new Error('did not reach its first wait');

/** A queue: `next` waits for a value, and fails after `end`. */
class Arrivals {
  #waiting = [];
  #arrived = [];
  #end = null;

  push(value) {
    const reader = this.#waiting.shift();
    if (reader) reader.resolve(value);
    else this.#arrived.push(value);
  }

  end(reason) {
    this.#end = reason;
    for (const reader of this.#waiting) reader.reject(new Error(reason));
  }

  async next() {
    if (this.#arrived.length) return this.#arrived.shift();
    if (this.#end) throw new Error(this.#end);
    waiting = new Error(`timeout: ${TIMEOUT / 1000} s for the whole check`);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  get empty() {
    return this.#arrived.length === 0;
  }
}

/** A connection of the plain protocol: `next()` returns text as a string, binary as a Buffer. */
class Plain {
  static async open(url, protocols, wsOptions) {
    const connection = new this(new WebSocket(url, protocols, wsOptions));
    await connection.opened;
    return connection;
  }

  constructor(socket) {
    this.socket = socket;
    this.frames = new Arrivals();
    openConnections.push(() => socket.terminate());
    this.opened = new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
    this.closed = new Promise((resolve) => socket.on('close', resolve));
    this.closed.then((code) => this.frames.end(`closed with ${code}`));
    socket.on('message', (data, binary) => this.receive(binary ? data : data.toString()));
  }

  receive(frame) {
    this.frames.push(frame);
  }

  send(frame) {
    this.socket.send(frame);
  }

  next() {
    return this.frames.next();
  }
}

/** A session of the json protocol: answers and publications have separate queues, because they may overtake each other. */
class Json extends Plain {
  answers = new Arrivals();
  publications = new Arrivals();
  asked = 0;

  static async open(node, ...channels) {
    const session = await super.open(`${node}/ws`);
    session.welcome = await session.answers.next();
    assert.equal(session.welcome.type, 'welcome');
    for (const channel of channels) await session.ask('subscribed', { type: 'subscribe', channel });
    return session;
  }

  constructor(socket) {
    super(socket);
    this.closed.then((code) => {
      this.answers.end(`closed with ${code}`);
      this.publications.end(`closed with ${code}`);
    });
  }

  receive(frame) {
    assert.equal(typeof frame, 'string', 'a binary frame on the json protocol');
    const message = JSON.parse(frame);
    (message.type === 'publication' ? this.publications : this.answers).push(message);
  }

  /** Sends a command and returns its answer, which carries its id. */
  async ask(type, command) {
    const id = ++this.asked;
    this.send(JSON.stringify({ id, ...command }));
    const answer = await this.answers.next();
    assert.deepEqual([answer.type, answer.id], [type, id], `the answer to ${short(command)}: ${short(answer)}`);
    return answer;
  }

  /** Returns after everything that the node sent before to this session has arrived. */
  alive() {
    return this.ask('pong', { type: 'ping' });
  }

  /** The channel and payload of the next publication. */
  async payload() {
    const { type, user, position, time, ...rest } = await this.publications.next();
    return rest;
  }
}

/** The part of Redis' protocol that PUBLISH needs: commands are lists of strings, answers are one line each. */
class Redis {
  static connect(port) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(port, '127.0.0.1', () => resolve(new Redis(socket)));
      socket.on('error', reject);
    });
  }

  constructor(socket) {
    this.socket = socket;
    openConnections.push(() => socket.destroy());
  }

  ask(...words) {
    const chunks = words.flatMap((word) => [`$${Buffer.byteLength(word)}\r\n`, word, '\r\n'].map((part) => Buffer.from(part)));
    const answer = new Promise((resolve) => this.socket.once('data', (data) => resolve(data.toString().trimEnd())));
    this.socket.write(Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...chunks]));
    return answer;
  }
}

const plain = (node, channel, query = '') => Plain.open(`${node}/ws/${encodeURIComponent(channel)}${query}`);
const json = (node, ...channels) => Json.open(node, ...channels);
const newChannel = () => `clients:${randomUUID()}`;

function short(value) {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length <= 200 ? text : `${text.slice(0, 120)}… (${text.length} long)`;
}

async function thereAndBack(...payloads) {
  const channel = newChannel();
  const [a, b] = [await plain(nodeA, channel), await plain(nodeB, channel)];
  for (const payload of payloads) {
    for (const publisher of [a, b]) {
      publisher.send(payload);
      assert.deepEqual(await a.next(), payload, `${short(payload)} at A`);
      assert.deepEqual(await b.next(), payload, `${short(payload)} at B`);
    }
  }
}

// The plain protocol

await check('plain: text is delivered from A to B, from B to A, and to its sender', () => thereAndBack('hello', '{"json":"is text too"}', UNICODE));
await check('plain: binary stays binary', () => thereAndBack(NOT_UTF8, Buffer.from('hello')));
await check('plain: an empty payload, text and binary', () => thereAndBack('', Buffer.alloc(0)));
await check('plain: 60 KB, text and binary', () => thereAndBack(KIB_60_TEXT, KIB_60_BINARY));

await check('plain: a message sent in fragments arrives as one', async () => {
  const channel = newChannel();
  const [a, b] = [await plain(nodeA, channel), await plain(nodeB, channel)];
  a.socket.send('ebb ', { fin: false });
  a.socket.ping();
  a.socket.send('and ', { fin: false });
  a.socket.send('flow', { fin: true });
  assert.equal(await b.next(), 'ebb and flow');
});

await check('plain: 1,000 messages at once arrive in order', async () => {
  const channel = newChannel();
  const [a, b] = [await plain(nodeA, channel), await plain(nodeB, channel)];
  const sent = Array.from({ length: 1000 }, (_, number) => String(number));
  sent.forEach((text) => a.send(text));
  for (const subscriber of [a, b]) {
    for (const text of sent) assert.equal(await subscriber.next(), text);
  }
});

await check("plain: ?echo=false leaves out the connection's own, and only those", async () => {
  const channel = newChannel();
  const [silent, other] = [await plain(nodeA, channel, '?echo=false'), await plain(nodeB, channel)];
  silent.send('its own');
  assert.equal(await other.next(), 'its own');
  other.send('not its own');
  assert.equal(await silent.next(), 'not its own', 'the first it got');
});

// The json protocol

await check('json: welcome names session, node and ping interval', async () => {
  const [a, b] = [await json(nodeA), await json(nodeB)];
  for (const { welcome } of [a, b]) {
    assert.ok(welcome.session && welcome.node && welcome.ping_interval_ms > 0, `something is missing in ${short(welcome)}`);
  }
  assert.notEqual(a.welcome.node, b.welcome.node, 'A and B have the same name');
});

await check('json: data, text and base64 arrive on the other node', async () => {
  const channel = newChannel();
  const [a, b] = [await json(nodeA), await json(nodeB, channel)];
  for (const payload of [
    { data: { any: ['json', 1.5, null, { 'ключ': UNICODE }] } },
    { data: null },
    { data: KIB_60_TEXT },
    { text: 'not json' },
    { text: '' },
    { base64: NOT_UTF8.toString('base64') },
  ]) {
    await a.ask('published', { type: 'publish', channel, ...payload });
    assert.deepEqual(await b.payload(), { channel, ...payload });
  }
});

await check('json and plain clients receive each other\'s messages', async () => {
  const channel = newChannel();
  const [a, b] = [await json(nodeA, channel), await plain(nodeB, channel)];
  for (const [frame, payload] of [
    ['{"a":1}', { data: { a: 1 } }],
    ['{broken', { text: '{broken' }],
    [NOT_UTF8, { base64: NOT_UTF8.toString('base64') }],
  ]) {
    b.send(frame);
    assert.deepEqual(await a.payload(), { channel, ...payload });
    assert.deepEqual(await b.next(), frame);
    await a.ask('published', { type: 'publish', channel, ...payload });
    assert.deepEqual(await b.next(), frame, `the frame of ${short(payload)}`);
    assert.deepEqual(await a.payload(), { channel, ...payload });
  }
});

await check('json: a publisher that subscribed with echo: false does not get its own', async () => {
  const channel = newChannel();
  const [a, witness] = [await json(nodeA), await plain(nodeA, channel)];
  await a.ask('subscribed', { type: 'subscribe', channel, echo: false });
  await a.ask('published', { type: 'publish', channel, data: 'own' });
  assert.equal(await witness.next(), '"own"');
  await a.alive();
  assert.ok(a.publications.empty, 'it received its own publication');
});

await check('json: many channels in one subscribe get one answer each', async () => {
  const channels = [newChannel(), newChannel(), newChannel()];
  const [a, b] = [await json(nodeA), await json(nodeB)];
  a.send(JSON.stringify({ type: 'subscribe', id: 1, channels: Object.fromEntries(channels.map((channel) => [channel, null])) }));
  const answered = new Set();
  for (const _ of channels) {
    const { type, id, channel } = await a.answers.next();
    assert.deepEqual([type, id], ['subscribed', 1]);
    answered.add(channel);
  }
  assert.deepEqual(answered, new Set(channels));
  for (const channel of channels) {
    await b.ask('published', { type: 'publish', channel, data: 1 });
    assert.deepEqual(await a.payload(), { channel, data: 1 });
  }
});

await check('json: unsubscribe stops that channel and no other', async () => {
  const [left, kept] = [newChannel(), newChannel()];
  const [a, witness, b] = [await json(nodeA, left, kept), await plain(nodeA, left), await json(nodeB)];
  await a.ask('unsubscribed', { type: 'unsubscribe', channel: left });
  await b.ask('published', { type: 'publish', channel: left, data: 'left' });
  assert.equal(await witness.next(), '"left"');
  await a.alive();
  assert.ok(a.publications.empty, 'a publication of the channel it left arrived');
  await b.ask('published', { type: 'publish', channel: kept, data: 'kept' });
  assert.deepEqual(await a.payload(), { channel: kept, data: 'kept' });
});

await check('json: bad commands are answered with bad_request, and the session continues', async () => {
  const a = await json(nodeA);
  for (const command of [{ type: 'nonsense' }, {}, { type: 'subscribe' }, { type: 'subscribe', channel: 'white space' }, { type: 'publish', channel: 'x' }]) {
    const { code, message, temporary } = await a.ask('error', command);
    assert.deepEqual([code, temporary], ['bad_request', false], short(command));
    assert.ok(message, 'an error without a message');
  }
  await a.alive();
});

await check('json: a frame that is not a JSON object in text closes with 1003', async () => {
  for (const frame of ['hello', '[]', '', Buffer.from('{"type":"ping"}')]) {
    const a = await json(nodeA);
    a.send(frame);
    assert.equal(await a.closed, 1003, `the close code after ${short(frame)}`);
  }
});

// Both protocols

await check("the library's ping is answered, with its payload", async () => {
  for (const { socket } of [await plain(nodeA, newChannel()), await json(nodeB)]) {
    for (const payload of ['', 'low water', 'x'.repeat(125)]) {
      const pong = new Promise((resolve) => socket.once('pong', resolve));
      socket.ping(payload);
      assert.equal((await pong).toString(), payload);
    }
  }
});

await check('closing is echoed with its code, or without one', async () => {
  const NO_CODE = 1005; // what an API reports for an empty close frame, RFC 6455 section 7.1.5
  for (const code of [1000, 1001, 3000, 4321, undefined]) {
    for (const connection of [await plain(nodeA, newChannel()), await json(nodeB)]) {
      connection.socket.close(code, code && 'the tide turns');
      assert.equal(await connection.closed, code ?? NO_CODE);
    }
  }
});

await check('an upgrade that offers compression works, compressed or not', async () => {
  const channel = newChannel();
  const a = await Plain.open(`${nodeA}/ws/${channel}`, [], { perMessageDeflate: true });
  a.send(KIB_60_TEXT);
  assert.equal(await a.next(), KIB_60_TEXT);
});

// Other services, through Redis

if (options['redis-port']) {
  await check('redis: a plain PUBLISH reaches plain and json on every node, as it is', async () => {
    const channel = newChannel();
    const service = await Redis.connect(Number(options['redis-port']));
    const plains = [await plain(nodeA, channel), await plain(nodeB, channel)];
    const jsons = [await json(nodeA, channel), await json(nodeB, channel)];
    for (const [frame, payload] of [
      ['hello', { text: 'hello' }],
      [UNICODE, { text: UNICODE }],
      ['{"a": 1}', { data: { a: 1 } }],
      [NOT_UTF8, { base64: NOT_UTF8.toString('base64') }],
      ['', { text: '' }],
      [KIB_60_TEXT, { text: KIB_60_TEXT }],
      [KIB_60_BINARY, { base64: KIB_60_BINARY.toString('base64') }],
    ]) {
      assert.equal(await service.ask('PUBLISH', `tidegate:${channel}`, frame), ':2', 'the nodes that received it');
      for (const subscriber of plains) assert.deepEqual(await subscriber.next(), frame);
      for (const subscriber of jsons) assert.deepEqual(await subscriber.payload(), { channel, ...payload });
    }
  });
}

process.exit(0);

/** Runs one check and closes its connections; the first failure ends the program. */
async function check(what, run) {
  let timer;
  const tooLate = new Promise((_, reject) => {
    timer = setTimeout(() => reject(waiting), TIMEOUT);
  });
  try {
    await Promise.race([run(), tooLate]);
    console.log(`ok    ${what}`);
  } catch (error) {
    const lines = error.stack.split('\n').filter((line) => line.includes('node_ws.mjs'));
    console.log(`FAIL  ${what}\n      ${short(error.message)}\n${lines.slice(0, 3).join('\n')}`);
    process.exit(1);
  } finally {
    clearTimeout(timer);
    openConnections.splice(0).forEach((end) => end());
  }
}
