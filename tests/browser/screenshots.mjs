// Takes the pictures of the demo pages in docs/images, each with two active windows, so that it shows what the page is for.
//
//   (cd tests/browser && npm ci)
//   node tests/browser/screenshots.mjs NODE NODE_A NODE_B redis://127.0.0.1:6379 docs/images
//
// NODE is fresh, has its default settings and was built with Yjs. NODE_A and NODE_B share that Redis, with the default prefix and the rules
// of docs/DEMO.md. It needs redis-cli. CHROMIUM selects another browser than /usr/bin/chromium.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { launch, shows, state, text } from './pages.mjs';

const [node, nodeA, nodeB, redis, folder] = process.argv.slice(2);
if (!folder) { console.error('usage: node screenshots.mjs NODE NODE_A NODE_B URL_OF_REDIS FOLDER'); process.exit(1); }

const DESKTOP = { width: 1280, height: 800 }, PHONE = { width: 390, height: 844 };
const WINDOW = { width: 540, height: 530 };   // of the README's picture
const GAP = 24, MARGIN = 16;

const data = (buffer) => `data:image/png;base64,${buffer.toString('base64')}`;

async function say(page, content) {
  await page.locator('#text').fill(content);
  await page.locator('#text').press('Enter');
}

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
    const [ada, grace] = [await join(nodeA, 'Ada'), await join(nodeB, 'Grace')];
    let count = 0;
    const publish = async (send) => {
      await send();
      count += 1;
      await Promise.all([ada, grace].map((page) => page.waitForFunction((n) => document.querySelectorAll('#log .msg').length === n, count)));
    };
    await publish(() => say(ada, 'Hello from the first node!'));
    await publish(() => say(grace, 'And hello from the second one.'));
    await publish(() => execFileSync('redis-cli', ['-u', redis, 'FCALL', 'tidegate_publish', '1', 'tidegate:demo:chat:harbour', '{"name":"redis-cli","text":"A line from redis-cli."}']));
    await publish(() => say(ada, 'Redis carries this between us.'));
    await shows(ada, 'read by Grace');
    await shows(grace, 'read by Ada');
    const images = [];
    for (const page of [ada, grace]) {
      await page.bringToFront();
      await page.locator('#text').blur();
      await page.evaluate(() => scrollTo(0, 0));
      images.push(`<img src="${data(await page.screenshot())}">`);
    }
    const both = await browser.newPage();
    await both.setViewportSize({ width: 2 * WINDOW.width + GAP + 2 * MARGIN, height: WINDOW.height + 2 * MARGIN });
    await both.setContent(`<style>
      body { margin: ${MARGIN}px; display: flex; gap: ${GAP}px; }
      img { border-radius: 12px; box-shadow: 0 0 0 1px #9fb3ba, 0 3px 10px #0003; }
    </style>${images.join('')}`);
    const picture = data(await both.screenshot({ omitBackground: true }));
    const webp = await both.evaluate(async (src) => {
      const image = new Image();
      image.src = src;
      await image.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
      canvas.getContext('2d').drawImage(image, 0, 0);
      return canvas.toDataURL('image/webp', 0.85).split(',')[1];
    }, picture);
    fs.writeFileSync(path.join(folder, 'demo.webp'), Buffer.from(webp, 'base64'));
  } finally {
    await close();
  }
}

