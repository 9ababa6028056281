// The Durable Streams protocol against real nodes: its conformance tests with the memory broker, and with two nodes on Redis that take turns; and its
// client library, as docs/STREAMS.md shows it.
//
//   (cd tests/streams && npm ci)
//   node tests/streams/main.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import { DurableStream, stream } from '@durable-streams/client';
import { Node, Redis, Scratch } from '../browser/lib/processes.mjs';
import { until } from '../browser/lib/wait.mjs';
import { conforms } from './conformance.mjs';
import { alternating } from './proxy.mjs';

const SETTINGS = {
  rules: '[{pattern="v1/**",history={size=10000,age="2h"},run={lease="1m"},streams=true}]',
  // One of the tests appends 10 MiB at once, another sends a preflight request of this page.
  'session.message_bytes_max': '16MiB',
  'server.origins': 'https://example.com',
};

async function clientFollows(url) {
  const at = `${url}/streams/v1/client`;
  const writer = await DurableStream.create({ url: at, contentType: 'application/json' });
  await writer.append(JSON.stringify({ n: 1 }));
  const items = [];
  const answer = await stream({ url: at, offset: '-1', live: true });
  answer.subscribeJson((batch) => { items.push(...batch.items); });
  for (let n = 2; n <= 20; n += 1) await writer.append(JSON.stringify({ n }));
  await writer.close();
  await until('the client has everything', () => items.length >= 20, { found: () => JSON.stringify(items) });
  assert.deepEqual(items.map(({ n }) => n), Array.from({ length: 20 }, (_, at) => at + 1));
  await answer.closed;
}

const scratch = new Scratch('tidegate-streams-');
try {
  const alone = await Node.start(scratch, { name: 'alone', settings: SETTINGS });
  console.log(`ok ${await conforms(`${alone.url}/streams`, scratch.file('memory.json'))} conformance tests, memory broker`);
  await clientFollows(alone.url);
  console.log('ok the client follows a stream to its end, memory broker');
  await alone.kill();

  const redis = await Redis.start(scratch);
  const nodes = await Promise.all(['a', 'b'].map((name) => Node.start(scratch, { name, redis, settings: SETTINGS })));
  const balancer = await alternating(nodes.map((node) => node.url));
  console.log(`ok ${await conforms(`${balancer.url}/streams`, scratch.file('redis.json'))} conformance tests, two nodes in turn on Redis`);
  await clientFollows(balancer.url);
  console.log('ok the client follows a stream to its end, two nodes in turn on Redis');
  balancer.close();
} catch (error) {
  scratch.keep();
  console.error(error, `\nlogs: ${scratch.path}`);
  process.exit(1);
}
process.exit(0);
