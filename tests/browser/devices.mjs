// The devices page in a real browser, on two nodes and one Redis: its devices publish by MQTT, and panels on both nodes, Redis and
// a shell see and switch them; a device whose node is killed comes back.
//
//   (cd tests/browser && npm ci)
//   TIDEGATE=target/debug/tidegate node tests/browser/devices.mjs
//
// It starts its own Redis and nodes, and needs redis-cli. CHROMIUM selects another browser than /usr/bin/chromium. Exit code 0: all
// checks passed; 1: a check failed.

import { execFileSync, spawn } from 'node:child_process';
import readline from 'node:readline';
import { Node, Redis, Scratch } from './lib/processes.mjs';
import { until } from './lib/wait.mjs';
import { checks, equal, launch, shows, text } from './pages.mjs';

const RULES = '[{pattern="demo:live:**",delivery="latest"},{pattern="demo:**",history={size=500,age="1d"},presence=true}]';
const LAMP = '#panel section:nth-child(4)';
const PLAYS = 'This window plays the devices: 4 of 4 are connected by MQTT.', WATCHES = 'Another window plays the devices, by MQTT.';
const BACK_WITHIN = 30_000;   // milliseconds, with a backoff in it

const { check, failed } = checks();
const scratch = new Scratch();
const redis = await Redis.start(scratch);
const [a, b] = await Promise.all(['a', 'b'].map((name) => Node.start(scratch, { name, redis, settings: { rules: RULES, 'mqtt.listen': '127.0.0.1:0' } })));
const { errors, open, close } = await launch();

const online = (page, options = {}) => page.locator('#panel .mark.on').nth(3).waitFor(options);
const isLit = (page, expected) => page.waitForFunction((lit) => document.getElementById('lamp-on').checked === lit, expected);
/** The words of the page's redis-cli line in a section, for this test's Redis. */
const redisCommand = async (page, section) => {
  const line = await page.locator(`${section} code`, { hasText: 'redis-cli' }).textContent();
  const [, words, payload] = line.match(/^redis-cli ([^']*?)(?: '(.*)')?$/);
  return ['-p', String(redis.port), ...words.split(' '), ...(payload ? [payload] : [])];
};

try {
  await check('a device understands packets that arrive byte by byte, and several in one frame', async () => {
    for (const cut of [(frame) => Array.from(frame, (byte) => Buffer.from([byte])), null]) {
      const page = await open(`${a.url}/demo/devices`, (page) => page.routeWebSocket(/\/ws/, (socket) => {
        const server = socket.connectToServer();
        let held = [];
        server.onMessage((frame) => {
          if (typeof frame === 'string') return socket.send(frame);
          if (cut) return cut(frame).forEach((part) => socket.send(part));
          // CONNACK is needed for the next packet; of others, two are sent as one.
          held.push(frame);
          if (frame[0] !== 0x20 && held.length < 2) return undefined;
          socket.send(Buffer.concat(held));
          held = [];
          return undefined;
        });
      }));
      await online(page);
      await text(page, '#by-mqtt', /"reading"/);
      await page.close();
    }
  });

  const pages = new Map([[await open(`${a.url}/demo/devices`), a], [await open(`${b.url}/demo/devices`), b]]);
  // Which window plays is decided by their ids, which are random.
  const sources = async () => Promise.all([...pages.keys()].map((page) => page.locator('#source').textContent()));
  await until('one window plays', async () => (await sources()).sort().join() === [WATCHES, PLAYS].sort().join(), { found: sources });
  const [player, panel] = (await sources())[0] === PLAYS ? [...pages.keys()] : [...pages.keys()].reverse();

  await check('a value that a device publishes by MQTT reaches the other node’s panel by three protocols, and a plain Redis SUBSCRIBE', async () => {
    await online(panel);
    const subscribing = spawn('redis-cli', await redisCommand(panel, '#reading'), { stdio: ['ignore', 'pipe', 'inherit'] });
    const received = [];
    readline.createInterface(subscribing.stdout).on('line', (line) => received.push(line));
    try {
      await until('Redis has what the panel shows', async () => received.includes(await panel.locator('#by-json').textContent()), { found: () => received.slice(-3) });
    } finally {
      subscribing.kill();
    }
    await shows(panel, /Publication \d+ is the same in all three\./);
    await panel.locator('#reading code', { hasText: 'mosquitto_sub -L mqtt://127.0.0.1:' }).waitFor();
  });
  await check('a switch on the panel, by json, and a PUBLISH in Redis reach the device on the other node', async () => {
    await isLit(panel, true);
    execFileSync('redis-cli', await redisCommand(panel, '#shell'));
    for (const page of [panel, player]) await isLit(page, false);
    await text(panel, `${LAMP} .reading`, '0.0 W');
    await panel.getByLabel('Lit').check();
    await text(panel, `${LAMP} .pending`, /^done after/);
    for (const page of [panel, player]) await isLit(page, true);
    await text(panel, `${LAMP} .reading`, /^9\d\.\d W/);
  });
  await check('devices whose node is killed return with their settings, and execute what was sent meanwhile', async () => {
    const node = pages.get(player);
    await panel.getByLabel(/Opening/).fill('90');
    await panel.getByLabel(/Opening/).dispatchEvent('change');
    await text(player, 'label[for=gate-open]', 'Opening: 90 %');
    await node.kill();
    await panel.locator('#panel .mark:not(.on)', { hasText: 'offline' }).nth(3).waitFor();
    await panel.getByLabel('Lit').uncheck();
    await text(panel, `${LAMP} .pending`, /^no answer yet, sent again/);
    await node.run();
    await online(panel, { timeout: BACK_WITHIN });
    // Its panel's connection has a backoff of its own.
    await player.waitForFunction((expected) => document.getElementById('source').textContent === expected && document.documentElement.dataset.state === 'open', PLAYS, { timeout: BACK_WITHIN });
    await text(panel, `${LAMP} .pending`, /^done after/);
    for (const page of [panel, player]) {
      await isLit(page, false);
      await text(page, 'label[for=gate-open]', 'Opening: 90 %');
    }
  });
  await check('a device is told why its node refuses it', async () => {
    const page = await open(`${a.url}/demo/devices`, (page) => page.routeWebSocket(/\/ws/, (socket) => {
      const server = socket.connectToServer();
      server.onMessage((frame) => socket.send(typeof frame === 'string' ? frame : Buffer.from([0x20, 2, 0, 5])));
    }));
    for (const other of pages.keys()) await other.close();
    await text(page, '#source', /0 of 4 are connected by MQTT\. This needs a token/);
    await page.close();
  });
  await check('no page has thrown', async () => equal(errors.filter((error) => !/WebSocket connection|ERR_|Failed to load resource/.test(error)).join('; '), '', 'console'));
} catch (error) {
  console.log(`FAIL  ${error.stack}`);
  process.exitCode = 1;
} finally {
  await close();
}
for (const node of [a, b]) for (const line of node.panics()) { console.log(`FAIL  ${node.name}: ${line}`); process.exitCode = 1; }
if (failed()) process.exitCode = 1;
console.log(failed() ? `${failed()} failed` : 'all passed');
process.exit();
