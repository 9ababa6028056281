// Redis servers and nodes as processes on loopback. They end with this process.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { until } from './wait.mjs';

const BINARY = process.env.TIDEGATE || new URL('../../../target/debug/tidegate', import.meta.url).pathname;

/** The processes that run. */
const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) process.on(signal, () => process.exit(code));

/** A directory for logs and data, deleted when this process exits unless `keep()` was called. */
export class Scratch {
  #kept = false;

  constructor(prefix = 'tidegate-browser-') {
    this.path = fs.mkdtempSync(path.join(os.tmpdir(), prefix));
    process.on('exit', () => { if (!this.#kept) this.remove(); });
  }

  file(name) { return path.join(this.path, name); }

  keep() { this.#kept = true; }

  remove() { fs.rmSync(this.path, { recursive: true, force: true, maxRetries: 3 }); }
}

/**
 * Ports of services that are restarted on their port: below those that the system gives to connections, so that none takes a port
 * meanwhile.
 */
const PORTS = { from: 12_000, to: 32_000 };

export async function freePort() {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    const server = net.createServer();
    const isFree = await new Promise((known) => server.on('error', () => known(false)).listen(port, '127.0.0.1', () => known(true)));
    if (!isFree) continue;
    await new Promise((closed) => server.close(closed));
    return port;
  }
}

/** A process that can be killed and started again with the same arguments. Its output is appended to `log`. */
class Service {
  constructor(log) { this.log = log; }

  get isRunning() { return running.has(this.child); }

  spawn(program, args) {
    const output = fs.openSync(this.log, 'a');
    const child = spawn(program, args, { stdio: ['ignore', output, output] });
    fs.closeSync(output);
    running.add(child);
    child.exited = new Promise((exited) => {
      child.on('error', (error) => { fs.appendFileSync(this.log, `${error.message}\n`); exited(); });
      child.on('exit', exited);
    }).finally(() => running.delete(child));
    this.child = child;
  }

  /** Sends the signal and waits for the end of the process. Does nothing if it has ended. */
  async end(signal = 'SIGKILL') {
    if (!this.isRunning) return;
    this.child.kill(signal);
    // A process that is paused by SIGSTOP receives only SIGKILL.
    if (signal !== 'SIGKILL') this.child.kill('SIGCONT');
    await this.child.exited;
  }

  kill() { return this.end('SIGKILL'); }

  pause() { this.child.kill('SIGSTOP'); }

  resume() { this.child.kill('SIGCONT'); }

  logged() { return fs.existsSync(this.log) ? fs.readFileSync(this.log, 'utf8') : ''; }
}

/** A Redis server. With `durable`, what it has acknowledged survives a kill. */
export class Redis extends Service {
  static async start(scratch, { durable = false, name = 'redis' } = {}) {
    const redis = new Redis(scratch.file(`${name}.log`));
    redis.directory = scratch.file(`${name}-data`);
    fs.mkdirSync(redis.directory);
    redis.durable = durable;
    redis.port = await freePort();
    await redis.run();
    return redis;
  }

  get url() { return `redis://127.0.0.1:${this.port}`; }

  async run() {
    this.spawn('redis-server', ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--dir', this.directory,
      '--appendonly', this.durable ? 'yes' : 'no', '--appendfsync', 'always']);
    await until('Redis answers', () => this.#answers(), { found: () => this.logged().slice(-500) });
  }

  #answers() {
    return new Promise((answer) => {
      const socket = net.connect(this.port, '127.0.0.1', () => socket.write('PING\r\n'));
      socket.on('data', (data) => { answer(data.toString().startsWith('+PONG')); socket.destroy(); });
      socket.on('error', () => answer(false));
      socket.on('close', () => answer(false));
    });
  }
}

/** A node with a public and an internal listener on ports of its own, which stay the same over restarts. */
export class Node extends Service {
  /**
   * `config` is the path of a file of settings, and `settings` are arguments of `--set`: `{ 'drain.delay': '0s' }`. Without `redis`, the
   * node has the memory broker.
   */
  static async start(scratch, { name = 'node', redis = null, config = null, settings = {} } = {}) {
    const node = new Node(scratch.file(`${name}.log`));
    node.name = name;
    node.config = config;
    node.settings = { 'broker.url': redis ? redis.url : 'memory:', ...settings };
    [node.port, node.internalPort] = await Promise.all([freePort(), freePort()]);
    await node.run();
    await node.untilReady();
    return node;
  }

  get url() { return `http://127.0.0.1:${this.port}`; }

  get internalUrl() { return `http://127.0.0.1:${this.internalPort}`; }

  /** Starts the process and waits until it listens; it may not be ready, for want of Redis. */
  async run() {
    const settings = { 'server.listen': `127.0.0.1:${this.port}`, 'internal.listen': `127.0.0.1:${this.internalPort}`, ...this.settings };
    const config = this.config ? ['--config', this.config] : [];
    this.spawn(BINARY, [...config, ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])]);
    await until(`${this.name} listens`, () => {
      if (!this.isRunning) throw new Error(`${this.name} ended: ${this.logged().slice(-1000)}`);
      return this.#status('/healthz');
    }, { found: () => this.logged().slice(-500) });
  }

  untilReady() {
    return until(`${this.name} is ready`, async () => (await this.#status('/readyz')) === 200, { found: () => this.logged().slice(-500) });
  }

  async #status(at) {
    try {
      const answer = await fetch(this.internalUrl + at, { signal: AbortSignal.timeout(2000) });
      await answer.arrayBuffer();
      return answer.status;
    } catch {
      return 0;
    }
  }

  /** The value of a metric without labels, or the sum over its labels. */
  async metric(name) {
    const text = await (await fetch(`${this.internalUrl}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    if (!lines.length) throw new Error(`${this.name} has no metric ${name}`);
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** Publishes as a service does, through the internal listener's API. `body` is text, `timeout` milliseconds. */
  async publish(channel, body, { timeout = 10_000 } = {}) {
    const answer = await fetch(`${this.internalUrl}/api/publish/${encodeURIComponent(channel)}`, { method: 'POST', body, signal: AbortSignal.timeout(timeout) });
    const text = await answer.text();
    if (answer.status !== 202) throw new Error(`publishing on ${channel}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : {};
  }

  /** Closes this share of the connections with 1012, as a node that drains does. */
  async drain(percent = 100) {
    const answer = await fetch(`${this.internalUrl}/api/drain?percent=${percent}`, { method: 'POST' });
    await answer.arrayBuffer();
    if (answer.status >= 300) throw new Error(`drain: ${answer.status}`);
  }

  panics() { return this.logged().split('\n').filter((line) => line.includes('panicked')); }
}
