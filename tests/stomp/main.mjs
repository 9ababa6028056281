// STOMP's own clients for JavaScript and Python, and Spring's, against real nodes: with the memory broker, and with two nodes on Redis behind a
// balancer, of which one is killed.
//
//   (cd tests/stomp && npm ci), and tests/setup.sh for Python's library
//   node tests/stomp/main.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client, Versions } from '@stomp/stompjs';
import WebSocket from 'ws';
import { balance } from '../browser/lib/balancer.mjs';
import { checkLibraries } from '../browser/lib/library_checks.mjs';
import { blocks, evaluate } from '../browser/lib/page_blocks.mjs';
import { PYTHON } from '../browser/lib/python.mjs';
import { until } from '../browser/lib/wait.mjs';

// stompjs uses that of the browser, which Node 20 has not.
globalThis.WebSocket ??= WebSocket;

const SETTINGS = {
  rules: '[{ pattern = "h:**", history = { size = 1000, age = "10m" } }, { pattern = "**" }]',
  'session.ping_interval': '1s', 'drain.delay': '0s', 'drain.period': '1s',
};

/** Java's libraries, which tests/setup.sh installs where Java and Maven are. */
const SPRING = process.env.SPRING || fileURLToPath(new URL('../../target/test-tools/spring', import.meta.url));

let number = 0;
const name = (kind) => `${kind}-${++number}`;

const clients = [];

/** A client of stompjs that is connected to the port, and what it was told. */
async function connect(port, options = {}) {
  const client = new Client({ brokerURL: `ws://127.0.0.1:${port}/ws`, reconnectDelay: 100, heartbeatIncoming: 0, heartbeatOutgoing: 0, ...options });
  clients.push(client);
  Object.assign(client, { connects: 0, errors: [], receipts: [], closes: [] });
  const connected = client.onConnect;
  client.onConnect = (frame) => { client.connects += 1; client.connectedFrame = frame; connected(frame); };
  client.onStompError = (frame) => client.errors.push(frame);
  client.onUnhandledReceipt = (frame) => client.receipts.push(frame);
  client.onWebSocketClose = (event) => client.closes.push(event.code);
  client.activate();
  await until('the client is connected', () => client.connected);
  return client;
}

/** Waits for the receipt of what `send` sends. */
async function receipt(client, send) {
  const id = name('receipt');
  let received;
  client.watchForReceipt(id, (frame) => { received = frame; });
  send({ receipt: id });
  return until(`the ${id}`, () => received);
}

/** A subscription that is confirmed, and its messages. */
async function subscribe(client, destination, headers = {}) {
  let subscription;
  const messages = [];
  const confirmed = await receipt(client, (asked) => {
    subscription = client.subscribe(destination, (message) => messages.push(message), { ...headers, ...asked });
  });
  return { ...subscription, messages, confirmed };
}

const next = (subscription) => until('a message', () => subscription.messages.shift());

const publish = (client, destination, body, headers = {}) =>
  receipt(client, (asked) => client.publish({ destination, body, headers: { ...headers, ...asked } }));

const versions = { '1.0': Versions.V1_0, '1.1': Versions.V1_1, '1.2': Versions.V1_2 };

