// Makes the README's picture: the demo pages of two nodes with one Redis, side by side, with the same chat.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/screenshot.mjs http://127.0.0.1:8080 http://127.0.0.1:8081 redis://127.0.0.1:6379 docs/images/demo.png
//
// It needs redis-cli. CHROMIUM selects another browser than /usr/bin/chromium.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const [nodeA, nodeB, redis, picture] = process.argv.slice(2);
if (!picture) { console.error('usage: node screenshot.mjs URL_OF_NODE_A URL_OF_NODE_B URL_OF_REDIS FILE'); process.exit(1); }

const WINDOW = { width: 560, height: 726 };
const GAP = 24;
const MARGIN = 16;

const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-screenshot-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  viewport: WINDOW,
  colorScheme: 'light',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

async function open(node, name) {
  const page = await browser.newPage();
  await page.goto(`${node}/#harbour`);
  await page.waitForFunction(() => document.querySelector('#word').textContent === 'Open');
  await page.getByLabel('Your name').fill(name);
  return page;
}

const messages = (page, count) => page.waitForFunction((n) => document.querySelectorAll('#log .msg').length === n, count);
let count = 0;

/** Calls `send`, and waits until both pages show the message. */
async function publish(pages, send) {
  await send();
  count += 1;
  await Promise.all(pages.map((page) => messages(page, count)));
}

const type = (page, text) => async () => {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.keyboard.press('Enter');
};

try {
  const [ada, grace] = [await open(nodeA, 'Ada'), await open(nodeB, 'Grace')];
  const pages = [ada, grace];
  await publish(pages, type(ada, 'Hello from the first node!'));
  await publish(pages, type(grace, 'And hello from the second one.'));
  await publish(pages, type(ada, 'Redis carries this between us.'));
  await publish(pages, () => execFileSync('redis-cli', ['-u', redis, 'PUBLISH', 'tidegate:harbour', 'a line from redis-cli']));
  await publish(pages, type(grace, 'No library, one WebSocket.'));
  const images = [];
  for (const page of pages) {
    await page.locator('#text').blur();
    await page.bringToFront();
    images.push(`<img src="data:image/png;base64,${(await page.screenshot()).toString('base64')}">`);
  }
  const both = await browser.newPage();
  await both.setViewportSize({ width: 2 * WINDOW.width + GAP + 2 * MARGIN, height: WINDOW.height + 2 * MARGIN });
  await both.setContent(`<style>
    body { margin: ${MARGIN}px; display: flex; gap: ${GAP}px; }
    img { border-radius: 12px; box-shadow: 0 0 0 1px #9fb3ba, 0 3px 10px #0003; }
  </style>${images.join('')}`);
  await both.screenshot({ path: picture, omitBackground: true });
} finally {
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
}
