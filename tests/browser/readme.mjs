// The JavaScript of README.md in the console of a demo page, in a real browser: both pieces, pasted unchanged one after the
// other, and then again, do what the text says.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/readme.mjs http://127.0.0.1:8080 http://127.0.0.1:9090
//
// The node needs the README's rule, which keeps history of chat:*. CHROMIUM selects another browser than /usr/bin/chromium.
// Exit code 0: all checks passed; 1: a check failed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const [node, internal] = process.argv.slice(2).map((url) => url.replace(/\/$/, ''));
if (!node || !internal) { console.error('usage: node readme.mjs URL_OF_NODE URL_OF_ITS_INTERNAL_LISTENER'); process.exit(1); }

const TIMEOUT = 10_000; // milliseconds, for each condition
const README_URL = 'ws://127.0.0.1:8080';

const readme = fs.readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const pieces = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
assert.equal(pieces.length, 2, 'the README has two pieces of JavaScript');
for (const code of pieces) assert.ok(code.includes(README_URL), `it connects to the README's node: ${code}`);
const [plain, json] = pieces.map((code) => code.replaceAll(README_URL, node.replace(/^http/, 'ws')));

const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-readme-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A page with its console: `paste` evaluates code there, `prints` waits for an output. */
async function open(replMode) {
  const page = await browser.newPage();
  const printed = [];
  page.on('console', async (line) => { for (const value of line.args()) printed.push(await value.jsonValue().catch(() => null)); });
  await page.goto(node, { timeout: TIMEOUT });
  const devtools = await browser.newCDPSession(page);
  const paste = async (expression) => {
    const { exceptionDetails: fault } = await devtools.send('Runtime.evaluate', { expression, replMode, awaitPromise: false });
    assert.equal(fault, undefined, `pasted: ${expression}\n${fault?.exception?.description}`);
  };
  const prints = async (what, matches) => {
    const deadline = performance.now() + TIMEOUT;
    for (;;) {
      const at = printed.findIndex(matches);
      if (at >= 0) return printed.splice(0, at + 1).at(-1);
      if (performance.now() > deadline) throw new Error(`the console did not print ${what}, but ${JSON.stringify(printed)}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  };
  return { page, paste, prints };
}

async function publish(text) {
  const { status } = await fetch(`${internal}/api/publish/chat:1`, { method: 'POST', body: JSON.stringify(text) });
  assert.equal(status, 202);
}

let failed = false;
try {
  // As DevTools evaluates it, and as a script runs: a script cannot declare a name twice.
  for (const replMode of [true, false]) {
    const { page, paste, prints } = await open(replMode);
    await paste(plain);
    await prints('its own message', (value) => value === 'hello from the console');
    await paste(json);
    const first = await prints('subscribed', (value) => value?.type === 'subscribed');
    assert.equal(first.recovered, undefined);
    await publish('first');
    await prints('a publication', (value) => value?.type === 'publication' && value.data === 'first');
    await paste('chat.close()');
    await publish('missed');
    await paste(json);
    const again = await prints('subscribed again', (value) => value?.type === 'subscribed');
    assert.equal(again.recovered, true);
    await prints('the missed publication', (value) => value?.type === 'publication' && value.data === 'missed');
    await paste(plain);
    await prints('its own message again', (value) => value === 'hello from the console');
    await page.close();
    console.log(`ok    both pieces, twice, ${replMode ? 'as in the console' : 'as scripts'}`);
  }
} catch (error) {
  failed = true;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
}
process.exit(failed ? 1 : 0);
