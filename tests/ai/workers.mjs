// The workers of docs/WORKERS.md: each publishes a run that a client of the AI SDK reads to its end, and one that a viewer stops. The
// program that starts a worker for each question does so for a chat over a WebSocket, also after messages that are no question. All of
// them have the rights in Redis that docs/operating/redis.md lists for workers.
//
//   (cd tests/ai && npm ci)
//   node tests/ai/workers.mjs
//
// Needs the Python and npm packages that tests/setup.sh installs; a language that is not installed is skipped. Exit code 0: all passed.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { DefaultChatTransport, WebSocketChatTransport, readUIMessageStream } from 'ai';
import WebSocket from 'ws';
import { Node, Redis, Scratch } from '../browser/lib/processes.mjs';
import { until } from '../browser/lib/wait.mjs';

const ROOT = new URL('../..', import.meta.url).pathname;
const SERVICES = path.join(ROOT, 'tests/snippets/services');
const PYTHON = path.join(ROOT, 'target/test-tools/venv/bin/python');
const RULES = `[{pattern="run:**",subscribe="anyone",publish="anyone",history={size=10000,age="1h"},run={lease="30s",control="run-control:{name}"}}]`;

/** A worker has fewer lines than this, blank ones aside. */
const LINES = 30;

const page = fs.readFileSync(path.join(ROOT, 'docs/WORKERS.md'), 'utf8');
const scratch = new Scratch('tidegate-workers-');

/** Writes the program of a language, and returns the command that runs it. */
const languages = {
  python(file) { return { ready: fs.existsSync(PYTHON), command: [PYTHON, file('worker.py')] }; },
  js(file) {
    if (!fs.existsSync(scratch.file('node_modules'))) fs.symlinkSync(path.join(SERVICES, 'node_modules'), scratch.file('node_modules'));
    return { ready: fs.existsSync(path.join(SERVICES, 'node_modules')), command: ['node', file('worker.mjs')] };
  },
  go(file) {
    file('main.go');
    if (spawnSync('go', ['version']).status !== 0) return { ready: false };
    for (const name of ['go.mod', 'go.sum']) fs.copyFileSync(path.join(SERVICES, name), scratch.file(name));
    execFileSync('go', ['build', '-mod=mod', '-o', 'worker', '.'], { cwd: scratch.path, stdio: 'inherit' });
    return { ready: true, command: [scratch.file('worker')] };
  },
};

const redis = await Redis.start(scratch);

/** The rights of a worker, as docs/operating/redis.md lists them for runs alone. */
function rights() {
  const rows = fs.readFileSync(path.join(ROOT, 'docs/operating/redis.md'), 'utf8').split('\n');
  const cells = ['| publishing on channels', '| a [worker of runs]'].map((start) => rows.find((row) => row.startsWith(start)).split(/(?<!\\)\|/));
  const commands = cells.flatMap(([, , list]) => list.match(/\+[a-z]+(?:\\\|[a-z]+)?/g).map((command) => command.replace('\\', '')));
  return [...commands, ...cells[1][3].match(/[~&]tidegate:[^`]+/g)];
}
execFileSync('redis-cli', ['-p', redis.port, 'ACL', 'SETUSER', 'worker', 'on', '>secret', ...rights()]);
const REDIS_URL = redis.url.replace('redis://', 'redis://worker:secret@');

const node = await Node.start(scratch, { redis, settings: { rules: RULES } });

function start([program, ...args], run) {
  const child = spawn(program, [...args, run, 'hello'], { stdio: 'inherit', env: { ...process.env, REDIS_URL } });
  child.exited = new Promise((exited) => child.on('exit', exited));
  return child;
}

const transport = new DefaultChatTransport({ api: `${node.url}/ai` });

const resume = (chatId) => until('the run has begun', () => transport.reconnectToStream({ chatId }));

for (const [language, prepare] of Object.entries(languages)) {
  const [, program] = page.match(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'ms'));
  const lines = program.split('\n').filter((line) => line.trim()).length;
  assert.ok(lines < LINES, `the worker in ${language} has ${lines} lines`);
  const { ready, command } = prepare((name) => { fs.writeFileSync(scratch.file(name), program); return scratch.file(name); });
  if (!ready) { console.log(`skipped: ${language} is not installed`); continue; }
  const run = `run:${language}`;
  const worker = start(command, run);
  let message;
  for await (const state of readUIMessageStream({ stream: await resume(run) })) message = state;
  assert.match(message.parts.map((part) => part.text).join(''), /^You said 'hello': the tide comes in and goes out. $/);
  assert.equal(await worker.exited, 0);

  const stopped = start(command, `${run}:stop`);
  const reader = (await resume(`${run}:stop`)).getReader();
  const answer = await fetch(`${node.url}/publish/${run}:stop`, { method: 'POST', body: 'stop' });
  assert.equal(answer.status, 202);
  const chunks = [];
  for (let read = await reader.read(); !read.done; read = await reader.read()) chunks.push(read.value.type);
  assert.equal(chunks.at(-1), 'abort');
  assert.equal(await stopped.exited, 0);
  console.log(`ok: the worker in ${language} publishes, renews, ends and stops, in ${lines} lines`);
}

const [, dispatcher] = page.match(/^## A worker for each question$.*?^```python\n(.*?)^```/ms);
if (!fs.existsSync(PYTHON)) console.log('skipped: a worker for each question');
else {
  fs.writeFileSync(scratch.file('questions.py'), dispatcher);
  const asked = spawn(PYTHON, ['questions.py'], { cwd: scratch.path, stdio: ['ignore', 'inherit', 'ignore'], env: { ...process.env, REDIS_URL } });
  await until('the program listens', () => Number(execFileSync('redis-cli', ['-p', redis.port, 'PUBSUB', 'NUMPAT'])) > 0);
  for (const body of ['{"type":"send","messages":7}', '[]', 'stop', new Uint8Array([0xff]), '{"type":"send","messages":[{"parts":[{"type":"text","text":"\\u0000"}]}]}']) {
    await fetch(`${node.url}/publish/run:none`, { method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body });
  }
  const chats = new WebSocketChatTransport({ url: `${node.url.replace('http', 'ws')}/ws`, protocols: 'tidegate.v1.ai', webSocket: WebSocket });
  const messages = [{ id: 'u1', role: 'user', parts: [{ type: 'text', text: 'hello' }] }];
  const stream = await chats.sendMessages({ chatId: 'run:asked', messages, trigger: 'submit-message' });
  let message;
  for await (const state of readUIMessageStream({ stream })) message = state;
  assert.match(message.parts.map((part) => part.text).join(''), /^You said 'hello': /);
  chats.close();
  assert.equal(asked.exitCode, null);
  asked.kill();
  console.log('ok: a program starts a worker for each question, and goes on after what is no question');
}
assert.deepEqual(node.panics(), []);
process.exit(0);
