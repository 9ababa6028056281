// Clients that send what no client should, over MQTT's TCP port and over WebSockets. Each ends alone: whether it did is noted.

import net from 'node:net';
import mqtt from 'mqtt-packet';
import WebSocket from 'ws';
import { sleep } from '../browser/lib/wait.mjs';
import { CHANNELS, NOISE } from './plan.mjs';

const V5 = { protocolVersion: 5 };

const connect = (options = {}) => mqtt.generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: true, clientId: '', keepalive: 0, ...options }, V5);
const publish = (qos, messageId, topic = NOISE, length = 100) => mqtt.generate({ cmd: 'publish', topic, payload: Buffer.alloc(length, 0x2a), qos, messageId, dup: false, retain: false }, V5);

/** What each sends: pieces of bytes, with pauses of so many milliseconds between. */
const ATTACKS = {
  half: (random) => [connect(), 50, publish(1, 1, CHANNELS[0], 5000).subarray(0, random.between(1, 4000))],
  garbage: (random) => [random.chance(0.5) ? connect() : Buffer.alloc(0), Buffer.from(Array.from({ length: 3000 }, () => random.between(0, 255)))],
  giant: () => [connect(), 20, Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(100_000, 0x61)],
  silence: () => [connect({ keepalive: 1 })],
  unreleased: () => [connect(), 20, ...Array.from({ length: 400 }, (_, at) => publish(2, at + 1))],
  unread: () => [connect(), 20, mqtt.generate({ cmd: 'subscribe', messageId: 1, subscriptions: CHANNELS.map((topic) => ({ topic, qos: 1 })) }, V5)],
  unacknowledged: () => [connect(), 20, mqtt.generate({ cmd: 'subscribe', messageId: 1, subscriptions: CHANNELS.map((topic) => ({ topic, qos: 1 })) }, V5)],
  twice: () => [connect(), 20, connect()],
  topics: () => [connect(), 20, publish(0, 0), Buffer.concat([Buffer.from([0x30, 5, 0, 2]), Buffer.from('+/', 'latin1'), Buffer.from([0])])],
  frames: () => [Buffer.from('STOMP\naccept-version:1.2\n'), 20, Buffer.from('host:x\n'.repeat(4000))],
};

export class Hostile {
  journal = [];

  constructor({ how, node, seed, number }, { random, now, url, mqttPort }) {
    Object.assign(this, { name: `h${number}-${how}`, how, node, seed, random, now, url, mqttPort });
  }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  async run() {
    const overStomp = this.how === 'frames';
    const pieces = ATTACKS[this.how](this.random);
    const isSocket = overStomp || this.random.chance(0.5);
    const link = isSocket ? this.#socket(overStomp ? 'v12.stomp' : 'mqtt') : this.#stream();
    this.note({ kind: 'attack', isSocket });
    await link.opened;
    for (const piece of pieces) {
      if (typeof piece === 'number') await sleep(piece);
      else link.write(piece);
    }
    this.note({ kind: 'sent' });
    if (this.how === 'unread') link.pause();
    if (this.how === 'half') { await sleep(this.random.between(0, 500)); link.reset(); }
  }

  #stream() {
    const socket = net.connect(this.mqttPort, '127.0.0.1');
    const opened = new Promise((done) => { socket.on('connect', () => { this.isOpen = true; done(); }); socket.on('error', done); });
    socket.on('data', () => {});
    socket.on('close', () => { this.#ended(); });
    this.close = () => socket.destroy();
    return { opened, write: (bytes) => { if (!socket.destroyed) socket.write(bytes); }, pause: () => socket.pause(), reset: () => socket.resetAndDestroy() };
  }

  #socket(protocol) {
    const socket = new WebSocket(`${this.url}/ws`, protocol, { perMessageDeflate: false });
    const opened = new Promise((done) => { socket.on('open', () => { this.isOpen = true; done(); }); socket.on('close', done); });
    socket.on('error', () => {});
    socket.on('close', () => this.#ended());
    this.close = () => socket.terminate();
    return {
      opened,
      write: (bytes) => { if (socket.readyState === WebSocket.OPEN && bytes.length) socket.send(bytes); },
      pause: () => { if (socket.readyState === WebSocket.OPEN) socket.pause(); },
      reset: () => socket.terminate(),
    };
  }

  #ended() { this.hasEnded = true; this.note({ kind: 'ended' }); }

  /** What the node must end: all but those that only wait, do not read or do not acknowledge. */
  get mustEnd() { return this.isOpen && !['half', 'unread', 'unacknowledged', 'garbage'].includes(this.how); }
}
