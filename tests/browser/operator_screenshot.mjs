// Makes the pictures of the operator's page, on a node of its own with clients and publications: operator-light.png and
// operator-dark.png, each a desktop and a phone beside it.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/operator_screenshot.mjs target/debug/tidegate redis://127.0.0.1:6379 docs/images
//
// CHROMIUM selects another browser than /usr/bin/chromium.

import { execFileSync, spawn } from 'node:child_process';
import path from 'node:path';
import { launch } from './pages.mjs';

const [binary, redis, folder] = process.argv.slice(2);
if (!folder) { console.error('usage: node operator_screenshot.mjs TIDEGATE URL_OF_REDIS FOLDER'); process.exit(1); }

const PUBLIC = '127.0.0.1:18080';
const INTERNAL = '127.0.0.1:19090';
const settings = ['--set', 'auth.keys=[{alg="HS256",secret="thirty-two bytes or more, at random"}]', '--set', `broker.url=${redis}`,
  '--set', 'rules=[{pattern="chat:*",subscribe="user",publish="user",history={size=200,age="10m"},presence=true},{pattern="**",subscribe="user",publish="user"}]',
  '--set', `server.listen=${PUBLIC}`, '--set', `internal.listen=${INTERNAL}`];
const node = spawn(binary, settings, { stdio: 'ignore' });
const ready = async () => { try { return (await fetch(`http://${INTERNAL}/readyz`)).ok; } catch { return false; } };
while (!await ready()) await new Promise((done) => setTimeout(done, 100));

const channels = ['chat:1', 'prices:eur', 'prices:usd', 'match:7', 'chat:2', 'jobs'];
const users = ['ada', 'grace', 'linus', 'margaret', 'edsger', 'barbara', 'donald', 'radia'];
for (const [index, user] of users.entries()) {
  const token = execFileSync(binary, ['token', '--user', user, ...settings], { encoding: 'utf8' }).trim();
  for (const channel of channels.filter((_, at) => at === 0 || (at + index) % 3 === 0)) {
    fetch(`http://${PUBLIC}/sse/${channel}?token=${token}`).then(async ({ body }) => { for await (const _ of body); }).catch(() => {});
  }
}
let published = 0;
const traffic = setInterval(() => {
  published += 1;
  const channel = channels[Math.floor(Math.random() ** 2 * channels.length)];
  fetch(`http://${INTERNAL}/api/publish/${channel}`, { method: 'POST', body: 'x'.repeat(100 + published % 400) }).catch(() => {});
}, 15);

const SIZES = { desktop: { width: 1100, height: 800 }, phone: { width: 375, height: 800 } };
const { browser, close } = await launch();
try {
  const pages = [];
  for (const size of Object.values(SIZES)) {
    const page = await browser.newPage();
    await page.setViewportSize(size);
    await page.goto(`http://${INTERNAL}/`);
    // Enough readings for the course of the figures.
    await page.waitForFunction(() => document.querySelector('#sent-spark path')?.getAttribute('d').split('L').length > 20, null, { timeout: 90_000 });
    await page.locator('#presence-channel').fill('chat:1');
    await page.locator('#presence').getByRole('button').click();
    await page.locator('#members li').first().waitFor();
    await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
    pages.push(page);
  }
  for (const colorScheme of ['light', 'dark']) {
    const images = [];
    for (const page of pages) {
      await page.bringToFront();
      await page.emulateMedia({ colorScheme });
      images.push(`<img src="data:image/png;base64,${(await page.screenshot()).toString('base64')}">`);
    }
    const both = await browser.newPage();
    await both.setViewportSize({ width: 1100 + 375 + 56, height: 832 });
    await both.setContent(`<style>
      body { margin: 16px; display: flex; gap: 24px; }
      img { border-radius: 12px; box-shadow: 0 0 0 1px #9fb3ba, 0 3px 10px #0003; }
    </style>${images.join('')}`);
    await both.screenshot({ path: path.join(folder, `operator-${colorScheme}.png`), omitBackground: true });
    await both.close();
  }
} finally {
  await close();
  clearInterval(traffic);
  node.kill('SIGKILL');
}
process.exit();
