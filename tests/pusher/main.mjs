// Pusher's own client and server libraries, and Laravel Echo, against real nodes: with the memory broker, and with two nodes on Redis
// behind a balancer, of which one is killed.
//
//   (cd tests/pusher && npm ci), and tests/setup.sh for Python's library
//   node tests/pusher/main.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import Echo from 'laravel-echo';
import Server from 'pusher';
import Pusher from 'pusher-js';
import nacl from 'tweetnacl';
import { balance } from '../browser/lib/balancer.mjs';
import { checkLibraries } from '../browser/lib/library_checks.mjs';
import { PYTHON, output } from '../browser/lib/python.mjs';
import { until } from '../browser/lib/wait.mjs';
import { APP, SETTINGS, server } from './application.mjs';

const signer = server(1);

let number = 0;
const name = (kind) => `${kind}-${++number}`;

const clients = [];

/** Options of a client of the node or balancer at the port. `user`: who it is in presence channels and when it signs in. */
function options(port, user) {
  return {
    cluster: '', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws'], disableStats: true, nacl,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => {
        const member = channelName.startsWith('presence-') && user ? { user_id: user, user_info: { name: user.toUpperCase() } } : undefined;
        done(null, signer.authorizeChannel(socketId, channelName, member));
      },
    },
    userAuthentication: {
      customHandler: ({ socketId }, done) => done(null, signer.authenticateUser(socketId, { id: user, user_info: { name: user } })),
    },
  };
}

/** A client of pusher-js that is connected, and what it was told. */
async function connect(port, user) {
  const client = new Pusher(APP.key, options(port, user));
  clients.push(client);
  client.errors = [];
  client.connection.bind('error', (error) => client.errors.push(error));
  await until('the client is connected', () => client.connection.state === 'connected');
  return client;
}

/** A channel to which a client is subscribed, and the events that arrived. */
async function subscribe(client, channelName) {
  const channel = client.subscribe(channelName);
  channel.events = [];
  channel.bind_global((event, data) => { if (!event.startsWith('pusher:subscription')) channel.events.push([event, data]); });
  await until(`${channelName} is subscribed`, () => channel.subscribed);
  return channel;
}

const next = (channel) => until(`an event on ${channel.name}`, () => channel.events.shift());

const payload = (event, data) => JSON.stringify({ event, data });

