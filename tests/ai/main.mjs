// The AI SDK's own clients against real nodes: `DefaultChatTransport`, `useChat` and `WebSocketChatTransport`, with the memory broker and
// with two nodes on Redis.
//
//   (cd tests/ai && npm ci)
//   node tests/ai/main.mjs
//
// TIDEGATE selects another binary than target/debug/tidegate. Prints a line for each check; exits with 1 at the first failure.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:http2';
import { DefaultChatTransport, WebSocketChatTransport, readUIMessageStream } from 'ai';
import WebSocket from 'ws';
import { Node, Redis, Scratch } from '../browser/lib/processes.mjs';
import { until } from '../browser/lib/wait.mjs';
import { Page, useChat } from './page.mjs';

const RULES = `rules=[
  {pattern="run:*",subscribe="anyone",publish="anyone",history={size=1000,age="10m"},run={lease="1s",control="run-control:{name}"}},
  {pattern="kept:*",subscribe="anyone",publish="anyone",history={size=1000,age="10m"},run={lease="1m",control="run-control:{name}"}},
  {pattern="merged:*",subscribe="anyone",publish="anyone",history={size=1000,age="10m"},run={lease="1m",merge="text",rollup="20ms"}},
  {pattern="short:*",subscribe="anyone",publish="anyone",history={size=2,age="10m"},run={lease="1m"}},
  {pattern="read:*",subscribe="anyone",publish="nobody",history={size=9,age="10m"},run={lease="1m",control="run-control:{name}"}},
  {pattern="secret:*",subscribe="nobody",publish="nobody",history={size=9,age="10m"},run={lease="1m"}},
  {pattern="answer:*",subscribe="anyone",publish="anyone",history={size=1000,age="10m"},run={lease="1m",control="run-control:{name}"}},
  {pattern="run-control:**",subscribe="anyone",publish="nobody"},
  {pattern="plain:*",subscribe="anyone",publish="anyone"}]`.replace(/^rules=/, '');
const SETTINGS = { rules: RULES, 'drain.delay': '0s', 'drain.period': '1s', 'server.origins': '*' };

/** What stands around the plain text of a run. */
const BEFORE = [{ type: 'start' }, { type: 'text-start', id: '0' }];
const TEXT_END = { type: 'text-end', id: '0' };

const delta = (text) => ({ type: 'text-delta', id: '0', delta: text });

let number = 0;
const name = (kind = 'kept') => `${kind}:${++number}`;

/** A worker that uses the internal API of a node. */
class Worker {
  constructor(node, channel) { Object.assign(this, { node, channel }); }

  async publish(...payloads) { for (const payload of payloads) await this.node.publish(this.channel, payload); }

  async end(reason) {
    const answer = await fetch(`${this.node.internalUrl}/api/end/${encodeURIComponent(this.channel)}`, { method: 'POST', body: JSON.stringify({ reason }) });
    assert.ok(answer.ok, `${answer.status} ${await answer.text()}`);
  }
}

/** What clients send to the worker of a run. */
async function control(node, channel) {
  const socket = new WebSocket(`${node.url.replace('http', 'ws')}/ws/${encodeURIComponent(`run-control:${channel}`)}`);
  const frames = [];
  socket.on('message', (data) => frames.push(JSON.parse(data)));
  await new Promise((opened, failed) => { socket.on('open', opened); socket.on('error', failed); });
  return { next: (what) => until(`the worker gets ${what}`, () => frames.shift()), frames, close: () => socket.close() };
}

const http = (node, options) => new DefaultChatTransport({ api: `${node.url}/ai`, ...options });

const socket = (node, options) => new WebSocketChatTransport({
  url: `${node.url}/ws`, protocols: 'tidegate.v1.ai', webSocket: WebSocket, ...options });

const said = (text) => [{ id: 'u1', role: 'user', parts: [{ type: 'text', text }] }];

const send = (transport, chatId, options) => transport.sendMessages({ chatId, messages: said('tell me'), trigger: 'submit-message', ...options });

