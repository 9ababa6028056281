// MQTT's own client libraries against real nodes: mqtt.js and Paho for Python, each with 3.1.1 and 5, with the memory broker, and with
// two nodes on Redis behind a balancer, of which one is killed.
//
//   (cd tests/mqtt && npm ci), and tests/setup.sh for Paho
//   node tests/mqtt/main.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import mqtt from 'mqtt';
import { balance } from '../browser/lib/balancer.mjs';
import { checkLibraries } from '../browser/lib/library_checks.mjs';
import { blocks, evaluate } from '../browser/lib/page_blocks.mjs';
import { PYTHON, output } from '../browser/lib/python.mjs';
import { until } from '../browser/lib/wait.mjs';

const ANYONE = 'subscribe = "anyone", publish = "anyone", patterns = true';
const SETTINGS = {
  rules: `[{ pattern = "live/**", ${ANYONE} }, { pattern = "**", ${ANYONE}, history = { size = 100, age = "10m" } }]`,
};

let number = 0;
const name = (kind) => `${kind}/${++number}`;

const clients = [];

/** A client of mqtt.js that is connected, and the messages that it gets. */
async function connect(port, options) {
  const client = await mqtt.connectAsync(`ws://127.0.0.1:${port}/ws`, { reconnectPeriod: 100, ...options });
  clients.push(client);
  client.messages = [];
  client.on('message', (topic, payload, packet) => client.messages.push([topic, payload.toString(), packet]));
  return client;
}

const next = (client) => until('a message', () => client.messages.shift());

const checks = {};
for (const protocolVersion of [4, 5]) {
  const title = `mqtt.js, MQTT ${protocolVersion === 4 ? '3.1.1' : '5'}`;

  checks[`${title}: QoS 0, 1 and 2 arrive, with QoS 1 at most`] = async ([a, b]) => {
    const [reader, writer] = [await connect(b.port, { protocolVersion }), await connect(a.port, { protocolVersion })];
    const topic = name('site');
    const [granted] = await reader.subscribeAsync(topic, { qos: 2 });
    assert.equal(granted.qos, 1);
    for (const qos of [0, 1, 2]) {
      await writer.publishAsync(topic, `QoS ${qos}`, { qos });
      const [from, payload, packet] = await next(reader);
      assert.deepEqual([from, payload, packet.qos, packet.retain], [topic, `QoS ${qos}`, Math.min(qos, 1), false]);
    }
  };

  checks[`${title}: a new subscriber gets what is retained`] = async ([a, b]) => {
    const writer = await connect(a.port, { protocolVersion });
    const topic = name('lamp');
    await writer.publishAsync(topic, 'on', { qos: 1, retain: true });
    const reader = await connect(b.port, { protocolVersion });
    await reader.subscribeAsync(topic);
    const [, payload, packet] = await next(reader);
    assert.deepEqual([payload, packet.retain], ['on', true]);
  };

  checks[`${title}: wildcards, and a will when the socket breaks`] = async ([a, b]) => {
    const reader = await connect(b.port, { protocolVersion });
    const [granted] = await reader.subscribeAsync('live/+/state');
    assert.equal(granted.qos, 0);
    const will = { topic: 'live/1/state', payload: Buffer.from('gone'), qos: 1 };
    const device = await connect(a.port, { protocolVersion, will });
    device.options.reconnectPeriod = 0;
    device.stream.destroy();
    const [topic, payload] = await next(reader);
    assert.deepEqual([topic, payload], ['live/1/state', 'gone']);
  };
}

checks['mqtt.js, MQTT 5: properties arrive'] = async ([a, b]) => {
  const protocolVersion = 5;
  const [reader, writer] = [await connect(b.port, { protocolVersion }), await connect(a.port, { protocolVersion })];
  const topic = name('site');
  await reader.subscribeAsync(topic, { qos: 1, properties: { subscriptionIdentifier: 7 } });
  const properties = {
    contentType: 'text/plain', responseTopic: 'replies', correlationData: Buffer.from([255, 0]), userProperties: { unit: '°C' },
  };
  await writer.publishAsync(topic, '21', { qos: 1, properties });
  const { properties: got } = (await next(reader))[2];
  assert.deepEqual({ ...got, userProperties: { ...got.userProperties } }, { ...properties, subscriptionIdentifier: 7 });
};

for (const version of ['3', '5']) {
  checks[`Paho for Python, MQTT ${version}: QoS, retained messages and wildcards`] = async ([a, b]) => {
    const topic = name('site');
    const program = fileURLToPath(new URL('client.py', import.meta.url));
    const printed = JSON.parse(await output(PYTHON, [program, version, String(b.port), String(a.port), topic]));
    assert.deepEqual(printed, [['QoS 0', 0, false], ['QoS 1', 1, false], ['QoS 2', 1, false], ['QoS 2', 0, true], ['live', 0, false]]);
  };
}

checks['the client of docs/MQTT.md gets what it publishes'] = async ([a]) => {
  const [code] = blocks('docs/MQTT.md', 'js');
  const here = code.replace('import { connect } from "mqtt";', '').replace('127.0.0.1:8080', `127.0.0.1:${a.port}`);
  const client = evaluate(here, 'client', { connect: mqtt.connect });
  clients.push(client);
  const messages = [];
  client.on('message', (topic, payload) => messages.push([topic, payload.toString()]));
  const [first] = await until('its message', () => messages.length && messages);
  assert.deepEqual(first, ['site/1/temperature', '21.5']);
};

const ofTwoNodes = {
  async 'a subscriber whose node is killed comes back and gets what is retained and what follows'(nodes) {
    const [a, b] = nodes;
    const balancer = await balance(nodes);
    const reader = await connect(balancer.port, { protocolVersion: 5 });
    const writer = await connect(b.port, { protocolVersion: 4 });
    const topic = name('lamp');
    await reader.subscribeAsync(topic, { qos: 1 });
    await writer.publishAsync(topic, 'on', { qos: 1 });
    assert.equal((await next(reader))[1], 'on');
    await a.kill();
    await until('the client has seen the break', () => !reader.connected);
    await writer.publishAsync(topic, 'off', { qos: 1 });
    assert.equal((await next(reader))[1], 'off');
    await writer.publishAsync(topic, 'on again', { qos: 1 });
    assert.equal((await next(reader))[1], 'on again');
    balancer.close();
  },
};

await checkLibraries({ name: 'mqtt', settings: SETTINGS, checks, ofTwoNodes, after: () => Promise.all(clients.splice(0).map((client) => client.endAsync(true))) });
