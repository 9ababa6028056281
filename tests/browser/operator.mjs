// The operator's page of a node's internal listener, in a real browser: it shows what happens on the node, publishes, looks
// up presence, asks for the API key where the node requires one, and drains the node after it has asked twice.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/operator.mjs URL_OF_NODE URL_OF_ITS_INTERNAL_LISTENER INTERNAL_LISTENER_WITH_A_KEY KEY
//
// The first node keeps presence and history of chat:*, and exits in this test. CHROMIUM selects another browser than
// /usr/bin/chromium. Exit code 0: all checks passed; 1: a check failed.

import assert from 'node:assert/strict';
import axe from 'axe-core';
import { checks, launch, TIMEOUT } from './pages.mjs';

const [node, internal, keyed, key] = process.argv.slice(2).map((url) => url.replace(/\/$/, ''));
if (!key) { console.error('usage: node operator.mjs URL_OF_NODE ITS_INTERNAL_LISTENER INTERNAL_LISTENER_WITH_A_KEY KEY'); process.exit(1); }

const PHONE = { width: 390, height: 844 };
const { check, failed } = checks();
const { open, close, errors } = await launch();
/** What a browser reports by itself: the statuses that the page shows, and requests to a node that exited. */
const EXPECTED = /status of (401|404|503)|ERR_(CONNECTION|EMPTY_RESPONSE|SOCKET)/;

/** Waits until the element's text matches. */
const shows = (page, id, pattern) => page.waitForFunction(
  ([name, source]) => new RegExp(source).test(document.getElementById(name).textContent), [id, pattern.source], { timeout: TIMEOUT },
).catch(async () => { throw new Error(`#${id} shows ${JSON.stringify(await page.locator(`#${id}`).textContent())}, not ${pattern}`); });

/** A client that reads chat:1 of the node: what it has received so far, and a promise of its end. */
async function client() {
  const response = await fetch(`${node}/sse/chat:1`);
  const stream = { received: '' };
  stream.ended = (async () => {
    for await (const part of response.body.pipeThrough(new TextDecoderStream())) stream.received += part;
  })();
  return stream;
}

try {
  const page = await open(internal);
  await check('the page shows a ready node without connections', async () => {
    await shows(page, 'state', /^Ready$/);
    await shows(page, 'connections', /^0$/);
    await shows(page, 'checks', /broker ?redis/);
    await shows(page, 'fleet', /Broker ?redis works/);
  });

  const stream = await client();
  await check('a connection that opens is shown', async () => {
    await shows(page, 'connections', /^1$/);
    await shows(page, 'connections-detail', /sse 1/);
  });

  await check('the form publishes, and shows the position', async () => {
    await page.locator('#publish').getByLabel('Channel').fill('chat:1');
    await page.getByLabel('Payload').fill('high water');
    await page.getByRole('button', { name: 'Publish' }).click();
    await shows(page, 'publish-answer', /^Published and kept, position \d+-\d+\.$/);
    const deadline = performance.now() + TIMEOUT;
    while (!stream.received.includes('data: high water')) {
      assert.ok(performance.now() < deadline, `the client received ${stream.received}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  });
  await check('the delivery is counted, with its latency', async () => {
    await shows(page, 'delivered-detail', /^1 in all/);
    await shows(page, 'latency', /\d+(\.\d+)? (µs|ms|s)$/);
  });
  await check('the busiest channels are listed, and a click looks up who is present', async () => {
    await page.getByLabel('by').selectOption('subscribers');
    await page.getByRole('button', { name: 'chat:1' }).click();
    await shows(page, 'presence-answer', /^1 member, 1 session, on all nodes\.$/);
    await shows(page, 'members', /without a user × 1/);
  });
  await check('a channel without presence has a clear answer', async () => {
    await page.locator('#presence-channel').fill('news');
    await page.keyboard.press('Enter');
    await shows(page, 'presence-answer', /presence/);
    assert.ok(await page.locator('#presence-answer.fails').count(), 'it is shown as a fault');
  });

  await check('the drain asks twice, and Cancel or Escape drains nothing', async () => {
    const drain = page.getByRole('button', { name: 'Drain this node' });
    await drain.click();
    await page.getByRole('heading', { name: 'Drain this node?' }).waitFor();
    await page.keyboard.press('Escape');
    await drain.click();
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('heading', { name: 'Drain it now?' }).waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    assert.equal((await (await fetch(`${internal}/readyz`)).json()).checks.drain.phase, 'serving');
  });
  await check('after both questions the node drains, and the page shows its progress and its end', async () => {
    await page.getByRole('button', { name: 'Drain this node' }).click();
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('button', { name: 'Drain now' }).click();
    await shows(page, 'drain-text', /Draining|Closing|closing/);
    await stream.ended;
    assert.match(stream.received, /event: reconnect\n/);
    await shows(page, 'state', /^Exited$/);
    await shows(page, 'lost', /has drained and exited/);
  });
  await page.close();
  const locked = await open(keyed);
  await check('where the node requires a key, the page asks for it and shows a wrong one as wrong', async () => {
    await shows(locked, 'state', /^Ready$/);
    await locked.getByLabel('API key').fill('not the key of this node');
    await locked.keyboard.press('Enter');
    await shows(locked, 'key-error', /refuses this API key \(401\)/);
    await locked.locator('#publish').getByLabel('Channel').fill('news');
    await locked.getByRole('button', { name: 'Publish' }).click();
    await shows(locked, 'publish-answer', /key is missing/);
  });
  await check('the page is accessible, light and dark, and fits a phone', async () => {
    await locked.evaluate(axe.source);
    for (const colorScheme of ['light', 'dark']) {
      await locked.emulateMedia({ colorScheme });
      const { violations } = await locked.evaluate(() => window.axe.run({ resultTypes: ['violations'] }));
      const found = violations.map(({ id, nodes }) => `${id} (${nodes.map(({ target }) => target).join(', ')})`);
      assert.equal(found.join('; '), '', colorScheme);
    }
    const desktop = locked.viewportSize();
    await locked.setViewportSize(PHONE);
    assert.ok(await locked.evaluate(() => document.documentElement.scrollWidth) <= PHONE.width, 'it is wider than a phone');
    await locked.setViewportSize(desktop);
  });
  await check('the key gives access, and stays in the tab only', async () => {
    await locked.getByLabel('API key').fill(key);
    await locked.keyboard.press('Enter');
    await shows(locked, 'top', /no channel has subscribers here/);
    await locked.locator('#publish').getByLabel('Channel').fill('news');
    await locked.getByRole('button', { name: 'Publish' }).click();
    await shows(locked, 'publish-answer', /^Published/);
    await locked.reload();
    await shows(locked, 'top', /no channel has subscribers here/);
    const another = await open(keyed);
    await another.getByLabel('API key').waitFor();
  });
  await check('the browser reports no other error', async () => assert.deepEqual(errors.filter((it) => !EXPECTED.test(it)), []));
} finally {
  await close();
}
process.exit(failed() ? 1 : 0);
