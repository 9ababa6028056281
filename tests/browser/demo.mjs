// The demo pages in a real browser: two windows of each show each other's actions, and each page is accessible and loads
// without errors.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/demo.mjs http://127.0.0.1:8080 http://127.0.0.1:8081 http://127.0.0.1:8082
//
// The first node has its default settings. The others share a Redis and have the rules of the demo pages. CHROMIUM selects
// another browser than /usr/bin/chromium. Exit code 0: all checks passed; 1: a check failed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import axe from 'axe-core';
import { checks, equal, launch, shows, state, text } from './pages.mjs';

const [node, nodeA, nodeB] = process.argv.slice(2).map((url) => url.replace(/\/$/, ''));
if (!nodeB) { console.error('usage: node demo.mjs URL_OF_NODE URL_OF_NODE_A URL_OF_NODE_B'); process.exit(1); }

const ALL = ['/', '/demo/chat', '/demo/ticker', '/demo/board', '/demo/notes', '/demo/notify', '/demo/devices', '/demo/game', '/demo/assistant', '/demo/inspector'];
const PHONE = { width: 390, height: 844 };
// make run and make test bundle it before they build.
const hasYjs = fs.existsSync(new URL('../../target/demo/yjs.js', import.meta.url));
const { check, failed } = checks();
const { browser, errors, open, close } = await launch();

const message = (page, content, kind = '.msg') => page.locator(`#log ${kind} .body`, { hasText: content }).first().waitFor();
const say = async (page, content) => {
  await page.locator('#text').fill(content);
  await page.locator('#text').press('Enter');
};
/** Opens a page whose WebSocket goes through `links[0]`, which the test can close. */
const openWithLink = async (url, links) => open(url, (page) => page.routeWebSocket(/\/ws/, (socket) => {
  links[0] = socket;
  socket.connectToServer();
}));