/** What happens in the two windows `a` and `b` of each page before the picture of `a` is taken. */
const ACTS = {
  async chat(a, b) {
    await say(b, 'High tide at noon, low tide at six.');
    await say(a, 'Thanks! Is the harbour open?');
    await say(b, 'Yes, until eight.');
    await shows(a, /read by/);
    await b.locator('#text').pressSequentially('And tomorrow');
    await shows(a, /is typing/);
  },
  async ticker(a) {
    await a.waitForTimeout(9000);
    await text(a, '#median', /ms/);
  },
  async board(a, b) {
    const draw = async (page, pen, ...points) => {
      await page.bringToFront();
      await page.getByRole('radio', { name: pen }).check();
      const box = await page.locator('#canvas').boundingBox();
      const move = ([x, y], steps = 1) => page.mouse.move(box.x + x / 1200 * box.width, box.y + y / 900 * box.height, { steps });
      await move(points[0]);
      await page.mouse.down();
      for (const point of points.slice(1)) await move(point, 8);
      await page.mouse.up();
    };
    const wave = (y) => Array.from({ length: 45 }, (_, index) => [60 + index * 24, y + 30 * Math.sin(index / 3)]);
    await draw(a, 'Tide', ...wave(620));
    await draw(a, 'Tide', ...wave(720));
    await draw(a, 'Ink', [420, 520], [470, 590], [740, 590], [790, 520], [420, 520]);
    await draw(a, 'Ink', [600, 520], [600, 180]);
    await draw(b, 'Red', [615, 200], [770, 480], [615, 480], [615, 200]);
    await draw(b, 'Amber', ...Array.from({ length: 33 }, (_, index) => [980 + 70 * Math.cos(index / 5), 190 + 70 * Math.sin(index / 5)]));
    await b.mouse.move(...await b.locator('#canvas').boundingBox().then(({ x, y, width, height }) => [x + width * 0.7, y + height * 0.35]), { steps: 3 });
    await text(a, '#strokes', /^([6-9]|\d\d)$/);   // a long stroke is several
    await a.locator('.cursor').waitFor();
  },
  async notes(a, b) {
    await text(b, '#saved', 'saved');
    await a.locator('#text').fill('# Harbour log\n\n06:12  low tide, 0.8 m\n12:24  high tide, 3.4 m\n');
    await b.waitForFunction(() => document.getElementById('text').value.includes('3.4'));
    await b.locator('#text').press('Control+End');
    await b.locator('#text').pressSequentially('18:40  low tide, 0.9 m\n');
    await a.waitForFunction(() => document.getElementById('text').value.includes('0.9'));
    await a.locator('#here', { hasText: 'line 6' }).waitFor();
  },
  async notify(a, b) {
    await b.getByRole('heading', { name: /For ada/ }).waitFor();
    for (const content of ['Your mooring was renewed.', 'Ferry 12 is late by 20 minutes.', 'The tide turns at noon.']) {
      await b.getByLabel('Text').fill(content);
      await b.getByRole('button', { name: 'Send', exact: true }).click();
      await shows(a, content);
    }
    await b.getByRole('button', { name: 'Mark as read', exact: true }).last().click();
    await text(a, '#unread', '2 unread');
  },
  async devices(a) {
    await a.locator('#panel .mark.on').nth(3).waitFor();
    await a.getByLabel(/Opening/).fill('75');
    await a.getByLabel(/Opening/).dispatchEvent('change');
    await shows(a, /done after/);
    await shows(a, /the same in all three/);
    await a.waitForTimeout(2500);
  },
  async game(a) {
    await a.waitForTimeout(12_000);
    await a.locator('#canvas').focus();
    await a.keyboard.down('ArrowRight');
    await a.waitForTimeout(1300);
    await a.keyboard.up('ArrowRight');
    await a.evaluate(() => document.activeElement.blur());
  },
  async assistant(a, b) {
    const worker = spawn(process.execPath, [new URL('../../examples/assistant.mjs', import.meta.url).pathname, node], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(worker.stdout, 'data');
      for (const question of ['What does a tide gate do?', 'When is high tide?', 'Where does the water go?']) {
        await b.getByLabel('Ask the fake model').fill(question);
        await b.getByRole('button', { name: 'Ask', exact: true }).click();
        await shows(a, `You asked: ${question}`);
        if (question.startsWith('When')) await a.getByRole('button', { name: /Stop/ }).first().click();
        if (!question.startsWith('Where')) await text(a, '#list li:first-child .status', /answered|stopped/);
      }
      await a.waitForTimeout(700);
    } finally {
      setTimeout(() => worker.kill(), 5000).unref();
    }
  },
  async inspector(a) {
    await a.getByRole('button', { name: 'Connect', exact: true }).click();
    await state(a, 'open');
    for (const command of ['subscribe', 'publish', 'presence', 'ping']) {
      await a.getByRole('button', { name: command, exact: true }).click();
      await a.getByRole('button', { name: 'Send', exact: true }).click();
    }
    await shows(a, /"pong"/);
  },
};

/** The page on a desktop in light, and on a phone in dark, beside each other and small. */
async function picture(name) {
  const { browser, open, close } = await launch({ viewport: DESKTOP, colorScheme: 'light' });
  try {
    const url = `${node}${name === 'index' ? '/' : `/demo/${name}`}`;
    const [a, b] = [await open(url), await open(url)];
    if (name !== 'inspector') for (const page of [a, b]) await state(page, 'open');
    await a.bringToFront();
    await ACTS[name]?.(a, b);
    await a.bringToFront();
    await a.evaluate(() => document.activeElement?.blur());
    await a.waitForTimeout(name === 'index' ? 2600 : 300);   // the water in the header has risen
    const desktop = data(await a.screenshot());
    await a.setViewportSize(PHONE);
    await a.emulateMedia({ colorScheme: 'dark' });
    await a.waitForTimeout(700);
    await a.evaluate(() => scrollTo(0, 0));
    const phone = data(await a.screenshot());
    const canvas = await browser.newPage();
    const webp = await canvas.evaluate(async (sources) => {
      const [wide, tall] = await Promise.all(sources.map(async (src) => { const image = new Image(); image.src = src; await image.decode(); return image; }));
      const height = 520, width = (image) => Math.round(image.width / image.height * height), gap = 20, pad = 8;
      const sheet = Object.assign(document.createElement('canvas'), { width: width(wide) + width(tall) + gap + 2 * pad, height: height + 2 * pad });
      const context = sheet.getContext('2d');
      context.imageSmoothingQuality = 'high';
      [[wide, pad], [tall, pad + width(wide) + gap]].forEach(([image, x]) => {
        const frame = new Path2D();
        frame.roundRect(x, pad, width(image), height, 10);
        context.save();
        context.clip(frame);
        context.drawImage(image, x, pad, width(image), height);
        context.restore();
        context.lineWidth = 1.5;
        context.strokeStyle = '#8fa5ad';
        context.stroke(frame);
      });
      return sheet.toDataURL('image/webp', 0.74).split(',')[1];
    }, [desktop, phone]);
    fs.writeFileSync(path.join(folder, `demo-${name}.webp`), Buffer.from(webp, 'base64'));
  } finally {
    await close();
  }
}

fs.mkdirSync(folder, { recursive: true });
const only = process.env.ONLY?.split(',');
if (!only || only.includes('readme')) await twoNodes();
for (const name of ['index', ...Object.keys(ACTS)]) if (!only || only.includes(name)) await picture(name);
for (const file of fs.readdirSync(folder)) console.log(`${file}: ${(fs.statSync(path.join(folder, file)).size / 1024).toFixed(0)} KiB`);
