// The demo page in a real browser, on two nodes of one fleet: each page shows the messages sent on the other,
// and the state of its own connection.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/demo.mjs http://127.0.0.1:8080 http://127.0.0.1:8081
//
// CHROMIUM selects another browser than /usr/bin/chromium. Exit code 0: all checks passed; 1: a check failed.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const [nodeA, nodeB] = process.argv.slice(2).map((url) => url.replace(/\/$/, ''));
if (!nodeA || !nodeB) { console.error('usage: node demo.mjs URL_OF_NODE_A URL_OF_NODE_B'); process.exit(1); }

const TIMEOUT = 10_000; // milliseconds, for each condition
const channel = `demo:${process.pid}:${Date.now()}`;
let failures = 0;

/** Runs one check; a condition inside that does not come true within TIMEOUT fails it. */
async function check(what, run) {
  const started = performance.now();
  try {
    await run();
    console.log(`ok    ${what} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${what}\n      ${String(error.message).split('\n').slice(0, 4).join('\n      ')}`);
  }
}

const word = (page, expected) => page.waitForFunction((text) => document.querySelector('#word').textContent === text, expected, { timeout: TIMEOUT });
const message = (page, text, kind = '.msg') => page.locator(`#log ${kind} .body`, { hasText: text }).first().waitFor({ timeout: TIMEOUT });
const fact = (page, id, expected) => page.waitForFunction(([id, text]) => document.getElementById(id).textContent === text, [id, expected], { timeout: TIMEOUT });
function equal(found, expected, what) { if (found !== expected) throw new Error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`); }

async function send(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.keyboard.press('Enter');
}

const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-demo-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

try {
  const browserErrors = [];
  const open = async (url) => {
    const page = await browser.newPage();
    page.on('pageerror', (error) => browserErrors.push(String(error)));
    page.on('console', (line) => line.type() === 'error' && browserErrors.push(line.text()));
    await page.goto(url, { timeout: TIMEOUT });
    return page;
  };
  const a = await open(`${nodeA}/#${encodeURIComponent(channel)}`);
  const b = await open(`${nodeB}/#${encodeURIComponent(channel)}`);

  await check('both pages show "Open"', async () => { await word(a, 'Open'); await word(b, 'Open'); });
  await check('a message sent on A is shown on A as its own, on B as another\'s', async () => {
    await send(a, 'high tide at noon');
    await message(a, 'high tide at noon', '.msg.mine');
    await message(b, 'high tide at noon', '.msg:not(.mine)');
    equal(await a.getByLabel('Message', { exact: true }).inputValue(), '', 'the field after sending');
  });
  await check('a message sent on B is shown on A', async () => {
    await send(b, 'low tide at six <b>sharp</b>');
    await message(a, 'low tide at six <b>sharp</b>');
  });
  await check('the counters show 2 in and 1 out on both', async () => {
    for (const page of [a, b]) { await fact(page, 'in', '2'); await fact(page, 'out', '1'); }
  });
  await check('the redis-cli line names the channel, and the curl line below publishes into the history', async () => {
    equal(await a.locator('#hint').textContent(), `redis-cli PUBLISH tidegate:${channel} hello`, 'hint');
    await a.getByText('If the channel keeps history, use this instead').waitFor({ timeout: TIMEOUT });
    const post = (await a.locator('#other').textContent()).match(/^curl -d hello (http:.*)$/)[1];
    equal((await fetch(post, { method: 'POST', body: 'from the line below' })).status, 202, 'the status');
    await message(a, 'from the line below');
  });
  await check('each window of one browser has a different name, and keeps it', async () => {
    const windows = await Promise.all([nodeA, nodeA, nodeA].map((url) => open(`${url}/#${encodeURIComponent(`${channel}:names`)}`)));
    const name = (page) => page.getByLabel('Your name').inputValue();
    const names = await Promise.all([a, ...windows].map(name));
    equal(new Set(names).size, names.length, `different names among ${names}`);
    await windows[0].getByLabel('Your name').fill('Ada');
    await windows[0].reload();
    equal(await name(windows[0]), 'Ada', 'the name after a reload');
    await windows[1].reload();
    equal(await name(windows[1]), names[2], 'the other name after a reload');
    await Promise.all(windows.map((page) => page.close()));
  });

  await check('frames that are not chat messages are shown, each kind', async () => {
    await a.evaluate((name) => new Promise((done, failed) => {
      const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws/${encodeURIComponent(name)}`);
      socket.binaryType = 'arraybuffer';
      let echoes = 0;
      socket.onopen = () => { socket.send('a plain string'); socket.send('{"level":5}'); socket.send(''); socket.send(new Uint8Array([0xca, 0xfe])); };
      socket.onmessage = () => { echoes += 1; if (echoes === 4) { socket.close(); done(); } };
      socket.onclose = (event) => failed(new Error(`closed with ${event.code} after ${echoes} of 4 echoes`));
      setTimeout(() => failed(new Error(`${echoes} of 4 echoes`)), 8000);
    }), channel);
    for (const text of ['a plain string', '{"level":5}', 'empty message', 'binary, 2 bytes: ca fe']) await message(b, text);
  });

  await check('back and forward change the channel', async () => {
    await b.getByLabel('Channel', { exact: true }).fill(`${channel}:other`);
    await b.keyboard.press('Enter');
    await fact(b, 'current', `${channel}:other`);
    await word(b, 'Open');
    await b.goBack();
    await fact(b, 'current', channel);
    await word(b, 'Open');
  });
  await check('a channel name with white space is "Closed", with the reason', async () => {
    await b.goto(`${nodeB}/#no%20way`);
    await word(b, 'Closed');
    await b.getByText('A channel name must not contain white space.').waitFor({ timeout: TIMEOUT });
  });
  await check('no script errors, nothing refused by the Content-Security-Policy', async () => equal(browserErrors.join('; '), '', 'console'));

  // The close codes, sent by a proxy between this page and the node.
  const c = await browser.newPage();
  let link, code = 0;
  await c.addInitScript(() => { Math.random = () => 0.9; }); // delays: 27 s after 1012, 0.45 s after the first failure
  await c.routeWebSocket(/\/ws\//, (socket) => {
    link = socket;
    if (code) socket.close({ code, reason: 'test' });
    else socket.connectToServer();
  });
  await c.goto(`${nodeA}/#${encodeURIComponent(channel)}`);
  await word(c, 'Open');
  await check('1012: "Waiting to reconnect", the text is kept, and the button reconnects at once', async () => {
    await c.getByLabel('Message', { exact: true }).fill('half a thought');
    await link.close({ code: 1012, reason: 'drain' });
    await word(c, 'Waiting to reconnect');
    await c.getByText(/Trying again in \d+ s/).waitFor({ timeout: TIMEOUT });
    await c.keyboard.press('Enter');
    equal(await c.getByLabel('Message', { exact: true }).inputValue(), 'half a thought', 'the field while waiting');
    await c.getByRole('button', { name: 'Reconnect now' }).click({ timeout: TIMEOUT });
    await word(c, 'Open');
    await c.getByText(/reconnected after [\d.]+ s: messages sent meanwhile are not shown/).waitFor({ timeout: TIMEOUT });
    await c.keyboard.press('Enter');
    await message(a, 'half a thought');
  });
  await check('1011: it reconnects by itself', async () => {
    await link.close({ code: 1011, reason: 'test' });
    await word(c, 'Waiting to reconnect');
    await word(c, 'Open');
  });
  await check('4003: "Closed", with the reason', async () => {
    code = 4003;
    await link.close({ code, reason: 'test' });
    await word(c, 'Closed');
    await c.getByText('This channel is forbidden (4003: test).').waitFor({ timeout: TIMEOUT });
  });
} catch (error) {
  failures += 1;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
}
console.log(failures ? `${failures} failed` : 'all passed');
process.exit(failures ? 1 : 0);
