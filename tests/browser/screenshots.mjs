// Takes the pictures of the demo pages in docs/images. Two windows of each page are active, so that it shows what it is for.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/screenshots.mjs NODE NODE_A NODE_B redis://127.0.0.1:6379 docs/images
//
// NODE has its default settings. NODE_A and NODE_B share that Redis, with the default prefix and the rules of docs/DEMO.md. It needs
// redis-cli. CHROMIUM selects another browser than /usr/bin/chromium.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { launch, state } from './pages.mjs';

const [node, nodeA, nodeB, redis, folder] = process.argv.slice(2);
if (!folder) { console.error('usage: node screenshots.mjs NODE NODE_A NODE_B URL_OF_REDIS FOLDER'); process.exit(1); }

const WINDOW = { width: 600, height: 500 };
const GAP = 24, MARGIN = 16;

/** README's picture: the chat in two windows, each on a node of its own. */
async function twoNodes() {
  const { browser, open, close } = await launch({ viewport: WINDOW, colorScheme: 'light' });
  try {
    const join = async (url, name) => {
      const page = await open(`${url}/demo/chat`);
      await state(page, 'open');
      await page.getByLabel('Your name').fill(name);
      return page;
    };
    const pages = [await join(nodeA, 'Ada'), await join(nodeB, 'Grace')];
    const [ada, grace] = pages;
    let count = 0;
    const publish = async (send) => {
      await send();
      count += 1;
      await Promise.all(pages.map((page) => page.waitForFunction((n) => document.querySelectorAll('#log .msg').length === n, count)));
    };
    const type = (page, text) => async () => {
      await page.locator('#text').fill(text);
      await page.locator('#text').press('Enter');
    };
    await publish(type(ada, 'Hello from the first node!'));
    await publish(type(grace, 'And hello from the second one.'));
    await publish(() => execFileSync('redis-cli', ['-u', redis, 'FCALL', 'tidegate_publish', '1', 'tidegate:demo:chat:harbour', '{"name":"redis-cli","text":"A line from redis-cli."}']));
    await publish(type(ada, 'Redis carries this between us.'));
    const images = [];
    for (const page of pages) {
      await page.bringToFront();
      await page.locator('#text').blur();
      await page.evaluate(() => scrollTo(0, 0));
      if (page === grace) await page.getByText('read by').first().waitFor({ timeout: 2000 }).catch(() => {});
      images.push(`<img src="data:image/png;base64,${(await page.screenshot()).toString('base64')}">`);
    }
    const both = await browser.newPage();
    await both.setViewportSize({ width: 2 * WINDOW.width + GAP + 2 * MARGIN, height: WINDOW.height + 2 * MARGIN });
    await both.setContent(`<style>
      body { margin: ${MARGIN}px; display: flex; gap: ${GAP}px; }
      img { border-radius: 12px; box-shadow: 0 0 0 1px #9fb3ba, 0 3px 10px #0003; }
    </style>${images.join('')}`);
    await both.screenshot({ path: path.join(folder, 'demo.png'), omitBackground: true });
  } finally {
    await close();
  }
}

fs.mkdirSync(folder, { recursive: true });
await twoNodes();
for (const file of fs.readdirSync(folder)) console.log(`${file}: ${(fs.statSync(path.join(folder, file)).size / 1024).toFixed(0)} KiB`);
