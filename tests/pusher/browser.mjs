// pusher-js in Chromium, loaded with a script tag by a page of another origin, against two real nodes on Redis: channels of each kind,
// signed by the page's backend, events of clients, members, sign-in, and a node that is killed.
//
//   (cd tests/pusher && npm ci; cd ../browser && npm ci)
//   node tests/pusher/browser.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import { Browser } from '../browser/lib/browser.mjs';
import { Checks } from '../browser/lib/checks.mjs';
import { Node, Redis, Scratch } from '../browser/lib/processes.mjs';
import { APP, SETTINGS, server } from './application.mjs';
import { balance } from '../browser/lib/balancer.mjs';
import { Site } from './site.mjs';

/** Names of the site. Pages of the first may connect. A node on loopback accepts loopback's names of pages without a list. */
const [LISTED, UNLISTED] = ['shop.test', 'other.test'];

const site = await Site.listen();
const scratch = new Scratch('tidegate-pusher-');
const redis = await Redis.start(scratch);
const settings = { ...SETTINGS, 'server.origins': `["http://${LISTED}:${site.port}"]` };
const [a, b] = await Promise.all(['a', 'b'].map((name) => Node.start(scratch, { name, redis, settings })));
const balancer = await balance([a, b]);
const browser = await Browser.launch('chromium', ['--host-resolver-rules=MAP *.test 127.0.0.1']);

/** A page whose user has a client `pusher`; `seen` is what it was told. */
async function open(user, port, host = LISTED) {
  const page = await browser.open(`http://${host}:${site.port}/`);
  await page.evaluate(({ key, user, port }) => {
    window.seen = { states: [], events: [] };
    window.pusher = new Pusher(key, {
      cluster: '', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws'], disableStats: true, unavailableTimeout: 500,
      channelAuthorization: { endpoint: '/pusher/auth', params: { user } }, userAuthentication: { endpoint: '/pusher/user-auth', params: { user } },
    });
    window.pusher.connection.bind('state_change', ({ current }) => window.seen.states.push(current));
  }, { key: APP.key, user, port });
  return page;
}

async function connect(user, port) {
  const page = await open(user, port);
  await page.until('the page is connected', () => window.pusher.connection.state === 'connected');
  return page;
}

async function subscribe(page, channels) {
  await page.evaluate((channels) => channels.forEach((it) => {
    window.pusher.subscribe(it).bind_global((event, data) => window.seen.events.push([event, data]));
  }), channels);
  await page.until('the channels are subscribed', (channels) => channels.every((it) => window.pusher.channel(it).subscribed), channels);
}

const got = (page, event, data) => page.until(`it gets ${event} with ${data}`, ([event, data]) => window.seen.events
  .some(([name, value]) => name === event && JSON.stringify(value) === data), [event, data]);

const members = (page, room, users) => page.until(`the members of ${room} are ${users}`, ([room, users]) => {
  const { members } = window.pusher.channel(room);
  return Object.keys(members.members).sort().join() === users && members.count === users.split(',').length;
}, [room, users]);

const KINDS = ['news', 'private-orders', 'private-encrypted-orders', 'presence-room', 'cache-prices'];
let ada, bo;