const checks = {
  async 'a public channel gets events, and other publications as the event message'([a, b]) {
    const channel = await subscribe(await connect(b.port), name('news'));
    await a.publish(channel.name, payload('order', { id: 1 }));
    assert.deepEqual(await next(channel), ['order', { id: 1 }]);
    await a.publish(channel.name, payload('order', 'text'));
    assert.deepEqual(await next(channel), ['order', 'text']);
    await a.publish(channel.name, 'plain text');
    assert.deepEqual(await next(channel), ['message', 'plain text']);
  },

  async 'a private channel is subscribed by the server library\'s signature, and refused without it'([a, b]) {
    const channel = await subscribe(await connect(a.port), name('private-orders'));
    await b.publish(channel.name, payload('order', [1]));
    assert.deepEqual(await next(channel), ['order', [1]]);
    const client = await connect(b.port);
    client.config.channelAuthorizer = (_, done) => done(null, { auth: `${APP.key}:${'0'.repeat(64)}` });
    const refused = client.subscribe(channel.name);
    let error;
    refused.bind('pusher:subscription_error', (told) => { error = told; });
    await until('the client is told', () => error);
    assert.equal(error.status, 401);
  },

  async 'an encrypted channel is decrypted by the client'([a, b]) {
    const channel = await subscribe(await connect(a.port), name('private-encrypted'));
    const nonce = nacl.randomBytes(24);
    const sealed = nacl.secretbox(Buffer.from('{"secret":true}'), nonce, signer.channelSharedSecret(channel.name));
    const encoded = { nonce: Buffer.from(nonce).toString('base64'), ciphertext: Buffer.from(sealed).toString('base64') };
    await b.publish(channel.name, payload('order', JSON.stringify(encoded)));
    assert.deepEqual(await next(channel), ['order', { secret: true }]);
  },

  async 'a cache channel gives the last event, or a cache miss'([a, b]) {
    const cached = name('cache-prices');
    const first = await subscribe(await connect(a.port), cached);
    assert.equal((await next(first))[0], 'pusher:cache_miss');
    await b.publish(cached, payload('price', 7));
    assert.deepEqual(await next(first), ['price', 7]);
    assert.deepEqual(await next(await subscribe(await connect(b.port), cached)), ['price', 7]);
  },

  async 'an event of a client reaches the others, with the user on a presence channel'([a, b]) {
    const room = name('presence-room');
    const [ada, bo] = [await subscribe(await connect(a.port, 'ada'), room), await subscribe(await connect(b.port, 'bo'), room)];
    let meta;
    bo.bind('client-typed', (_, metadata) => { meta = metadata; });
    ada.trigger('client-typed', { at: 3 });
    await until('the event arrives', () => meta);
    assert.deepEqual(meta, { user_id: 'ada' });
    assert.ok(!ada.events.some(([event]) => event === 'client-typed'), 'the sender gets it too');
  },

  async 'members see each other on every node, and hear of joins and leaves'([a, b]) {
    const room = name('presence-room');
    const clientA = await connect(a.port, 'ada');
    const ada = await subscribe(clientA, room);
    assert.deepEqual([ada.members.count, ada.members.me.info.name], [1, 'ADA']);
    const clientB = await connect(b.port, 'bo');
    const bo = await subscribe(clientB, room);
    assert.deepEqual(Object.keys(bo.members.members).sort(), ['ada', 'bo']);
    assert.deepEqual(await next(ada), ['pusher:member_added', { id: 'bo', info: { name: 'BO' } }]);
    assert.equal(ada.members.count, 2);
    clientB.unsubscribe(room);
    assert.equal((await next(ada))[0], 'pusher:member_removed');
    assert.equal(ada.members.count, 1);
  },

  async 'a user signs in, gets its own events, and is disconnected'([a, b]) {
    const client = await connect(a.port, 'carol');
    client.signin();
    let got;
    client.user.bind('hi', (data) => { got = data; });
    await until('the user is signed in', () => client.user.user_data?.id === 'carol');
    await until('its channel is subscribed', () => client.user.serverToUserChannel?.subscribed);
    await b.publish('#server-to-user-carol', payload('hi', { a: 1 }));
    await until('its event arrives', () => got);
    const answer = await fetch(`${b.internalUrl}/api/disconnect?user=carol`, { method: 'POST' });
    assert.equal(answer.status, 202);
    await until('the client stays disconnected', () => client.connection.state === 'disconnected');
  },

  async 'Laravel Echo listens, whispers, and sees who is here'([a, b]) {
    const echo = (port, user) => new Echo({ broadcaster: 'pusher', client: new Pusher(APP.key, options(port, user)), Pusher });
    const [ada, bo] = [echo(a.port, 'ada'), echo(b.port, 'bo')];
    const room = name('chat');
    const seen = { here: [], joining: [], leaving: [], whispers: [], orders: [] };
    ada.join(room).here((users) => seen.here.push(users)).joining((user) => seen.joining.push(user))
      .leaving((user) => seen.leaving.push(user)).listenForWhisper('typing', (data) => seen.whispers.push(data));
    await until('ada is here', () => seen.here.length);
    const there = bo.join(room);
    await until('bo joins', () => seen.joining.length);
    assert.deepEqual(seen.joining, [{ name: 'BO' }]);
    there.whisper('typing', { at: 1 });
    await until('the whisper arrives', () => seen.whispers.length);
    const channel = ada.private(`orders.${number}`).listen('.shipped', (data) => seen.orders.push(data));
    await until('the private channel is subscribed', () => channel.subscription.subscribed);
    await b.publish(`private-orders.${number}`, payload('shipped', { id: 3 }));
    await until('the event arrives', () => seen.orders.length);
    bo.leave(room);
    await until('bo leaves', () => seen.leaving.length);
    ada.disconnect();
    bo.disconnect();
  },

  async 'the server library triggers events, in batches too, and leaves out a socket'([a, b]) {
    const [first, second] = [await connect(a.port), await connect(b.port)];
    const channels = [name('news'), name('private-news')];
    const got = [];
    for (const channelName of channels) got.push(await subscribe(first, channelName), await subscribe(second, channelName));
    await server(b.port).trigger(channels, 'order', { id: 1 });
    for (const channel of got) assert.deepEqual(await next(channel), ['order', { id: 1 }]);
    await server(a.port).trigger(channels[0], 'order', 'to others', { socket_id: first.connection.socket_id });
    assert.deepEqual(await next(got[1]), ['order', 'to others']);
    await server(b.port).triggerBatch([{ channel: channels[0], name: 'order', data: { id: 2 } }, { channel: channels[1], name: 'order', data: 3 }]);
    assert.deepEqual(await next(got[0]), ['order', { id: 2 }], 'and nothing that is for others');
    assert.deepEqual(await next(got[2]), ['order', 3]);
  },

  async 'the server library encrypts, sends to a user, and disconnects it'([a, b]) {
    const client = await connect(a.port, 'dora');
    const channel = await subscribe(client, name('private-encrypted'));
    await server(b.port).trigger(channel.name, 'order', { secret: 1 });
    assert.deepEqual(await next(channel), ['order', { secret: 1 }]);
    client.signin();
    let got;
    client.user.bind('hi', (data) => { got = data; });
    await until('the user is signed in', () => client.user.serverToUserChannel?.subscribed);
    await server(b.port).sendToUser('dora', 'hi', { a: 1 });
    assert.deepEqual(await until('its event arrives', () => got), { a: 1 });
    await server(b.port).terminateUserConnections('dora');
    await until('the client stays disconnected', () => client.connection.state === 'disconnected');
  },

  async 'the server library lists channels and users'([a, b]) {
    const room = name('presence-room');
    await subscribe(await connect(a.port, 'ada'), room);
    await subscribe(await connect(b.port, 'bo'), room);
    const get = async (path, params) => (await server(b.port).get({ path, params })).json();
    assert.deepEqual((await get('/channels', { filter_by_prefix: 'presence-', info: 'user_count' })).channels[room], { user_count: 2 });
    const one = await get(`/channels/${room}`, { info: 'user_count,subscription_count' });
    assert.deepEqual([one.occupied, one.user_count], [true, 2]);
    assert.equal(one.subscription_count, a === b ? 2 : undefined, 'of one node it is known');
    assert.deepEqual((await get(`/channels/${room}/users`)).users, [{ id: 'ada' }, { id: 'bo' }]);
    assert.deepEqual(await get(`/channels/${name('nothing')}`), { occupied: false });
    await assert.rejects(new Server({ ...APP, secret: 'other', host: '127.0.0.1', port: String(a.port), useTLS: false }).trigger('news', 'e', 1), { status: 401 });
    await assert.rejects(get('/channels', { info: 'user_count' }), { status: 400 });
  },

  async 'the server library for Python triggers, asks, and signs as the one for Node'([a, b]) {
    const [first, second] = [await connect(a.port, 'ada'), await connect(b.port, 'bo')];
    const [here, there] = [await subscribe(first, name('news')), await subscribe(second, `news-${number}`)];
    const room = await subscribe(first, name('presence-room'));
    const args = [b.port, APP.appId, APP.key, APP.secret, here.name, room.name, first.connection.socket_id].map(String);
    const answers = JSON.parse(await output(PYTHON, [fileURLToPath(new URL('server.py', import.meta.url)), ...args]));
    for (const data of [{ by: 'python' }, { by: 'python, to others' }, 1, 2]) assert.deepEqual(await next(there), ['order', data]);
    for (const data of [{ by: 'python' }, 1, 2]) assert.deepEqual(await next(here), ['order', data]);
    assert.deepEqual([answers.trigger, answers.batch], [{}, {}]);
    assert.deepEqual(answers.channels.channels[room.name], { user_count: 1 });
    assert.deepEqual([answers.channel.occupied, answers.users.users], [true, [{ id: 'ada' }]]);
    assert.match(answers.forged, /signature/);
  },

  async 'Laravel Echo connects by the lines of docs/MIGRATING.md, for Reverb'([a, b]) {
    const page = fs.readFileSync(new URL('../../docs/MIGRATING.md', import.meta.url), 'utf8');
    const [, lines] = page.match(/^```js\n(window\.Echo = .*?)^```$/ms);
    assert.equal(lines.match(/443/g).length, 2);
    const here = lines.replaceAll('443', String(b.port)).replace('tide.example.com', '127.0.0.1').replace('forceTLS: true', 'forceTLS: false');
    const window = { Pusher };
    new Function('window', 'Echo', here)(window, class extends Echo { constructor(options) { super({ Pusher, ...options }); } });
    const orders = [];
    const channel = window.Echo.channel(name('orders')).listen('.shipped', (data) => orders.push(data));
    await until('the channel is subscribed', () => channel.subscription.subscribed);
    await server(a.port).trigger(channel.name, 'shipped', { id: 3 });
    assert.deepEqual(await until('the event arrives', () => orders[0]), { id: 3 });
    window.Echo.disconnect();
  },

  async 'an unknown key is refused for good'([a]) {
    const client = new Pusher('other-key', options(a.port));
    clients.push(client);
    await until('the client gives up', () => client.connection.state === 'disconnected');
  },
};

