// A publisher of QoS 2 over TCP that sends a publication several times on one connection, as the protocol allows until PUBREC, and its PUBREL too.

import net from 'node:net';
import mqtt from 'mqtt-packet';
import { sleep } from '../../browser/lib/wait.mjs';

const V4 = { protocolVersion: 4 };

/** Milliseconds for an answer, after which it connects again. */
const ANSWER_TIME_MAX = 4000;

export class RepeatingPublisher {
  journal = [];
  connections = 0;
  #isOver = false;
  #socket = null;
  #waiting = null;
  #current = null;

  constructor(plan, { port, ledger, random, now }) {
    Object.assign(this, { ...plan, port, ledger, random, now });
    this.source = ledger.source(plan.name, random);
  }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  get unsettled() { return this.#current ? [this.#current.id] : []; }

  start() { this.publishing = this.#publish(); }

  async #publish() {
    let messageId = 0;
    while (!this.#isOver || this.#current) {
      if (this.isClosed) return;
      await sleep(this.random.unit() * 2 * this.pace);
      this.#current ??= this.#isOver ? null : this.source.next(this.random.pick(this.channels), { via: 'mqtt', qos: 2 });
      if (!this.#current) return;
      try {
        await this.#connect();
        messageId = (messageId % 0xffff) + 1;
        await this.#deliver(this.#current, messageId);
        this.#current = null;
      } catch (error) {
        this.note({ kind: 'lost', why: error.message });
        this.#socket?.destroy();
        this.#socket = null;
        await sleep(this.random.between(20, 300));
      }
    }
  }

  async #deliver(publication, messageId) {
    const packet = { cmd: 'publish', topic: publication.channel, payload: publication.bytes, qos: 2, messageId, retain: false };
    const received = this.#answer('pubrec', messageId);
    for (let copy = this.random.between(1, 4); copy > 0; copy -= 1) {
      this.source.sent(publication, this.connections);
      this.#write({ ...packet, dup: copy < 4 && publication.attempts.length > 1 });
      if (this.random.chance(0.5)) await sleep(this.random.between(0, 5));
    }
    await received;
    if (!publication.acks.length) this.source.acknowledged(publication, this.connections);
    // Also after PUBREC, until its release.
    if (this.random.chance(0.3)) this.#write({ ...packet, dup: true });
    const released = this.#answer('pubcomp', messageId);
    for (let copy = this.random.between(1, 2); copy > 0; copy -= 1) this.#write({ cmd: 'pubrel', messageId, qos: 1 });
    await released;
  }

  #write(packet) { this.#socket?.write(mqtt.generate(packet, V4)); }

  #answer(cmd, messageId) {
    const answer = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${cmd} in time`)), ANSWER_TIME_MAX);
      this.#waiting = { cmd, messageId, reject, resolve: (packet) => { clearTimeout(timer); resolve(packet); } };
    });
    answer.catch(() => {});
    return answer;
  }

  async #connect() {
    if (this.#socket) return;
    this.connections += 1;
    const socket = net.connect(this.port, '127.0.0.1');
    this.#socket = socket;
    const parser = mqtt.parser(V4);
    parser.on('packet', (packet) => {
      const { cmd, messageId } = packet;
      if (cmd === this.#waiting?.cmd && (messageId ?? 0) === this.#waiting.messageId) this.#waiting.resolve(packet);
    });
    parser.on('error', (error) => this.note({ kind: 'breach', text: error.message }));
    socket.on('data', (bytes) => parser.parse(bytes));
    socket.on('error', () => {});
    socket.on('close', () => { if (this.#socket === socket) { this.#socket = null; this.#waiting?.reject(new Error('closed')); } });
    const accepted = this.#answer('connack', 0);
    this.#write({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: this.name, keepalive: 0 });
    const { returnCode } = await accepted;
    if (returnCode) throw new Error(`CONNACK ${returnCode}`);
    this.note({ kind: 'connected' });
  }

  stop() { this.#isOver = true; }

  close() {
    this.stop();
    this.isClosed = true;
    this.#socket?.destroy();
  }
}
