// An HTTP proxy as companies have them: it knows requests and responses, blocks what it does not know, and scans bodies before it
// passes them on. HTTP/1.1, without TLS.

import http from 'node:http';
import net from 'node:net';

/** Bytes of a response that are held back at most. */
const HELD_BYTES_MAX = 64 * 1024;

/** Headers that belong to one connection and are not passed on (RFC 9110, section 7.6.1). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'trailer'];

const withoutHopByHop = (headers) => Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));

/**
 * `upgrades`: `pass`, a status such as `403` that answers them, or `hang`, which never answers.
 * `streams`: `pass`; `body` passes the head of an event stream, and its events only when it has ended or is larger than 64 KiB; `all`
 * holds the head back, too.
 */
export class CompanyProxy {
  static async listen(target, { upgrades = 'pass', streams = 'pass' } = {}) {
    const proxy = new CompanyProxy(target, upgrades, streams);
    await new Promise((listening) => proxy.server.listen(0, '127.0.0.1', listening));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  constructor(target, upgrades, streams) {
    Object.assign(this, { target, upgrades, streams });
    /** How many requests of each kind came: for tests of what a client tries. */
    this.seen = { upgrades: 0, streams: 0, requests: 0 };
    this.sockets = new Set();
    this.agent = new http.Agent({ keepAlive: true });
    this.server = http.createServer((request, response) => this.#forward(request, response));
    this.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  get url() { return `http://127.0.0.1:${this.port}`; }

  cut() { for (const socket of this.sockets) socket.destroy(); }

  close() {
    this.server.close();
    this.cut();
    this.agent.destroy();
  }

  #forward(request, response) {
    this.seen.requests += 1;
    const upstream = http.request({
      host: '127.0.0.1', port: this.target, method: request.method, path: request.url, agent: this.agent, setHost: false,
      headers: withoutHopByHop(request.headers),
    });
    response.on('close', () => { if (!response.writableFinished) upstream.destroy(); });
    upstream.on('error', () => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad gateway</h1>');
    });
    upstream.on('response', (answer) => this.#respond(answer, response));
    request.pipe(upstream);
  }

  #respond(answer, response) {
    const head = () => response.writeHead(answer.statusCode, withoutHopByHop(answer.headers));
    const isStream = (answer.headers['content-type'] ?? '').startsWith('text/event-stream');
    if (isStream) this.seen.streams += 1;
    answer.on('error', () => response.destroy());
    answer.on('close', () => { if (!answer.complete) response.destroy(); });
    if (!isStream || this.streams === 'pass') {
      head();
      response.flushHeaders();
      answer.pipe(response);
      return;
    }
    if (this.streams === 'body') { head(); response.flushHeaders(); }
    let held = [];
    const pass = () => {
      if (!response.headersSent) head();
      for (const bytes of held) response.write(bytes);
      held = [];
    };
    answer.on('data', (bytes) => {
      held.push(bytes);
      if (held.reduce((sum, it) => sum + it.length, 0) > HELD_BYTES_MAX) pass();
    });
    answer.on('end', () => { pass(); response.end(); });
  }

  #upgrade(request, socket, head) {
    this.seen.upgrades += 1;
    socket.on('error', () => {});
    if (this.upgrades === 'hang') return;
    if (this.upgrades !== 'pass') {
      socket.end(`HTTP/1.1 ${this.upgrades} Blocked\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    const upstream = net.connect(this.target, '127.0.0.1', () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let at = 0; at < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
      upstream.write(`${lines.join('\r\n')}\r\n\r\n`);
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    upstream.on('close', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
  }
}
