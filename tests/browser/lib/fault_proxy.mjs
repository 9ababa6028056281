// The network between clients and nodes, with faults: a TCP proxy that carries bytes as they are.
//
// A connection that is cut ends on both sides. In a black hole it stays open on both sides and carries nothing, also not its end:
// each side finds out only by its own heartbeat.

import net from 'node:net';
import { sleep } from './wait.mjs';

/** Bytes that one direction of a connection holds back, before the proxy stops reading from the sender. */
const HELD_BYTES_MAX = 256 * 1024;

/** No fault. `latency` and `jitter` are milliseconds, `stalled` names the direction that carries nothing until it is healed. */
const HEALTHY = Object.freeze({ latency: 0, jitter: 0, bytesPerSecond: Infinity, stalled: null, refused: false, blackHole: false });

export class FaultProxy {
  /** Listens on a port of its own and connects each connection to `target`, a port of loopback. `random` draws the jitter. */
  static async listen(target, random) {
    const proxy = new FaultProxy(target, random);
    await new Promise((listening) => proxy.server.listen(0, '127.0.0.1', listening));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  constructor(target, random) {
    /** Where new connections go. */
    this.target = target;
    this.random = random;
    this.faults = { ...HEALTHY };
    /** All connections since the start, those that were refused among them. */
    this.accepted = 0;
    this.connections = new Set();
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  get url() { return `http://127.0.0.1:${this.port}`; }

  /** Adds faults, for the connections that are open and for new ones. */
  set(faults) {
    const unknown = Object.keys(faults).filter((name) => !(name in HEALTHY));
    if (unknown.length) throw new Error(`unknown faults: ${unknown}`);
    Object.assign(this.faults, faults);
    if (faults.blackHole) for (const connection of this.connections) connection.lost = true;
    for (const connection of this.connections) connection.wake();
  }

  /** Removes all faults. Connections that were in a black hole stay there: what was sent is lost. */
  heal() { this.set(HEALTHY); }

  /** Ends all connections, with FIN or RST. */
  cut({ reset = false } = {}) {
    for (const connection of this.connections) connection.end(reset);
  }

  async close() {
    this.server.close();
    this.cut({ reset: true });
  }

  #accept(client) {
    this.accepted += 1;
    if (this.faults.refused) { client.resetAndDestroy(); return; }
    this.connections.add(new Connection(this, client));
  }
}

class Connection {
  constructor(proxy, client) {
    this.proxy = proxy;
    this.client = client;
    this.lost = proxy.faults.blackHole;
    this.server = net.connect({ port: proxy.target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.pumps = [new Pump(this, client, this.server, 'up'), new Pump(this, this.server, client, 'down')];
    for (const socket of [this.client, this.server]) {
      socket.on('error', () => {});
      // A side that broke takes the other one with it, unless nothing is carried any more.
      socket.on('close', (hadError) => {
        if (hadError && !this.lost) this.end(true);
        if (this.client.destroyed && this.server.destroyed) proxy.connections.delete(this);
      });
    }
  }

  wake() { for (const pump of this.pumps) pump.wake(); }

  end(reset) {
    for (const socket of [this.client, this.server]) {
      if (reset) socket.resetAndDestroy(); else socket.destroy();
    }
    this.proxy.connections.delete(this);
    this.wake();
  }
}

/** One direction of a connection. */
class Pump {
  #queue = [];
  #heldBytes = 0;
  #busy = false;
  #woken = null;

  constructor(connection, from, to, direction) {
    Object.assign(this, { connection, from, to, direction });
    from.on('data', (bytes) => this.#hold(bytes));
    from.on('end', () => this.#hold(null));
  }

  /** Looks at the faults again. */
  wake() { this.#woken?.(); }

  #hold(bytes) {
    const { lost, proxy } = this.connection;
    if (lost) return;
    const { latency, jitter } = proxy.faults;
    const delay = Math.max(0, latency + (jitter ? (proxy.random.unit() * 2 - 1) * jitter : 0));
    this.#queue.push({ bytes, due: performance.now() + delay });
    this.#heldBytes += bytes?.length ?? 0;
    if (this.#heldBytes > HELD_BYTES_MAX) this.from.pause();
    if (!this.#busy) this.#carry();
  }

  async #carry() {
    this.#busy = true;
    while (this.#queue.length) {
      const { bytes, due } = this.#queue[0];
      const early = due - performance.now();
      if (early > 0) await sleep(early);
      while (this.#isStalled() && !this.to.destroyed) await new Promise((woken) => { this.#woken = woken; });
      const { bytesPerSecond } = this.connection.proxy.faults;
      if (bytes && bytesPerSecond < Infinity) await sleep((bytes.length / bytesPerSecond) * 1000);
      this.#queue.shift();
      this.#heldBytes -= bytes?.length ?? 0;
      if (this.to.destroyed) continue;
      if (this.connection.lost) continue;
      await this.#write(bytes);
      if (this.#heldBytes <= HELD_BYTES_MAX) this.from.resume();
    }
    this.#busy = false;
  }

  #isStalled() {
    const { stalled } = this.connection.proxy.faults;
    return stalled === this.direction || stalled === 'both';
  }

  async #write(bytes) {
    if (bytes === null) { this.to.end(); return; }
    if (this.to.write(bytes)) return;
    await new Promise((writable) => {
      const done = () => { this.to.off('drain', done); this.to.off('close', done); writable(); };
      this.to.on('drain', done);
      this.to.on('close', done);
    });
  }
}