const checks = {
  async 'stompjs of each version publishes and subscribes, and text stays text'([a, b]) {
    for (const [version, it] of Object.entries(versions)) {
      const channel = name('news');
      const reader = await connect(b.port, { stompVersions: new Versions([it]) });
      assert.equal(reader.connectedVersion, version);
      // stompjs neither escapes nor unescapes in version 1.1.
      const id = version === '1.1' ? 'my-id' : 'my:id';
      const subscription = await subscribe(reader, `/topic/${channel}`, { id });
      const writer = await connect(a.port, { stompVersions: new Versions([it]) });
      await publish(writer, `/topic/${channel}`, 'é: 🌊\n\\');
      const message = await next(subscription);
      assert.deepEqual([message.body, message.headers.destination, message.headers.subscription], ['é: 🌊\n\\', `/topic/${channel}`, id]);
      await b.publish(channel, '{"n":1}');
      assert.equal((await next(subscription)).body, '{"n":1}');
      subscription.unsubscribe();
    }
  },

  async 'stompjs sends and gets binary bodies, and large ones in parts'([a, b]) {
    const channel = name('bytes');
    const subscription = await subscribe(await connect(b.port), channel);
    const writer = await connect(a.port, { splitLargeFrames: true, maxWebSocketChunkSize: 16 * 1024 });
    writer.publish({ destination: channel, binaryBody: new Uint8Array([0xff, 0, 10, 0]) });
    const message = await next(subscription);
    assert.deepEqual([...message.binaryBody], [0xff, 0, 10, 0]);
    const large = 'é🌊'.repeat(9_000);
    await publish(writer, channel, large);
    assert.equal((await next(subscription)).body, large);
  },

  async 'stompjs gets a message for each of its subscriptions to one channel'([a, b]) {
    const channel = name('news');
    const reader = await connect(b.port);
    const [one, two] = [await subscribe(reader, `/topic/${channel}`), await subscribe(reader, `/topic/${channel}`)];
    await a.publish(channel, '1');
    for (const subscription of [one, two]) assert.equal((await next(subscription)).body, '1');
    one.unsubscribe();
    await a.publish(channel, '2');
    assert.equal((await next(two)).body, '2');
    assert.deepEqual([one.messages, two.messages], [[], []]);
  },

  async 'stompjs commits and aborts transactions'([a, b]) {
    const channel = name('h:orders');
    const subscription = await subscribe(await connect(b.port), channel);
    const writer = await connect(a.port);
    const aborted = writer.begin();
    writer.publish({ destination: channel, body: 'aborted', headers: { transaction: aborted.id } });
    aborted.abort();
    const committed = writer.begin();
    for (const body of ['1', '2']) writer.publish({ destination: channel, body, headers: { transaction: committed.id } });
    await publish(writer, channel, 'outside');
    committed.commit();
    for (const body of ['outside', '1', '2']) assert.equal((await next(subscription)).body, body);
  },

  async 'stompjs acknowledges, and gets all messages however many'([a, b]) {
    const versionsAndModes = [['1.2', 'client'], ['1.2', 'client-individual'], ['1.1', 'client'], ['1.0', 'client']];
    for (const [version, mode] of versionsAndModes) {
      const channel = name('h:work');
      const reader = await connect(b.port, { stompVersions: new Versions([versions[version]]) });
      const subscription = await subscribe(reader, channel, { ack: mode });
      const writer = await connect(a.port);
      for (let at = 0; at < 600; at += 1) writer.publish({ destination: channel, body: String(at) });
      for (let at = 0; at < 600; at += 1) {
        const message = await next(subscription);
        assert.equal(message.body, String(at), `${version} ${mode}`);
        if (mode === 'client-individual' && at % 10 === 0) message.nack();
        else message.ack();
      }
    }
  },

  async 'stompjs resumes from a message id, and is told of a gap without an error'([a, b]) {
    const channel = name('h:log');
    const writer = await connect(a.port);
    const first = await publish(writer, channel, '1');
    for (const body of ['2', '3']) await publish(writer, channel, body);
    const reader = await connect(b.port);
    const resumed = await subscribe(reader, channel, { since: first.headers.position });
    assert.equal(resumed.confirmed.headers.recovered, 'true');
    for (const body of ['2', '3']) assert.equal((await next(resumed)).body, body);
    const lost = await subscribe(reader, name('h:other'), { since: '1-5' });
    assert.equal(lost.confirmed.headers.recovered, 'false');
    await until('the gap is told', () => reader.receipts.some((it) => it.headers['receipt-id'] === 'tidegate-gap'));
    assert.deepEqual([lost.messages, reader.errors, reader.connected], [[], [], true]);
  },

  async 'heart-beats of both sides keep stompjs connected'([, b]) {
    let beats = 0;
    const debug = (text) => { beats += text === '<<< PONG' ? 1 : 0; };
    const reader = await connect(b.port, { heartbeatIncoming: 1000, heartbeatOutgoing: 1000, debug });
    await until('heart-beats arrive', () => beats >= 5);
    assert.deepEqual([reader.connects, reader.errors], [1, []]);
  },

  async 'stompjs is told why a frame is refused, with its receipt, and connects again'([, b]) {
    const reader = await connect(b.port);
    reader.subscribe('/queue/work', () => {}, { receipt: 'mine' });
    await until('the error arrives', () => reader.errors.length);
    const { headers, body } = reader.errors[0];
    assert.deepEqual([headers.code, headers['receipt-id']], ['bad_request', 'mine']);
    assert.match(body, /there are no queues/);
    await until('it is connected again', () => reader.connects === 2);
    assert.equal(reader.closes[0], 1002);
  },

  async 'stompjs disconnects with a receipt'([, b]) {
    const reader = await connect(b.port);
    await reader.deactivate();
    assert.deepEqual([reader.closes.length, reader.errors], [1, []]);
  },

  async 'stomp.py sends, subscribes, acknowledges, commits and disconnects over its WebSocket'([a, b]) {
    const script = fileURLToPath(new URL('client.py', import.meta.url));
    const { stdout } = await promisify(execFile)(PYTHON, [script, String(a.port), String(b.port), name('h:python')]);
    assert.match(stdout, /^all is well$/m);
  },
};