try {
  const blank = await browser.newPage();
  await blank.goto(`${node}/demo/icon.svg`);
  const globals = (page) => page.evaluate(() => Object.getOwnPropertyNames(window));
  const usual = new Set([...await globals(blank), '__ $YJS$ __']);   // Yjs notices by it that it is there twice
  await blank.close();
  const loads = (path) => check(`${path} loads, is accessible in light and dark, fits a phone, and declares no global names`, async () => {
    const page = await open(node + path);
    if (path !== '/demo/inspector') await state(page, 'open');
    await page.locator('#shell pre, #text').first().waitFor();
    const added = (await globals(page)).filter((name) => !usual.has(name) && !/^\d+$/.test(name));
    equal(added.join(), '', 'global names');
    await page.evaluate(axe.source);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      const { violations } = await page.evaluate((runOnly) => window.axe.run({ resultTypes: ['violations'], ...runOnly && { runOnly } }), colorScheme === 'dark' ? ['color-contrast'] : null);
      const found = violations.map(({ id, nodes }) => `${id} (${nodes.map(({ target }) => target).join(', ')})`);
      equal(found.join('; '), '', colorScheme);
    }
    await page.setViewportSize(PHONE);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > PHONE.width) throw new Error(`it is ${width} pixels wide on a phone`);
    await page.close();
  });
  for (let first = 0; first < ALL.length; first += 3) await Promise.all(ALL.slice(first, first + 3).map(loads));
  await check('the index has a card for each page', async () => {
    const page = await open(`${node}/`);
    const links = await page.locator('.card a').evaluateAll((all) => all.map((it) => it.getAttribute('href')));
    equal(links.sort().join(), ALL.slice(1).sort().join(), 'the links');
    await page.close();
  });

  await check('chat: a message shows in the other window, with who typed it and who has read it', async () => {
    const [a, b] = [await open(`${node}/demo/chat#beach`), await open(`${node}/demo/chat#beach`)];
    const [nameA, nameB] = [await a.getByLabel('Your name').inputValue(), await b.getByLabel('Your name').inputValue()];
    if (nameA === nameB) throw new Error(`both windows are called ${nameA}`);
    await a.locator('#here', { hasText: nameB }).waitFor();
    await b.locator('#here', { hasText: nameA }).waitFor();
    await b.locator('#text').pressSequentially('low');
    await shows(a, `${nameB} is typing …`);
    await say(b, 'low tide at six <b>sharp</b>');
    await message(a, 'low tide at six <b>sharp</b>', '.msg:not(.mine)');
    await message(b, 'low tide at six <b>sharp</b>', '.msg.mine');
    await shows(b, `read by ${nameA}`);
    await text(b, '#sessions', /2 sessions/);
    await b.reload();
    await message(b, 'low tide at six <b>sharp</b>');
    equal(await b.getByLabel('Your name').inputValue(), nameB, 'the name after a reload');
    await b.goto('about:blank');
    await a.waitForFunction((name) => !document.getElementById('here').textContent.includes(name), nameB);
    await Promise.all([a.close(), b.close()]);
  });
  await check('chat: what is published from the shell line and by other services is shown', async () => {
    const page = await open(`${node}/demo/chat#${encodeURIComponent('fish market')}`);
    await text(page, '#current', 'harbour'); // white space is not allowed in a name
    const [, payload, url] = (await page.locator('#shell code').first().textContent()).match(/^curl -d '(.*)' (http:.*)$/);
    for (const body of [payload, 'a plain string', '{"level":5}']) equal((await fetch(url, { method: 'POST', body })).status, 202, 'the status');
    for (const shown of ['Hello from a shell', 'a plain string', '{"level":5}']) await message(page, shown);
    await page.close();
  });
  await check('chat: a window whose connection is lost catches up, and says so', async () => {
    const links = [];
    const [a, b] = [await openWithLink(`${node}/demo/chat`, links), await open(`${node}/demo/chat`)];
    await state(a, 'open');
    await state(b, 'open');
    await links[0].close({ code: 4009, reason: 'test' });
    await say(b, 'while you were away');
    await message(a, 'while you were away');
    await shows(a, /Reconnected after [\d.]+ s, (1 missed message caught up|nothing missed)/);
    await Promise.all([a.close(), b.close()]);
  });
  await check('chat: after a reconnect with a gap, the page does not say that nothing was missed', async () => {
    const links = [];
    const forget = (frame) => String(frame).replaceAll('"recovered":true', '"recovered":false');   // as after a restart without Redis
    const page = await open(`${node}/demo/chat`, (page) => page.routeWebSocket(/\/ws/, (socket) => {
      links.push(socket);
      const server = socket.connectToServer();
      server.onMessage((frame) => socket.send(forget(frame)));
    }));
    await text(page, '#sessions', /session/);   // answered after the subscriptions
    await links[0].close({ code: 4009, reason: 'test' });
    await shows(page, 'Messages may be missing here');
    await shows(page, /Reconnected after/);
    await say(page, 'after the gap');           // answered after the presence that the page asks for when it is back
    await page.waitForFunction(() => document.querySelector('#log').innerText.includes('after the gap') && !document.querySelector('#log').innerText.includes('sending'));
    equal(await page.evaluate(() => document.querySelector('#log').textContent.includes('nothing missed')), false, 'a false assurance');
    await page.close();
  });
  await check('chat: rooms have unread counts, and back and forward change the room', async () => {
    const [a, b] = [await open(`${node}/demo/chat#harbour`), await open(`${node}/demo/chat#lighthouse`)];
    await state(a, 'open');
    await say(b, 'light on');
    await text(a, 'a[href="#lighthouse"] .badge', /\d+/);
    await a.getByRole('link', { name: /lighthouse/ }).click();
    await message(a, 'light on');
    await a.goBack();
    await text(a, '#current', 'harbour');
    await Promise.all([a.close(), b.close()]);
  });

  const number = (page, selector, least) => page.waitForFunction(([where, from]) => Number(document.querySelector(where).textContent.replace(/[^\d]/g, '')) >= from, [selector, least]);
  // In pairs, because they mostly wait.
  const ticker = check('ticker: one window makes hundreds of updates a second, and the other shows them with their latency', async () => {
    const [a, b] = [await open(`${node}/demo/ticker`), await open(`${node}/demo/ticker`)];
    await number(b, '#rate', 100);
    await text(b, '#median', /^\d+ ms$/);
    await text(b, 'tbody tr:first-child td', /^\d+\.\d\d$/);
    const sources = async () => (await Promise.all([a, b].map((page) => page.locator('#source').textContent()))).sort().join();
    equal(await sources(), 'Another window makes the prices up.,This window makes the prices up.', 'the sources');
    await Promise.all([a.close(), b.close()]);
  });
  await check('board: a stroke and a cursor show in the other window, and the stroke in one that comes later', async () => {
    const [a, b] = [await open(`${node}/demo/board`), await open(`${node}/demo/board`)];
    await state(a, 'open');
    await state(b, 'open');
    await a.getByRole('button', { name: 'Clear' }).click();
    const { x, y, width, height } = await a.locator('#canvas').boundingBox();
    await a.mouse.move(x + width / 4, y + height / 4);
    await a.mouse.down();
    await a.mouse.move(x + width / 2, y + height / 2, { steps: 5 });
    await a.mouse.up();
    await text(b, '#strokes', '1');
    const left = await b.locator('.cursor', { hasText: await a.getByLabel('Your name').inputValue() }).evaluate((label) => Number.parseFloat(label.style.left));
    if (Math.abs(left - 50) > 1) throw new Error(`the cursor is at ${left} %`);
    await b.locator('#canvas').focus();
    for (const key of [' ', 'ArrowRight', 'ArrowDown', ' ']) await b.keyboard.press(key);
    await text(a, '#strokes', '2');
    await b.reload();
    await text(b, '#strokes', '2');
    await Promise.all([a.close(), b.close()]);
  });
  await ticker;
  if (hasYjs) await check('notes: texts typed at the same time in two windows merge to one, which a later window reads from a snapshot', async () => {
    const [a, b] = [await open(`${node}/demo/notes#n${Date.now()}`), await browser.newPage()];
    await b.goto(a.url());
    const content = (page, expected) => page.waitForFunction((wanted) => document.getElementById('text').value === wanted, expected);
    for (const page of [a, b]) await text(page, '#saved', 'saved');
    await a.locator('#text').fill('tide\n');
    await content(b, 'tide\n');
    await a.locator('#text').press('Control+Home');
    await b.locator('#text').press('Control+End');
    await Promise.all([a.locator('#text').pressSequentially('high ', { delay: 20 }), b.locator('#text').pressSequentially('at noon 🌊', { delay: 20 })]);
    for (const page of [a, b]) await content(page, 'high tide\nat noon 🌊');
    for (let update = 0; update < 30; update += 1) {
      await b.locator('#text').fill(`high tide\nat noon 🌊${'~'.repeat(update)}`);
      await text(b, '#saved', 'saved');
    }
    await a.waitForFunction(() => Number(document.getElementById('updates').textContent) < 25);
    const later = await open(a.url());
    await content(later, `high tide\nat noon 🌊${'~'.repeat(29)}`);
    const read = Number(await later.locator('#updates').textContent());
    if (read >= 25) throw new Error(`it read ${read} updates`);
    await Promise.all([a, b, later].map((page) => page.close()));
  });
  else await check('notes: without Yjs, the page says how to get it', async () => {
    const page = await browser.newPage();
    await page.goto(`${node}/demo/notes`);
    await shows(page, 'This node was built without Yjs');
    await page.close();
  });
  const notify = check('notify: what is read on one device is read on the other, and another user gets none of it', async () => {
    const [a, b, other] = [await open(`${node}/demo/notify#ada`), await open(`${node}/demo/notify#ada`), await open(`${node}/demo/notify#linus`)];
    await text(a, '#here', /this one./);
    if (await a.locator('#all').isEnabled()) await a.locator('#all').click();   // of an earlier run on the same node
    await text(b, '#unread', 'nothing unread');
    for (const content of ['The tide turns', 'The ferry is late']) {
      await other.getByLabel('To', { exact: true }).selectOption('ada');
      await other.getByLabel('Text').fill(content);
      await other.getByRole('button', { name: 'Send', exact: true }).click();
      await shows(a, content);
    }
    await text(b, '#unread', '2 unread');
    await a.getByRole('button', { name: 'Mark as read', exact: true }).first().click();
    await text(b, '#unread', '1 unread');
    equal(await b.title(), '(1) Notifications · Tidegate', 'the title');
    await b.getByRole('button', { name: 'Mark all as read' }).click();
    await text(a, '#unread', 'nothing unread');
    await b.reload();
    await shows(b, 'The ferry is late');
    await text(b, '#unread', 'nothing unread');
    equal(await other.locator('#list li').count(), 0, 'notifications of another user');
    await Promise.all([a, b, other].map((page) => page.close()));
  });
  await check('devices: a command from either window or the shell reaches the device, whose status shows in both', async () => {
    const [a, b] = [await open(`${node}/demo/devices`), await open(`${node}/demo/devices`)];
    for (const page of [a, b]) await page.locator('#panel .mark.on').nth(3).waitFor();
    for (const [page, opening] of [[a, 75], [b, 20]]) {
      await page.getByLabel(/Opening/).fill(String(opening));
      await page.getByLabel(/Opening/).dispatchEvent('change');
      await text(page, '#panel .pending', /^done after/);
      for (const each of [a, b]) await text(each, 'label[for=gate-open]', `Opening: ${opening} %`);
    }
    const [, payload, url] = (await a.locator('#shell code', { hasText: 'curl' }).textContent()).match(/^curl -d '(.*)' (http:.*)$/);
    equal((await fetch(url, { method: 'POST', body: payload })).status, 202, 'the status');
    await b.waitForFunction(() => !document.getElementById('lamp-on').checked);
    await Promise.all([a.close(), b.close()]);
  });
  await notify;
  const game = check('game: each window shows the other boat and those without a player, at hundreds of positions a second', async () => {
    const [a, b] = [await open(`${node}/demo/game`), await open(`${node}/demo/game`)];
    for (const page of [a, b]) {
      await number(page, '#boats', 22);
      await number(page, '#rate', 100);
    }
    await a.locator('#bots').fill('0');
    await text(b, '#boats', '2');
    await text(b, '#scores', new RegExp(await a.getByLabel('Your boat').inputValue()));
    await a.locator('#canvas').focus();
    await a.keyboard.down('ArrowLeft');
    await number(b, '#rate', 10);
    await text(a, '#latency', /ms/);
    await Promise.all([a.close(), b.close()]);
  });

  await check('assistant: an answer shows in windows of two nodes, late and reloaded ones too, is stopped from one, and ends with its worker', async () => {
    const script = new URL('../../examples/assistant.mjs', import.meta.url).pathname;
    const worker = spawn(process.execPath, [script, nodeA], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(worker, 'exit');
    try {
      await once(worker.stdout, 'data');
      const [a, b] = [await open(`${nodeA}/demo/assistant`), await open(`${nodeB}/demo/assistant`)];
      const [newest, answer, status] = ['#list li:first-child', '#list li:first-child .answer', '#list li:first-child .status'];
      const ask = async (question) => {
        await a.getByLabel('Ask the fake model').fill(question);
        await a.getByRole('button', { name: 'Ask', exact: true }).click();
        for (const page of [a, b]) await text(page, answer, new RegExp(`You asked: ${question}`));
      };
      const same = async () => equal(await b.locator(answer).textContent(), await a.locator(answer).textContent(), 'the answer in the other window');
      await ask('Is it low tide');
      await b.reload();                        // in the middle of the answer
      for (const page of [a, b]) await text(page, status, 'answered');
      await same();
      equal((await a.locator(answer).textContent()).match(/You asked/g).length, 3, 'parts of the answer');
      await ask('Is it high tide');
      await b.locator(newest).getByRole('button', { name: /Stop/ }).click();
      for (const page of [a, b]) await text(page, status, 'stopped');
      await same();
      await ask('Are you there');
      worker.kill('SIGKILL');
      await ended;
      for (const page of [a, b]) await page.locator(`${newest}[data-ended=abandoned]`).waitFor({ timeout: 30_000 });   // the lease
      await same();
      await Promise.all([a.close(), b.close()]);
    } finally {
      worker.kill('SIGKILL');
    }
  });
  await check('inspector: each transport shows frames, positions and latency', async () => {
    const page = await open(`${node}/demo/inspector#demo:inspected:${Date.now()}`);
    const toggle = (name) => page.getByRole('button', { name, exact: true }).click();
    await toggle('Connect');
    await state(page, 'open');
    for (const command of ['subscribe', 'publish', 'ping']) {
      await page.getByRole('button', { name: command, exact: true }).click();
      await toggle('Send');
    }
    await shows(page, /"type":"publication".*"hello":"world"/);
    await shows(page, /"type":"pong"/);
    await text(page, '#position', /^\d+-1$/);
    await text(page, '#latency', /ms/);
    await toggle('Disconnect');
    await shows(page, 'Closed with 1000.');
    for (const [transport, sent] of [['plain', 'by a plain frame'], ['sse', 'by POST, to a stream'], ['poll', 'by POST, to a poll']]) {
      await page.getByLabel('Transport and protocol').selectOption(transport);
      await toggle('Connect');
      await state(page, 'open');
      await page.locator('#text').fill(sent);
      await toggle('Send');
      await page.locator('.frame.in', { hasText: sent }).waitFor();
      await toggle('Disconnect');
      await state(page, 'closed');
    }
    await page.close();
  });
  await game;
  await check('inspector: a close code is explained', async () => {
    const links = [];
    const page = await openWithLink(`${node}/demo/inspector`, links);
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await state(page, 'open');
    await links[0].close({ code: 4003, reason: 'test' });
    await shows(page, 'Closed with 4003.');
    await text(page, 'tr.now', /4003The channel is forbidden/);
    const isSeen = (selector) => page.locator(selector).evaluate((it) => { const { top, bottom } = it.getBoundingClientRect(); return top >= 0 && bottom <= innerHeight; });
    equal(await isSeen('tr.now'), true, 'the code is in view beside the frames');
    await page.setViewportSize(PHONE);
    await page.evaluate(() => scrollTo(0, 0));
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await state(page, 'open');
    const before = await page.evaluate(() => scrollY);
    await links[0].close({ code: 4029, reason: 'test' });
    await text(page, 'tr.now', /4029/);
    equal(await page.evaluate(() => scrollY), before, 'a phone stays where it was');
    await page.close();
  });

  await check('chat: two nodes show the same room, and the shell line names Redis', async () => {
    const [a, b] = [await open(`${nodeA}/demo/chat`), await open(`${nodeB}/demo/chat`)];
    await state(b, 'open');
    await say(a, 'across nodes');
    await message(b, 'across nodes', '.msg:not(.mine)');
    await a.locator('#shell code', { hasText: /^redis-cli FCALL tidegate_publish 1 .*demo:chat:harbour '/ }).waitFor();
    await Promise.all([a.close(), b.close()]);
  });
  await check('no page has thrown or was refused anything by its Content-Security-Policy', async () => equal(errors.join('; '), '', 'console'));
} catch (error) {
  console.log(`FAIL  ${error.stack}`);
  process.exitCode = 1;
} finally {
  await close();
}
if (failed()) process.exitCode = 1;
console.log(failed() ? `${failed()} failed` : 'all passed');