const ofTwoNodes = {
  async 'a plain PUBLISH of a service reaches pusher-js'([, b], redis) {
    const channel = await subscribe(await connect(b.port), name('news'));
    const socket = net.connect(redis.port, '127.0.0.1');
    const sent = payload('order', { id: 9 });
    socket.write(`*3\r\n$7\r\nPUBLISH\r\n$${`tidegate:${channel.name}`.length}\r\ntidegate:${channel.name}\r\n$${sent.length}\r\n${sent}\r\n`);
    assert.deepEqual(await next(channel), ['order', { id: 9 }]);
    socket.destroy();
  },

  async 'a client whose node is killed comes back, to its channels and its user, and the others hear of it'(nodes) {
    const [a, b] = nodes;
    const balancer = await balance(nodes);
    const client = await connect(balancer.port, 'ada');
    client.signin();
    const news = await subscribe(client, name('news'));
    const room = await subscribe(client, name('presence-room'));
    const bo = await subscribe(await connect(b.port, 'bo'), room.name);
    await until('both are members', () => room.members.count === 2 && bo.members.count === 2);
    const before = client.connection.socket_id;
    await a.kill();
    await until('the client is connected again', () => client.connection.state === 'connected' && client.connection.socket_id !== before);
    await until('its channels are subscribed again', () => news.subscribed && room.subscribed);
    await until('it is signed in again', () => client.user.user_data?.id === 'ada');
    await b.publish(news.name, payload('order', 1));
    await until('an event arrives', () => news.events.some(([event]) => event === 'order'));
    assert.deepEqual(Object.keys(room.members.members).sort(), ['ada', 'bo']);
    balancer.close();
  },
};

await checkLibraries({ name: 'pusher', settings: SETTINGS, checks, ofTwoNodes, after: () => clients.splice(0).forEach((client) => client.disconnect()) });