const checks = {
  async 'a page of an origin that is not listed does not connect'() {
    const page = await open('eve', a.port, UNLISTED);
    await page.until('the client gives up for a while', () => window.pusher.connection.state === 'unavailable');
    assert.ok(!(await page.evaluate(() => window.seen.states)).includes('connected'));
    await page.close();
  },

  async 'pages on two nodes subscribe to each kind of channel, with the signatures of their backend'() {
    [ada, bo] = await Promise.all([connect('ada', balancer.port), connect('bo', b.port)]);
    await subscribe(ada, KINDS);
    await subscribe(bo, KINDS);
    await got(ada, 'pusher:cache_miss', '{}');
  },

  async 'the server library\'s events arrive on both nodes, and decrypted'() {
    for (const channel of KINDS) await server(a.port).trigger(channel, `order-${channel}`, { of: channel });
    for (const page of [ada, bo]) for (const channel of KINDS) await got(page, `order-${channel}`, JSON.stringify({ of: channel }));
  },

  async 'a page that subscribes to a cache channel gets its last event'() {
    const late = await connect('ada', b.port);
    await subscribe(late, ['cache-prices']);
    await got(late, 'order-cache-prices', '{"of":"cache-prices"}');
    await late.close();
  },

  async 'an event of a page reaches the other page and not itself'() {
    assert.ok(await ada.evaluate(() => window.pusher.channel('private-orders').trigger('client-typed', { by: 'ada' })));
    await got(bo, 'client-typed', '{"by":"ada"}');
    // Its own answer to a later event shows that nothing came before.
    await server(b.port).trigger('private-orders', 'after', 1);
    await got(ada, 'after', '1');
    assert.ok(!(await ada.evaluate(() => window.seen.events)).some(([event]) => event === 'client-typed'));
  },

  async 'pages see the members of both nodes, and a page that is closed leaves'() {
    const carol = await connect('carol', a.port);
    await subscribe(carol, ['presence-room']);
    for (const page of [ada, bo, carol]) await members(page, 'presence-room', 'ada,bo,carol');
    assert.equal(await ada.evaluate(() => window.pusher.channel('presence-room').members.get('carol').info.name), 'CAROL');
    await carol.close();
    for (const page of [ada, bo]) await members(page, 'presence-room', 'ada,bo');
  },

  async 'a page signs in and gets its user\'s events'() {
    await ada.evaluate(() => {
      window.pusher.signin();
      window.pusher.user.bind('hi', (data) => { window.hi = data; });
    });
    await ada.until('it is signed in', () => window.pusher.user.serverToUserChannel?.subscribed);
    await server(b.port).sendToUser('ada', 'hi', { to: 'ada' });
    await ada.until('its event arrives', () => window.hi?.to === 'ada');
  },

  async 'a page whose node is killed comes back on the other one, to its channels, its members and its user'() {
    const before = await ada.evaluate(() => { window.hi = undefined; return window.pusher.connection.socket_id; });
    await a.kill();
    await ada.until('it is connected again', (before) => window.pusher.connection.state === 'connected'
      && window.pusher.connection.socket_id !== before, before);
    await ada.until('its channels are subscribed again', (kinds) => kinds.every((it) => window.pusher.channel(it).subscribed), KINDS);
    await server(b.port).trigger(KINDS[2], 'again', { secret: 2 });
    await got(ada, 'again', '{"secret":2}');
    for (const page of [ada, bo]) await members(page, 'presence-room', 'ada,bo');
    await ada.until('it is signed in again', () => window.pusher.user.serverToUserChannel?.subscribed);
    await server(b.port).sendToUser('ada', 'hi', { to: 'ada again' });
    await ada.until('its event arrives', () => window.hi?.to === 'ada again');
  },

  async 'a page whose user is terminated stays disconnected, and the others do not'() {
    await server(b.port).terminateUserConnections('ada');
    await ada.until('it stays disconnected', () => window.pusher.connection.state === 'disconnected');
    await members(bo, 'presence-room', 'bo');
    assert.equal(await bo.evaluate(() => window.pusher.connection.state), 'connected');
  },
};

console.log('-- pusher-js in Chromium, two nodes');
const ran = new Checks();
for (const [what, check] of Object.entries(checks)) {
  await ran.check(what, check);
  if (ran.failed) {
    for (const page of [ada, bo].filter((it) => it)) console.log(JSON.stringify(await page.evaluate(() => window.seen)).slice(0, 2000));
    break;
  }
}
await browser.close();
balancer.close();
site.close();
if (!ran.failed) {
  assert.deepEqual(browser.errors, [], 'no exception in a page');
  for (const node of [a, b]) assert.deepEqual(node.panics(), []);
}
process.exit(ran.failed ? 1 : 0);