Object.assign(checks, {
  async 'the JavaScript of docs/STOMP.md shows what is published'([a, b]) {
    const here = blocks('docs/STOMP.md', 'js')[0].replace('wss://tide.example.com', `ws://127.0.0.1:${b.port}`);
    const shown = [];
    clients.push(evaluate(here, 'client', { Client, token: 'none', show: (body) => shown.push(body) }));
    const writer = await connect(a.port);
    // Until the subscription is confirmed.
    await until('it shows what is published', async () => {
      await publish(writer, '/topic/news', 'from another client');
      return shown.length;
    });
    assert.equal(shown[0], 'from another client');
  },

  async 'the Python of docs/STOMP.md gets what is published'([a, b]) {
    const here = blocks('docs/STOMP.md', 'py')[0].replace('8080', String(a.port));
    const script = `import queue, stomp\ntoken = "none"\n${here}
messages = queue.Queue()
class Listener(stomp.ConnectionListener):
    def on_message(self, frame):
        messages.put(frame.body)
client.set_listener("", Listener())
print("subscribed", flush=True)
print(messages.get(timeout=20))
client.disconnect()
`;
    const running = promisify(execFile)(PYTHON, ['-c', script]);
    let ended = false;
    running.finally(() => { ended = true; }).catch(() => {});
    await until('it gets what is published', async () => {
      await b.publish('news', 'from a service');
      return ended;
    });
    assert.match((await running).stdout, /^from a service$/m);
  },
});

const ofSpring = {
  async "Spring's client sends and gets texts and objects, with its own converters"([a, b]) {
    const program = fileURLToPath(new URL('Spring.java', import.meta.url));
    const { stdout } = await promisify(execFile)('java', ['-cp', `${SPRING}/*`, program, String(a.port), String(b.port), name('spring')]);
    assert.match(stdout, /^all is well$/m);
  },
};

/** A client that subscribes whenever it is connected, from where it left off, and collects what it got. */
async function follower(port, destination) {
  const state = { bodies: [], last: null, recovered: [] };
  state.client = await connect(port, {
    onConnect() {
      const { client } = state;
      const id = name('resume');
      client.watchForReceipt(id, (frame) => state.recovered.push(frame.headers.recovered));
      client.subscribe(destination, (message) => {
        state.last = message.headers['message-id'];
        state.bodies.push(message.body);
      }, { receipt: id, ...(state.last ? { since: state.last } : { since: 'first' }) });
    },
    beforeConnect(client) { state.client = client; },
  });
  return state;
}

const ofTwoNodes = {
  async 'a client whose node is killed connects again and gets every message once'(nodes) {
    const [a, b] = nodes;
    const balancer = await balance(nodes);
    const channel = name('h:failover');
    const writer = await connect(b.port);
    await publish(writer, channel, '0');
    const reader = await follower(balancer.port, channel);
    await until('the first message', () => reader.bodies.length === 1);
    for (let at = 1; at < 50; at += 1) await publish(writer, channel, String(at));
    await a.kill();
    for (let at = 50; at < 100; at += 1) await publish(writer, channel, String(at));
    await until('all messages', () => reader.bodies.length >= 100);
    assert.deepEqual(reader.bodies, Array.from({ length: 100 }, (_, at) => String(at)));
    assert.deepEqual(reader.recovered, ['true', 'true']);
    await a.run();
    balancer.close();
  },

  async 'a draining node tells its clients, which connect again'(nodes) {
    const [a, b] = nodes;
    const balancer = await balance(nodes);
    const channel = name('h:drain');
    const reader = await follower(balancer.port, channel);
    const writer = await connect(b.port);
    await publish(writer, channel, '0');
    await until('the first message', () => reader.bodies.length === 1);
    const ended = a.end('SIGTERM');
    await until('the error arrives', () => reader.client.errors.length);
    assert.equal(reader.client.errors[0].headers.code, 'drain');
    await ended;
    await publish(writer, channel, '1');
    await until('the second message', () => reader.bodies.length === 2);
    assert.deepEqual([reader.bodies, reader.client.closes[0]], [['0', '1'], 1012]);
    await a.run();
    balancer.close();
  },
};

if (fs.existsSync(SPRING)) Object.assign(checks, ofSpring);
else console.log("skipped: Spring's client, because tests/setup.sh has found no Java and Maven");
await checkLibraries({ name: 'stomp', settings: SETTINGS, checks, ofTwoNodes, after: () => Promise.all(clients.splice(0).map((client) => client.deactivate({ force: true }))) });
