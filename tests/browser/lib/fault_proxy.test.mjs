// Each fault of the proxies does what its name says: `node --test tests/browser/lib/`.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';
import { CompanyProxy } from './company_proxy.mjs';
import { FaultProxy } from './fault_proxy.mjs';
import { Random } from './random.mjs';
import { sleep, until } from './wait.mjs';

/** Milliseconds in which nothing must arrive. A real delay: that nothing happens is no condition to wait for. */
const QUIET = 150;

/** A TCP server that echoes, behind a fault proxy; and a function that opens a connection through it. */
async function echo(t) {
  const server = net.createServer((socket) => { socket.on('error', () => {}); socket.pipe(socket); });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const proxy = await FaultProxy.listen(server.address().port, new Random(1));
  const sockets = [];
  t.after(() => { sockets.forEach((it) => it.destroy()); proxy.close(); server.close(); });
  const open = async () => {
    const socket = net.connect(proxy.port, '127.0.0.1');
    const seen = { text: '', closed: null };
    socket.on('data', (bytes) => { seen.text += bytes; });
    socket.on('error', (error) => { seen.closed = error.code; });
    socket.on('close', () => { seen.closed ??= 'FIN'; });
    sockets.push(socket);
    await new Promise((done) => socket.on('connect', done).on('close', done));
    return { seen, send: (text) => socket.write(text), receives: (text) => until(`it receives ${text}`, () => seen.text === text) };
  };
  return { proxy, open };
}

test('a healthy proxy carries bytes both ways', async (t) => {
  const { open } = await echo(t);
  const client = await open();
  client.send('ebb');
  await client.receives('ebb');
});

test('a cut ends the connection with FIN or RST', async (t) => {
  const { proxy, open } = await echo(t);
  for (const [reset, end] of [[false, 'FIN'], [true, 'ECONNRESET']]) {
    const client = await open();
    client.send('ebb');
    await client.receives('ebb');
    proxy.cut({ reset });
    await until('it is closed', () => client.seen.closed);
    assert.equal(client.seen.closed, end);
  }
});

test('a connection in a black hole carries nothing, also after the black hole is healed, and stays open', async (t) => {
  const { proxy, open } = await echo(t);
  const client = await open();
  client.send('ebb');
  await client.receives('ebb');
  proxy.set({ blackHole: true });
  client.send('lost');
  const late = await open();
  late.send('lost');
  await sleep(QUIET);
  proxy.heal();
  const next = await open();
  next.send('flow');
  await next.receives('flow');
  assert.deepEqual([client.seen, late.seen], [{ text: 'ebb', closed: null }, { text: '', closed: null }]);
});

test('a stalled direction carries what it held once it is healed', async (t) => {
  for (const stalled of ['up', 'down', 'both']) {
    const { proxy, open } = await echo(t);
    const client = await open();
    proxy.set({ stalled });
    client.send('ebb');
    await sleep(QUIET);
    assert.equal(client.seen.text, '', stalled);
    proxy.heal();
    await client.receives('ebb');
  }
});

test('latency and rate delay bytes', async (t) => {
  const { proxy, open } = await echo(t);
  const client = await open();
  for (const [faults, text] of [[{ latency: 60 }, 'ebb'], [{ bytesPerSecond: 1000 }, 'f'.repeat(60)]]) {
    proxy.heal();
    proxy.set(faults);
    client.seen.text = '';
    const begun = performance.now();
    client.send(text);
    await client.receives(text);
    assert.ok(performance.now() - begun >= 110, `${JSON.stringify(faults)}: ${performance.now() - begun} ms`);
  }
});

test('a refused connection ends at once, and a new target gets new connections', async (t) => {
  const { proxy, open } = await echo(t);
  proxy.set({ refused: true });
  const refused = await open();
  await until('it is closed', () => refused.seen.closed);
  proxy.heal();
  const server = net.createServer((socket) => socket.end('other'));
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => server.close());
  proxy.target = server.address().port;
  await (await open()).receives('other');
});

/** A web server with `/events`, an event stream that ends when `finish` is called, and upgrades that echo; behind a company's proxy. */
async function site(t, options) {
  let finish;
  const server = http.createServer((request, response) => {
    if (request.url !== '/events') { request.pipe(response); return; }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
    finish = () => response.end('data: 2\n\n');
  });
  server.on('upgrade', (_, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n');
    socket.pipe(socket);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const proxy = await CompanyProxy.listen(server.address().port, options);
  t.after(() => { proxy.close(); server.close(); server.closeAllConnections(); });
  return { proxy, finish: () => finish() };
}

function upgrade(proxy) {
  return new Promise((answered) => {
    const request = http.request(`${proxy.url}/ws`, { headers: { connection: 'upgrade', upgrade: 'echo' } });
    request.on('upgrade', (_, socket) => { socket.on('data', (data) => { answered(String(data)); socket.destroy(); }); socket.write('ebb'); });
    request.on('response', (response) => { response.resume(); answered(response.statusCode); });
    request.on('error', () => answered('error'));
    request.end();
    setTimeout(() => { answered('nothing'); request.destroy(); }, 1000);
  });
}

test('a company\'s proxy passes requests, and upgrades as it is told', async (t) => {
  for (const [upgrades, answer] of [['pass', 'ebb'], ['400', 400], ['403', 403], ['hang', 'nothing']]) {
    const { proxy } = await site(t, { upgrades });
    assert.equal(await (await fetch(`${proxy.url}/`, { method: 'POST', body: 'body' })).text(), 'body');
    assert.equal(await upgrade(proxy), answer, upgrades);
    assert.equal(proxy.seen.upgrades, 1);
  }
});

test('a company\'s proxy holds an event stream back until it ends', async (t) => {
  for (const streams of ['pass', 'body', 'all']) {
    const { proxy, finish } = await site(t, { streams });
    const seen = { head: false, text: '', ended: false };
    const read = async () => {
      const answer = await fetch(`${proxy.url}/events`);
      seen.head = true;
      for await (const bytes of answer.body) seen.text += Buffer.from(bytes);
      seen.ended = true;
    };
    const reading = read();
    await until('the stream came to the proxy', () => proxy.seen.streams === 1);
    await sleep(QUIET);
    assert.deepEqual(seen, { head: streams !== 'all', text: streams === 'pass' ? 'data: 1\n\n' : '', ended: false }, streams);
    finish();
    await reading;
    assert.equal(seen.text, 'data: 1\n\ndata: 2\n\n');
  }
});
