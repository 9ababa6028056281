// A browser's EventSource on two nodes, from a page of another origin: it receives all publications. After a reconnect event
// it reconnects by itself and misses nothing. A stream of several channels whose connection is lost resumes all of them on the
// other node.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/sse.mjs URL_OF_NODE URL_OF_ITS_INTERNAL_LISTENER URL_OF_ANOTHER_NODE
//
// The nodes share a Redis and have the README's rule, which keeps history of chat:*. CHROMIUM selects another browser than
// /usr/bin/chromium. Exit code 0: all checks passed; 1: a check failed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { FaultProxy } from './lib/fault_proxy.mjs';

const [node, internal, other] = process.argv.slice(2).map((url) => url.replace(/\/$/, ''));
if (!other) { console.error('usage: node sse.mjs URL_OF_NODE URL_OF_ITS_INTERNAL_LISTENER URL_OF_ANOTHER_NODE'); process.exit(1); }

const TIMEOUT = 20_000; // milliseconds, for each condition
const CHANNEL = 'chat:sse';

// A page from neither node.
const pages = http.createServer((_, answer) => { answer.setHeader('content-type', 'text/html'); answer.end('<title>EventSource</title>'); });
await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));

const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-sse-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

async function publish(text, channel = CHANNEL) {
  const { status } = await fetch(`${internal}/api/publish/${channel}`, { method: 'POST', body: text });
  assert.equal(status, 202);
}

let failed = false;
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pages.address().port}/`, { timeout: TIMEOUT });
  await page.evaluate((urls) => {
    window.streams = urls.map((url) => {
      const seen = { opened: 0, data: [], notices: [] };
      const stream = new EventSource(url);
      stream.onopen = () => { seen.opened += 1; };
      stream.onmessage = (event) => seen.data.push(event.data);
      for (const name of ['gap', 'reconnect']) stream.addEventListener(name, (event) => seen.notices.push(JSON.parse(event.data)));
      return seen;
    });
  }, [node, other].map((url) => `${url}/sse/${CHANNEL}`));
  const until = async (what, condition) => {
    try { await page.waitForFunction(condition, undefined, { timeout: TIMEOUT }); } catch (error) {
      throw new Error(`${what}: ${JSON.stringify(await page.evaluate(() => window.streams))}`, { cause: error });
    }
  };

  await until('both are open', () => window.streams.every((it) => it.opened === 1));
  await publish('first');
  await publish('two\nlines');
  await until('both receive it', () => window.streams.every((it) => it.data.length === 2));
  console.log('ok    publications arrive on both nodes');

  // Several channels, through a proxy that loses the connection and then reaches the other node.
  const SEVERAL = ['chat:sse-a', 'chat:sse-b', 'news'];
  const ports = [node, other].map((url) => Number(new URL(url).port));
  const proxy = await FaultProxy.listen(ports[0]);
  await page.evaluate((url) => {
    window.several = { opened: 0, publications: [], notices: [] };
    const stream = new EventSource(url);
    stream.onopen = () => { window.several.opened += 1; };
    stream.onmessage = (event) => window.several.publications.push(JSON.parse(event.data));
    for (const name of ['gap', 'reconnect']) stream.addEventListener(name, (event) => window.several.notices.push(JSON.parse(event.data)));
    window.closeSeveral = () => stream.close();
  }, `${proxy.url}/sse?${SEVERAL.map((name) => `channel=${encodeURIComponent(name)}`).join('&')}`);
  const CUTS = 3, BETWEEN = 10;
  const untilSeveral = async (what, condition, argument) => {
    try { await page.waitForFunction(condition, argument, { timeout: TIMEOUT }); } catch (error) {
      throw new Error(`${what}: ${JSON.stringify(await page.evaluate(() => window.several))}`, { cause: error });
    }
  };
  await untilSeveral('it is open', () => window.several.opened === 1);
  let number = 0;
  const publishSome = async () => { for (let each = 0; each < BETWEEN; each += 1) await publish(String(number += 1), SEVERAL[number % 2]); };
  for (let cut = 1; cut <= CUTS; cut += 1) {
    await publishSome();
    proxy.target = ports[cut % 2];
    proxy.cut({ reset: true });
    await publishSome();
    await untilSeveral('it reconnects', (opened) => window.several.opened === opened, cut + 1);
  }
  await untilSeveral('it receives all', (count) => window.several.publications.length >= count, number);
  const several = await page.evaluate(() => { window.closeSeveral(); return window.several; });
  await proxy.close();
  for (const [parity, channel] of SEVERAL.slice(0, 2).entries()) {
    const numbers = several.publications.filter((it) => it.channel === channel).map((it) => it.data);
    const expected = Array.from({ length: number }, (_, index) => index + 1).filter((it) => it % 2 === parity);
    assert.deepEqual(numbers, expected, `${channel}: in order, once`);
  }
  const gap = { type: 'gap', channel: 'news', reason: 'not_recovered' };
  assert.deepEqual(several.notices, Array(CUTS).fill(gap), 'the channel without history gets a gap each time');
  console.log('ok    several channels on one stream resume on the other node, each in order and once');

  const { status } = await fetch(`${internal}/api/drain?percent=100`, { method: 'POST' });
  assert.ok(status < 300, `drain: ${status}`);
  await until('it receives reconnect', () => window.streams[0].notices.length === 1);
  await publish('while it was disconnected');
  await until('it reconnects', () => window.streams[0].opened === 2);
  await publish('last');
  await until('both receive the last', () => window.streams.every((it) => it.data.at(-1) === 'last'));
  const streams = await page.evaluate(() => window.streams);
  for (const { data } of streams) assert.deepEqual(data, ['first', 'two\nlines', 'while it was disconnected', 'last'], 'in order, once');
  const [{ type, reason, after_ms: after }] = streams[0].notices;
  assert.deepEqual([type, reason], ['reconnect', 'rebalance']);
  assert.ok(after > 0);
  assert.deepEqual(streams[1].notices, [], 'the other node was not drained');
  console.log('ok    after reconnect, it reconnects by itself and misses nothing');

  // The piece of JavaScript in the documentation, as it is written but for the address.
  const text = fs.readFileSync(new URL('../../docs/protocol/server-sent-events.md', import.meta.url), 'utf8');
  const [[, code], ...more] = text.matchAll(/^```js\n(.*?)^```$/gms);
  assert.equal(more.length, 0, 'the page has one piece of JavaScript');
  const printed = page.waitForEvent('console', { predicate: (line) => line.text() === 'high water', timeout: TIMEOUT });
  await page.evaluate(code.replaceAll('http://127.0.0.1:8080', node));
  await page.waitForFunction(() => news.readyState === EventSource.OPEN, undefined, { timeout: TIMEOUT });
  const { status: published } = await fetch(`${internal}/api/publish/news`, { method: 'POST', body: 'high water' });
  assert.equal(published, 202);
  await printed;
  console.log('ok    the documentation\'s JavaScript prints what is published');
} catch (error) {
  failed = true;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await browser.close();
  pages.close();
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
}
process.exit(failed ? 1 : 0);
