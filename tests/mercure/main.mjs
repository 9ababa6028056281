// npm `eventsource` as a Mercure client against real nodes: with the memory broker, and with two nodes on Redis behind a balancer,
// of which one is killed.
//
//   (cd tests/mercure && npm ci)
//   node tests/mercure/main.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { promisify } from 'node:util';
import { EventSource } from 'eventsource';
import { balance } from '../browser/lib/balancer.mjs';
import { checkLibraries } from '../browser/lib/library_checks.mjs';
import { blocks, evaluate } from '../browser/lib/page_blocks.mjs';
import { until } from '../browser/lib/wait.mjs';

const SECRET = 'a secret of thirty-two bytes or more';

const SETTINGS = {
  'mercure.enabled': 'true',
  'auth.keys': `[{ alg = "HS256", secret = "${SECRET}" }]`,
  'auth.require_expiry': 'false',
  rules: '[{ pattern = "**", subscribe = "anyone", publish = "token", history = { size = 1000, age = "10m" } }]',
};

const base64 = (bytes) => Buffer.from(bytes).toString('base64url');

/** A token as Symfony's component makes it: without an expiry. */
function token(mercure) {
  const signed = `${base64('{"alg":"HS256","typ":"JWT"}')}.${base64(JSON.stringify({ mercure }))}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

const PUBLISHER = token({ publish: ['*'] });

async function publish(node, fields) {
  const answer = await fetch(`http://127.0.0.1:${node.port}/.well-known/mercure`, {
    method: 'POST', headers: { Authorization: `Bearer ${PUBLISHER}` }, body: new URLSearchParams(fields),
  });
  assert.equal(answer.status, 200);
  return answer.text();
}

const sources = [];

/** Follows the topics, and collects what arrives. `withToken`: sent as the query, as browsers of another site do. */
async function follow(port, topics, withToken) {
  const url = new URL(`http://127.0.0.1:${port}/.well-known/mercure`);
  topics.forEach((topic) => url.searchParams.append('topic', topic));
  if (withToken) url.searchParams.append('authorization', withToken);
  const source = new EventSource(url);
  sources.push(source);
  const state = { source, data: [], ids: [], opens: 0 };
  const take = ({ data, lastEventId }) => { state.data.push(data); state.ids.push(lastEventId); };
  source.onmessage = take;
  source.addEventListener('price', take);
  source.onopen = () => { state.opens += 1; };
  await until('the stream is open', () => state.opens);
  return state;
}

let number = 0;
const topic = () => `https://example.com/books/${++number}`;

const checks = {
  async 'updates of several topics arrive with data, type and id'([a, b]) {
    const [first, second] = [topic(), topic()];
    const state = await follow(b.port, [first, second]);
    const id = await publish(a, [['topic', first], ['data', 'é: 🌊\n{"a": 1}']]);
    await publish(a, [['topic', second], ['topic', first], ['data', 'both'], ['type', 'price']]);
    await until('both updates', () => state.data.length === 2);
    assert.deepEqual(state.data, ['é: 🌊\n{"a": 1}', 'both']);
    assert.match(id, /^\d+-\d+$/);
    assert.ok(state.ids.every(Boolean));
  },

  async 'private updates arrive with a token that lists the topic only'([a, b]) {
    const its = topic();
    const anonymous = await follow(b.port, [its]);
    const listed = await follow(a.port, [its], token({ subscribe: ['https://example.com/books/{id}'] }));
    await publish(a, [['topic', its], ['data', 'private'], ['private', 'on']]);
    await publish(b, [['topic', its], ['data', 'public']]);
    await until('the updates', () => listed.data.length === 2 && anonymous.data.length === 1);
    assert.deepEqual([listed.data, anonymous.data], [['private', 'public'], ['public']]);
  },
};

const here = (code, node) => code.replaceAll('https://tide.example.com', `http://127.0.0.1:${node.port}`);

checks['the page of docs/MERCURE.md shows what its shell publishes'] = async ([a, b]) => {
  const [[page], [shell]] = [blocks('docs/MERCURE.md', 'js'), blocks('docs/MERCURE.md', 'sh')];
  const shown = [];
  class Followed extends EventSource {
    constructor(...given) {
      super(...given);
      sources.push(this);
    }
  }
  evaluate(here(page, b), 'undefined', { EventSource: Followed, console: { log: (data) => shown.push(data) } });
  await until('the stream is open', () => sources.at(-1)?.readyState === EventSource.OPEN);
  const { stdout } = await promisify(execFile)('bash', ['-ec', here(shell, a)], { env: { ...process.env, TOKEN: PUBLISHER } });
  assert.match(stdout, /^\d+-\d+$/);
  await until('the update', () => shown.length);
  assert.deepEqual(shown, ['{"price":1}']);
};

const ofTwoNodes = {
  async 'a subscriber whose node is killed reconnects by itself and gets every update once'(nodes) {
    const [a, b] = nodes;
    const balancer = await balance(nodes);
    const topics = [topic(), topic()];
    const state = await follow(balancer.port, topics);
    const send = (at) => publish(b, [['topic', topics[at % 2]], ['data', String(at)]]);
    for (let at = 0; at < 50; at += 1) await send(at);
    await until('the first updates', () => state.data.length === 50);
    await a.kill();
    for (let at = 50; at < 100; at += 1) await send(at);
    await until('all updates', () => state.data.length >= 100);
    const of = (side) => state.data.map(Number).filter((at) => at % 2 === side);
    for (const side of [0, 1]) assert.deepEqual(of(side), Array.from({ length: 50 }, (_, at) => 2 * at + side));
    assert.ok(state.opens > 1);
    await a.run();
    balancer.close();
  },
};

await checkLibraries({ name: 'mercure', settings: SETTINGS, checks, ofTwoNodes, after: () => sources.splice(0).forEach((source) => source.close()) });
