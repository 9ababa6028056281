// A page of a node with TLS: Chromium uses HTTP/2, so that more than six EventSources are open at a time, and opens its WebSockets on
// the same connection (RFC 8441).
//
//   (cd tests/browser && npm ci)
//   node tests/browser/http2.mjs BINARY
//
// Needs openssl. CHROMIUM selects another browser than /usr/bin/chromium. Exit code 0: all checks passed; 1: a check failed.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const binary = process.argv[2];
if (!binary) { console.error('usage: node http2.mjs BINARY'); process.exit(1); }

const TIMEOUT = 20_000; // milliseconds, for each condition
const STREAMS = 20; // far more than the six connections of HTTP/1.1

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-http2-'));
const [cert, key] = ['cert.pem', 'key.pem'].map((name) => path.join(folder, name));
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost',
  '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' });
const settings = ['server.listen=127.0.0.1:0', 'internal.listen=127.0.0.1:0', `server.tls.cert=${cert}`, `server.tls.key=${key}`, 'telemetry.log_format=json'];
const node = spawn(binary, ['serve', ...settings.flatMap((it) => ['--set', it])], { stdio: ['ignore', 'ignore', 'pipe'] });

/** The addresses in the node's log. */
const listening = await new Promise((found, failed) => {
  const timer = setTimeout(() => failed(new Error('the node does not listen')), TIMEOUT);
  createInterface({ input: node.stderr }).on('line', (line) => {
    if (line.includes('"listening"')) { clearTimeout(timer); found(JSON.parse(line)); }
  });
});
const internal = `http://${listening.internal}`;
const host = `localhost:${listening.public.split(':')[1]}`;

async function metric(name) {
  const text = await (await fetch(`${internal}/metrics`)).text();
  const line = text.split('\n').find((it) => it.startsWith(`${name} `));
  assert.ok(line, `there is a metric ${name}`);
  return Number(line.slice(name.length));
}

async function until(what, condition) {
  const deadline = Date.now() + TIMEOUT;
  for (let seen; ; await new Promise((next) => setTimeout(next, 20))) {
    seen = await condition();
    if (seen === true) return;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}, but ${JSON.stringify(seen)}`);
  }
}

let browser;
let failed = false;
try {
  browser = await chromium.launchPersistentContext(path.join(folder, 'profile'), {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    ignoreHTTPSErrors: true,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const page = await browser.newPage();
  await page.goto(`https://${host}/`, { timeout: TIMEOUT });
  const version = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
  assert.equal(version, 'h2');
  console.log('ok    the page arrives over HTTP/2');

  await page.evaluate((count) => {
    window.streams = Array.from({ length: count }, (_, number) => {
      const seen = { opened: false, data: [] };
      const stream = new EventSource(`/sse/news?stream=${number}`);
      stream.onopen = () => { seen.opened = true; };
      stream.onmessage = (event) => seen.data.push(event.data);
      return seen;
    });
    window.received = [];
    window.socket = new WebSocket(`wss://${location.host}/ws/news`);
    window.socket.onmessage = (event) => window.received.push(event.data);
  }, STREAMS);
  await until('all streams are open', async () => {
    const open = await page.evaluate(() => window.streams.filter((it) => it.opened).length);
    return open === STREAMS || open;
  });
  await until('the WebSocket is open', async () => {
    const state = await page.evaluate(() => window.socket.readyState);
    return state === 1 || state;
  });
  assert.equal(await metric('tidegate_http2_sessions{protocol="sse",transport="sse"}'), STREAMS);
  assert.equal(await metric('tidegate_http2_sessions{protocol="plain",transport="websocket"}'), 1);
  assert.equal(await metric('tidegate_connections{protocol="plain",transport="websocket"}'), 1);
  assert.equal(await metric('tidegate_http2_connections'), 1);
  console.log(`ok    ${STREAMS} EventSources and a WebSocket are open on one connection`);

  await page.evaluate(() => window.socket.send('from the page'));
  await until('all receive it', async () => {
    const got = await page.evaluate(() => [...window.streams.map((it) => it.data), window.received]);
    return got.every((data) => data.length === 1 && data[0] === 'from the page') || got;
  });
  console.log('ok    what the WebSocket sends arrives at each of them');

  const closed = await page.evaluate(() => new Promise((done) => {
    window.socket.onclose = ({ code, wasClean }) => done({ code, wasClean });
    window.socket.close(3000);
  }));
  assert.deepEqual(closed, { code: 3000, wasClean: true });
  await page.close();
  await until('the sessions end with the page', async () => {
    const open = await metric('tidegate_http2_sessions{protocol="sse",transport="sse"}');
    return open === 0 || open;
  });
  console.log('ok    the WebSocket closes cleanly, and the streams end with the page');
} catch (error) {
  failed = true;
  console.error('FAILED', error);
} finally {
  await browser?.close();
  node.kill();
  fs.rmSync(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