async function rest(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

async function textOf(stream) {
  let message;
  for await (const state of readUIMessageStream({ stream })) message = state;
  return message.parts.map((part) => part.text ?? '').join('');
}

/** The chunks of a stream, read as they come. */
class Chunks {
  constructor(stream) { this.reader = stream.getReader(); }

  async next(count = 1) {
    const chunks = [];
    while (chunks.length < count) chunks.push((await this.reader.read()).value);
    return chunks;
  }
}

const checks = {
  async 'a client that resumes gets the text from its beginning, then the rest, and the end'([a, b]) {
    const worker = new Worker(a, name());
    await worker.publish('Hel', 'lo', ' 12');
    const stream = new Chunks(await http(b).reconnectToStream({ chatId: worker.channel }));
    assert.deepEqual(await stream.next(5), [...BEFORE, delta('Hel'), delta('lo'), delta(' 12')]);
    await worker.publish('!');
    await worker.end('done');
    assert.deepEqual(await stream.next(3), [delta('!'), TEXT_END, { type: 'finish' }]);
    assert.equal((await stream.reader.read()).done, true);
  },

  async 'the response is the dialect with its header, and its body ends with [DONE]'([a, b]) {
    const worker = new Worker(a, name());
    await worker.publish('x');
    const response = await fetch(`${b.url}/ai/${worker.channel}/stream`, { headers: { origin: 'http://page.example' } });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-vercel-ai-ui-message-stream'), 'v1');
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    assert.equal(response.headers.get('transfer-encoding'), 'chunked');
    assert.equal(response.headers.get('access-control-allow-origin'), 'http://page.example');
    await worker.end('done');
    assert.ok((await response.text()).endsWith('data: {"type":"finish"}\n\ndata: [DONE]\n\n'));
  },

  async 'there is nothing to resume where no run is in progress'([a, b]) {
    assert.equal(await http(a).reconnectToStream({ chatId: name() }), null);
    assert.equal(await http(a).reconnectToStream({ chatId: name('plain') }), null, 'the rule has no run');
    const worker = new Worker(a, name());
    await worker.publish('x');
    await worker.end('done');
    assert.equal(await http(b).reconnectToStream({ chatId: worker.channel }), null, 'it has ended');
    const chats = socket(b);
    assert.equal(await chats.reconnectToStream({ chatId: worker.channel }), null);
    assert.equal(await chats.reconnectToStream({ chatId: name() }), null);
    chats.close();
  },

  async 'a client that asks for it gets a run that has ended'([a, b]) {
    const worker = new Worker(a, name());
    await worker.publish('Hello');
    await worker.end('done');
    const whole = [...BEFORE, delta('Hello'), TEXT_END, { type: 'finish' }];
    const prepareReconnectToStreamRequest = ({ api, id }) => ({ api: `${api}/${id}/stream?ended=true` });
    const stream = await http(b, { prepareReconnectToStreamRequest }).reconnectToStream({ chatId: worker.channel });
    assert.deepEqual(await rest(stream), whole);
    const chats = socket(b, { body: { ended: true } });
    assert.deepEqual(await rest(await chats.reconnectToStream({ chatId: worker.channel })), whole);
    chats.close();
  },

  async 'the typed parts of a worker are the chunks, and nothing is doubled'([a, b]) {
    const parts = [
      { type: 'start', messageId: 'm7' }, { type: 'start-step' }, { type: 'reasoning-start', id: 'r' }, { type: 'reasoning-delta', id: 'r', delta: 'hm' },
      { type: 'reasoning-end', id: 'r' }, { type: 'text-start', id: 't' }, { type: 'text-delta', id: 't', delta: '½ "x"\n' }, { type: 'text-end', id: 't' },
      { type: 'tool-input-available', toolCallId: 'c', toolName: 'tide', input: { at: 'Emden' } }, { type: 'tool-output-available', toolCallId: 'c', output: 3.2 },
      { type: 'data-note', data: { a: 1 } }, { type: 'finish-step' }, { type: 'finish', finishReason: 'stop' },
    ];
    const worker = new Worker(a, name());
    await worker.publish(...parts.map((part) => JSON.stringify(part)));
    const chats = socket(b);
    const [events, frames] = await Promise.all([http(b), chats].map((it) => it.reconnectToStream({ chatId: worker.channel })));
    await worker.end('done');
    assert.deepEqual(await rest(events), parts);
    assert.deepEqual(await rest(frames), parts);
    chats.close();
  },

  async 'the reason of the end decides how the answer ends'([a, b]) {
    for (const [reason, last] of [
      ['length', { type: 'finish', finishReason: 'length' }], ['stopped', { type: 'abort' }], ['error: no tokens', { type: 'error', errorText: 'error: no tokens' }],
    ]) {
      const worker = new Worker(a, name());
      await worker.publish('x');
      const chats = socket(b);
      const streams = await Promise.all([http(a), chats].map((it) => it.reconnectToStream({ chatId: worker.channel })));
      await worker.end(reason);
      for (const stream of streams) assert.deepEqual((await rest(stream)).slice(3), [TEXT_END, last]);
      chats.close();
    }
  },

  async 'an answer whose worker is gone ends with an error'([a, b]) {
    const worker = new Worker(a, name('run'));
    await worker.publish('x');
    const stream = await http(b).reconnectToStream({ chatId: worker.channel });
    assert.deepEqual((await rest(stream)).at(-1), { type: 'error', errorText: 'abandoned' });
    assert.equal(await http(a).reconnectToStream({ chatId: worker.channel }), null);
  },

  async 'a merged run has the same text in fewer chunks'([a, b]) {
    const worker = new Worker(a, name('merged'));
    const tokens = Array.from({ length: 40 }, (_, at) => `${at} `);
    await worker.publish(...tokens);
    const stream = await http(b).reconnectToStream({ chatId: worker.channel });
    await worker.end('done');
    const chunks = await rest(stream);
    assert.equal(chunks.map((chunk) => chunk.delta ?? '').join(''), tokens.join(''));
    assert.ok(chunks.length < tokens.length, `${chunks.length} chunks`);
  },

  async 'a run whose beginning is no longer kept is an error'([a]) {
    const worker = new Worker(a, name('short'));
    await worker.publish(...Array.from({ length: 300 }, () => 'x'));
    await assert.rejects(http(a).reconnectToStream({ chatId: worker.channel }), /the beginning of the run is no longer kept/);
    const chats = socket(a);
    await assert.rejects(chats.reconnectToStream({ chatId: worker.channel }), /the beginning of the run is no longer kept/);
    chats.close();
    await worker.end('done');
    const prepareReconnectToStreamRequest = ({ api, id }) => ({ api: `${api}/${id}/stream?ended=true` });
    const ended = http(a, { prepareReconnectToStreamRequest });
    await assert.rejects(ended.reconnectToStream({ chatId: worker.channel }), /the beginning of the run is no longer kept/, 'also where it has ended');
    const chatsOfEnded = socket(a, { body: { ended: true } });
    await assert.rejects(chatsOfEnded.reconnectToStream({ chatId: worker.channel }), /the beginning of the run is no longer kept/);
    chatsOfEnded.close();
  },

  async 'a page that reloads has one answer, and its text is the whole text'([a, b]) {
    const worker = new Worker(a, name());
    await worker.publish('The tide ');
    const options = { id: worker.channel, resume: true, messages: said('tell me') };
    const before = await Page.open({ ...options, transport: http(a) });
    await before.until('the page shows the beginning', ({ messages }) => messages.length === 2 && before.text === 'The tide ');
    await before.close();
    await worker.publish('comes ');
    const page = await Page.open({ ...options, transport: http(b) });
    await page.until('the page shows all so far', () => page.text === 'The tide comes ');
    await worker.publish('in.');
    await worker.end('done');
    await page.until('the answer is complete', ({ status, messages }) => status === 'ready' && messages.length === 2 && page.text === 'The tide comes in.');
    await page.close();
    const later = await Page.open({ ...options, transport: http(a), messages: [...options.messages, { id: 'a1', role: 'assistant', parts: [{ type: 'text', text: 'The tide comes in.' }] }] });
    await later.until('nothing is appended to a stored answer', ({ status }) => status === 'ready' && later.settled);
    assert.equal(later.chat.messages.length, 2);
    await later.close();
  },

  async 'a chat that sends gets the answer, and its worker the messages'([a, b]) {
    const channel = name();
    const worker = new Worker(a, channel);
    const asked = await control(a, channel);
    const chats = socket(b, { body: { channel } });
    const stream = new Chunks(await send(chats, 'chat-1', { metadata: { tone: 'dry' } }));
    const frame = await asked.next('the messages');
    assert.equal(frame.type, 'send');
    assert.deepEqual([frame.id, frame.messages, frame.metadata, frame.body], ['chat-1', said('tell me'), { tone: 'dry' }, { channel }]);
    await worker.publish('Low ', 'tide');
    assert.deepEqual(await stream.next(4), [...BEFORE, delta('Low '), delta('tide')]);
    await worker.end('done');
    assert.deepEqual(await stream.next(2), [TEXT_END, { type: 'finish' }]);
    assert.equal((await stream.reader.read()).done, true);
    await assert.rejects(send(chats, 'chat-1').then(rest), /the run has ended: each answer needs a channel of its own/);
    chats.close();
    asked.close();
  },

  async 'one connection carries many answers, one after the other and at a time'([a, b]) {
    const chats = socket(b);
    for (let round = 0; round < 50; round++) {
      const workers = [new Worker(a, name()), new Worker(a, name()), new Worker(a, name())];
      for (const worker of workers) await worker.publish(worker.channel);
      const streams = await Promise.all(workers.map((worker) => chats.reconnectToStream({ chatId: worker.channel })));
      const texts = streams.map(textOf);
      for (const worker of workers) { await worker.publish('!'); await worker.end('done'); }
      assert.deepEqual(await Promise.all(texts), workers.map((worker) => `${worker.channel}!`));
    }
    const label = 'tidegate_subscriptions';
    assert.ok(await b.metric(label) <= 4, `the node has ${await b.metric(label)} subscriptions`);
    chats.close();
  },

  async 'a stop reaches the worker from another node, and all viewers see it'([a, b]) {
    const channel = name();
    const worker = new Worker(a, channel);
    const asked = await control(a, channel);
    await worker.publish('On and ');
    const viewer = await http(a).reconnectToStream({ chatId: channel });
    const chats = socket(b);
    const stop = new AbortController();
    const stream = new Chunks(await chats.reconnectToStream({ chatId: channel, abortSignal: stop.signal }));
    await stream.next(3);
    stop.abort();
    assert.equal((await asked.next('the stop')).type, 'abort');
    assert.equal((await stream.reader.read()).done, true);
    await worker.end('stopped');
    assert.deepEqual((await rest(viewer)).slice(3), [TEXT_END, { type: 'abort' }]);
    chats.close();
    asked.close();
  },

  async 'a lost connection is no stop'([a, b]) {
    const channel = name();
    const worker = new Worker(a, channel);
    const asked = await control(a, channel);
    await worker.publish('x');
    const before = await b.metric('tidegate_connections');
    const chats = socket(b);
    await new Chunks(await chats.reconnectToStream({ chatId: channel })).next(3);
    await (await http(b).reconnectToStream({ chatId: channel })).cancel();
    chats.close();
    await until('both viewers are gone', async () => await b.metric('tidegate_connections') <= before);
    assert.deepEqual(asked.frames, []);
    asked.close();
  },

  async 'a later request for the same answer takes its place on the connection'([a]) {
    const worker = new Worker(a, name());
    await worker.publish('x');
    const chats = socket(a);
    const first = await chats.reconnectToStream({ chatId: worker.channel });
    const second = await chats.reconnectToStream({ chatId: worker.channel });
    await assert.rejects(rest(first), /a later request of this connection follows the same run/);
    await worker.end('done');
    assert.deepEqual(await rest(second), [...BEFORE, delta('x'), TEXT_END, { type: 'finish' }]);
    chats.close();
  },

  async 'what a client may not do, or what reaches no worker, is an error of its request'([a]) {
    const read = new Worker(a, name('read'));
    await read.publish('x');
    const chats = socket(a);
    await assert.rejects(send(chats, read.channel).then(rest), /not allowed/);
    await assert.rejects(send(chats, name('plain')).then(rest), /has no run.control/);
    await assert.rejects(chats.reconnectToStream({ chatId: name('secret') }), /not allowed/);
    await assert.rejects(chats.reconnectToStream({ chatId: 'a b' }), /a channel name is/);
    await assert.rejects(http(a).reconnectToStream({ chatId: name('secret') }), /not allowed on this channel/);
    const stream = new Chunks(await chats.reconnectToStream({ chatId: read.channel }));
    assert.deepEqual(await stream.next(3), [...BEFORE, delta('x')]);
    await stream.reader.cancel();
    assert.deepEqual(await rest(await http(a).reconnectToStream({ chatId: read.channel }).then(async (it) => { await read.end('done'); return it; })), [...BEFORE, delta('x'), TEXT_END, { type: 'finish' }]);
    chats.close();
  },
};

/** What chats have published. */
const SENT = 'tidegate_publications_received_total{protocol="ai"}';

/** The JavaScript of docs/AI.md, in its order. */
const recipes = [...fs.readFileSync(new URL('../../docs/AI.md', import.meta.url), 'utf8').matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

/** The code of a page of docs/AI.md, which returns `result`, with these names and a node in place of its address. */
function page(node, code, result, names) {
  const here = code.replaceAll('https://tide.example', node.url).replaceAll('wss://tide.example', node.url.replace('http', 'ws'));
  return new Function('names', `const { ${Object.keys(names).join(', ')} } = names; ${here}; return ${result};`)(names);
}

/** The `localStorage` of a page. */
function storage() {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
}

Object.assign(checks, {
  async 'the page of docs/AI.md that reads over HTTP resumes an answer'([a, b]) {
    const [, http, lost, , names] = recipes;
    const worker = new Worker(a, name());
    const [localStorage, id] = [storage(), 'chat-1'];
    localStorage.setItem(`run of ${id}`, worker.channel);
    await worker.publish('Hel');
    const code = `let chat; ${names} ${lost} const hook = () => { ${http.replace('const chat =', 'chat =')} return chat; }`;
    const hook = page(b, code, 'hook', { useChat, DefaultChatTransport, localStorage, id, stored: said('tell me'), token: 'x' });
    const shown = await Page.of(hook);
    await shown.until('the beginning', () => shown.text === 'Hel');
    await worker.publish('lo');
    await worker.end('done');
    await shown.until('the answer', ({ status, messages }) => status === 'ready' && shown.text === 'Hello' && messages.length === 2);
    await shown.close();
  },

  async 'the backend of docs/AI.md begins a run and redirects the page to its answer'([a, b]) {
    const [backend] = recipes;
    const runs = new Map();
    let worker;
    const startWorker = (run) => { worker = new Worker(a, run); };
    const post = page(b, backend.replace('http://127.0.0.1:9090', a.internalUrl), 'POST', {
      storeRun: (chat, run) => runs.set(chat, run), startWorker, tokenOf: () => 'x' });
    const server = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray()).toString();
      const answer = await post({ json: async () => JSON.parse(body) });
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end();
    });
    await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
    const transport = new DefaultChatTransport({ api: `http://127.0.0.1:${server.address().port}/api/chat` });
    const shown = await Page.open({ id: 'chat-1', transport });
    shown.chat.sendMessage({ text: 'tell me' });
    await until('the run has begun', () => worker);
    assert.equal(runs.get('chat-1'), worker.channel);
    await worker.publish('{"type":"start"}', 'Hello');
    await worker.end('done');
    await shown.until('the answer', ({ status, messages }) => status === 'ready' && shown.text === 'Hello' && messages.length === 2);
    await shown.close();
    server.close();
  },

  async 'the page of docs/AI.md that sends over a WebSocket has a channel for each answer, resumes and stops'([a, b]) {
    globalThis.WebSocket ??= WebSocket;
    const [, , , socket, names] = recipes;
    const localStorage = storage();
    const code = `let wasLost = false; ${names} ${socket}`;
    const transport = page(b, code, '{ transport, runOf }', { WebSocketChatTransport, localStorage, token: 'x' });
    const shown = await Page.open({ id: 'chat-1', transport: transport.transport });
    const channels = new Set();
    for (const [at, ask] of [() => shown.chat.sendMessage({ text: 'one' }), () => shown.chat.sendMessage({ text: 'two' }), () => shown.chat.regenerate()].entries()) {
      const before = await b.metric(SENT);
      ask();
      await until('the node has sent the messages to the worker', async () => await b.metric(SENT) > before);
      const channel = transport.runOf('chat-1');
      assert.ok(!channels.has(channel), 'each answer has a channel of its own');
      channels.add(channel);
      const worker = new Worker(a, channel);
      await worker.publish(`answer ${at}`);
      await worker.end('done');
      await shown.until(`the answer ${at}`, ({ status }) => status === 'ready' && shown.text === `answer ${at}`);
    }
    assert.deepEqual(shown.chat.messages.map((message) => message.role), ['user', 'assistant', 'user', 'assistant']);
    shown.chat.sendMessage({ text: 'more' });
    const channel = await until('a new channel', () => { const run = transport.runOf('chat-1'); return !channels.has(run) && run; });
    const asked = await control(a, channel);
    const worker = new Worker(a, channel);
    await worker.publish('On and');
    await shown.until('the beginning', () => shown.text === 'On and');
    shown.chat.stop();
    await until('the worker gets the stop', () => asked.frames.some((frame) => frame.type === 'abort'));
    await worker.end('stopped');
    await shown.until('the page is ready', ({ status }) => status === 'ready');
    transport.transport.close();
    await shown.close();
    asked.close();
  },
});

