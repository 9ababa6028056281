// The JavaScript of docs/CLIENTS.md in a real browser, as it is written there, while the node is killed and started again: each
// publication is shown once and in order, and the state is loaded wherever something may be missing.
//
//   (cd tests/browser && npm ci); (cd web/client && npm run build)
//   node tests/browser/clients.mjs target/debug/tidegate redis://127.0.0.1:6379
//
// It starts its own node on that Redis. CHROMIUM selects another browser than /usr/bin/chromium. Exit code 0: all checks passed.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { launch, TIMEOUT } from './pages.mjs';

const [binary, redis] = process.argv.slice(2);
if (!redis) { console.error('usage: node clients.mjs TIDEGATE URL_OF_REDIS'); process.exit(1); }

const PREFIX = 'clients:';
const HISTORY = 5;      // publications that the history keeps at least; up to 100 more at times
const repository = new URL('../../', import.meta.url);
const text = fs.readFileSync(new URL('docs/CLIENTS.md', repository), 'utf8');
const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
assert.equal(blocks.length, 2, 'the page has two pieces of JavaScript');
const [rendered, byHand] = blocks;

const pause = (millis) => new Promise((done) => setTimeout(done, millis));
async function until(what, holds) {
  const deadline = performance.now() + 3 * TIMEOUT; // a backoff is in it
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`gave up waiting until ${what()}`);
    await pause(20);
  }
}

const freePort = () => new Promise((done) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); });
});
const [publicPort, internalPort] = [await freePort(), await freePort()];
const [node, internal] = [`http://127.0.0.1:${publicPort}`, `http://127.0.0.1:${internalPort}`];
const rules = `rules=[{pattern="kept:*",history={size=${HISTORY},age="10m"}},{pattern="**"}]`;

let running;
async function start() {
  running = spawn(binary, ['--set', `broker.url=${redis}`, '--set', `broker.prefix=${PREFIX}`, '--set', rules,
    '--set', `server.listen=127.0.0.1:${publicPort}`, '--set', `internal.listen=127.0.0.1:${internalPort}`], { stdio: 'ignore' });
  await until(() => 'the node is ready', async () => { try { return (await fetch(`${internal}/readyz`)).ok; } catch { return false; } });
}
async function kill() {
  running.kill('SIGKILL');
  await new Promise((done) => running.on('exit', done));
}
const fcall = (channel, payload) => execFileSync('redis-cli', ['-u', redis, 'FCALL', 'tidegate_publish', '1', `${PREFIX}${channel}`, payload], { encoding: 'utf8' });
const publish = async (channel, payload) => assert.equal((await fetch(`${internal}/api/publish/${channel}`, { method: 'POST', body: payload })).status, 202);

const { browser, close } = await launch({ bypassCSP: true }); // the test adds scripts to the page

/** A page of the node with the piece in it, and what it has printed. */
async function open(prepare, code) {
  const page = await browser.newPage();
  const printed = [];
  page.on('console', (line) => line.type() === 'log' && printed.push(line.text()));
  await page.goto(node);
  await prepare(page);
  const devtools = await page.context().newCDPSession(page);
  const { exceptionDetails: fault } = await devtools.send('Runtime.evaluate', { expression: code, replMode: true });
  assert.equal(fault, undefined, fault?.exception?.description);
  const prints = (...lines) => until(() => `${JSON.stringify(lines)} is printed, not ${JSON.stringify(printed)}`, () => printed.length >= lines.length)
    .then(() => assert.deepEqual(printed.splice(0), lines));
  return { page, prints };
}

let failed = false;
try {
  await start();
  for (const channel of ['kept:1', 'news']) {
    assert.ok(byHand.includes('"chat:1"') && byHand.includes('ws://127.0.0.1:8080/ws'));
    const code = byHand.replace('"chat:1"', JSON.stringify(channel)).replace('ws://127.0.0.1:8080', node.replace('http', 'ws'));
    const { page, prints } = await open(async () => {}, code);
    await prints('load');
    await publish(channel, '"one"');
    await publish(channel, 'two, a text');
    await prints('one', 'two, a text');
    await kill();
    if (channel === 'kept:1') fcall(channel, '"three, while the node was away"');
    await start();
    if (channel === 'kept:1') await prints('three, while the node was away');
    else await prints('load');
    await publish(channel, '"four"');
    await prints('four');
    if (channel === 'kept:1') {
      await kill();
      for (let number = 0; number < HISTORY + 150; number += 1) fcall(channel, `"${number}"`);
      await start();
      await prints('load');
      await publish(channel, '"five"');
      await prints('five');
    }
    await page.close();
    console.log(`ok    reconnecting by hand, on a channel ${channel === 'news' ? 'without' : 'with'} history`);
  }

  // The backend's steps, and then those of the page.
  await publish('kept:items', '"before the page was rendered"');
  const [position] = execFileSync('redis-cli', ['-u', redis, 'XREVRANGE', `${PREFIX}kept:items`, '+', '-', 'COUNT', '1'], { encoding: 'utf8' }).split('\n');
  await publish('kept:items', '"between"');
  const script = rendered.replace('import { connect } from "tidegate";', 'const { connect } = tidegate;').replace('"items"', '"kept:items"');
  const { page, prints } = await open(async (page) => {
    await page.addScriptTag({ path: new URL('web/client/dist/tidegate.js', repository).pathname });
    await page.evaluate((state) => {
      document.body.replaceChildren();
      const rendered = document.createElement('script');
      Object.assign(rendered, { id: 'state', type: 'application/json', textContent: JSON.stringify(state) });
      document.body.append(rendered);
      globalThis.apply = (data) => console.log(data);
    }, { position, items: [] });
  }, script);
  await prints('between');
  await publish('kept:items', '"after"');
  await prints('after');
  await page.close();
  console.log('ok    a rendered page misses nothing between');
} catch (error) {
  failed = true;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await close();
  running?.kill('SIGKILL');
}
process.exit(failed ? 1 : 0);