/** Checks that end a node: the first of two. */
const ends = {
  async 'a stream that is cut off with its node is an error, and its client resumes on another node'([a, b]) {
    const worker = new Worker(b, name());
    await worker.publish('The tide ');
    const chats = socket(a);
    const streams = [await http(a).reconnectToStream({ chatId: worker.channel }), await chats.reconnectToStream({ chatId: worker.channel })].map((it) => new Chunks(it));
    for (const stream of streams) await stream.next(3);
    await a.kill();
    for (const stream of streams) await assert.rejects(stream.next(), TypeError);
    await worker.publish('comes in.');
    await worker.end('done');
    const again = http(b, { prepareReconnectToStreamRequest: ({ api, id }) => ({ api: `${api}/${id}/stream?ended=true` }) });
    assert.equal(await textOf(await again.reconnectToStream({ chatId: worker.channel })), 'The tide comes in.');
  },

  async 'a node that drains breaks its streams off, so that their clients resume'([a, b]) {
    const worker = new Worker(b, name());
    await worker.publish('x');
    const chats = socket(a);
    const streams = [await http(a).reconnectToStream({ chatId: worker.channel }), await chats.reconnectToStream({ chatId: worker.channel })].map((it) => new Chunks(it));
    for (const stream of streams) await stream.next(3);
    const session = connect(a.url);
    const http2 = session.request({ ':path': `/ai/${worker.channel}/stream` });
    let received = '';
    http2.on('data', (data) => { received += data; });
    await until('the stream over HTTP/2 has begun', () => received.includes('"delta":"x"'));
    const closed = new Promise((close) => { http2.on('error', () => {}); http2.on('close', close); });
    const ended = a.end('SIGTERM');
    for (const stream of streams) await assert.rejects(stream.next(), TypeError);
    await closed;
    assert.notEqual(http2.rstCode, 0, 'the stream over HTTP/2 is reset');
    assert.ok(!received.includes('[DONE]'));
    session.destroy();
    await ended;
    const stream = new Chunks(await http(b).reconnectToStream({ chatId: worker.channel }));
    assert.deepEqual(await stream.next(3), [...BEFORE, delta('x')]);
    await stream.reader.cancel();
  },
};

async function run(what, check, nodes) {
  try {
    await check(nodes);
    console.log(`ok: ${what}`);
  } catch (error) {
    console.error(`failed: ${what}`);
    throw error;
  }
}

const scratch = new Scratch('tidegate-ai-');
const redis = await Redis.start(scratch);
const memory = await Node.start(scratch, { name: 'memory', settings: SETTINGS });
const [a, b] = await Promise.all(['a', 'b'].map((name) => Node.start(scratch, { name, redis, settings: SETTINGS })));
const only = process.argv[2] ?? '';
for (const [nodes, broker] of [[[memory, memory], 'memory'], [[a, b], 'Redis']]) {
  for (const [what, check] of Object.entries(checks)) if (what.includes(only)) await run(`${what} (${broker})`, check, nodes);
}
for (const [what, check] of Object.entries(ends)) {
  if (!what.includes(only)) continue;
  if (!a.isRunning) { await a.run(); await a.untilReady(); }
  await run(`${what} (Redis)`, check, [a, b]);
}
assert.deepEqual([memory, a, b].flatMap((node) => node.panics()), []);
process.exit(0);
