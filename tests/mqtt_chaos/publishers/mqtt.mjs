// npm's mqtt as a publisher of QoS 0, 1 and 2. It connects again by itself, and sends again what is not acknowledged.

import mqtt from 'mqtt';
import { sleep } from '../../browser/lib/wait.mjs';

/** Publications of QoS 1 and 2 that may be unacknowledged; the node allows 64 of QoS 2. */
const UNACKNOWLEDGED_MAX = 30;

/** Packet identifier not found. */
const RELEASE_UNKNOWN = 0x92;

/** Options of both publishers and readers of this library. */
export function optionsOf({ name, kind, calm }, random) {
  return {
    clientId: name,
    protocolVersion: kind.includes('5') ? 5 : 4,
    clean: true,
    keepalive: calm ? 60 : 2,
    connectTimeout: 4000,
    reconnectPeriod: random.between(300, 1000),
    reschedulePings: true,
  };
}

/** Milliseconds without a connection, an attempt or a packet after which the library has given up. */
const GIVEN_UP_AFTER = 8000;

/**
 * Calls `revive` when the client has given up: mqtt 5.16 never connects again if its reconnect timer fires between a keep-alive timeout and the
 * close of that connection. Returns a function that ends the watch.
 */
export function watch(client, revive) {
  let last = performance.now();
  const isAlive = () => { last = performance.now(); };
  for (const event of ['reconnect', 'connect', 'close', 'packetreceive']) client.on(event, isAlive);
  const timer = setInterval(() => {
    if (performance.now() - last < GIVEN_UP_AFTER || !client.disconnecting) return;
    clearInterval(timer);
    revive();
  }, 500);
  return () => clearInterval(timer);
}

export const schemeOf = (kind) => (kind.endsWith('tcp') ? 'mqtt' : 'ws');

/** What a client was told by DISCONNECT that says that it, or the node, has violated the protocol. */
export const isViolation = ({ reasonCode }) => [0x81, 0x82, 0x90, 0x93, 0x94, 0x95].includes(reasonCode);

export class MqttPublisher {
  journal = [];
  connections = 0;
  #byMessageId = new Map();
  #outstanding = new Set();
  #isOver = false;

  constructor(plan, { url, ledger, random, now }) {
    Object.assign(this, { ...plan, url, ledger, random, now });
    this.source = ledger.source(plan.name, random);
  }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  /** Publications that are neither acknowledged nor refused. */
  get unsettled() { return [...this.#outstanding].map(({ id }) => id); }

  start() {
    const options = optionsOf(this, this.random);
    if (this.hasWill) {
      this.will ??= this.source.next(this.random.pick(this.channels), { via: 'will', qos: 1 });
      options.will = { topic: this.will.channel, payload: this.will.bytes, qos: 1, retain: false };
    }
    const client = mqtt.connect(this.url, options);
    this.client = client;
    client.on('packetsend', (packet) => this.#sent(packet));
    client.on('packetreceive', (packet) => this.#received(packet));
    client.on('error', (error) => this.note({ kind: 'error', text: error.message, code: error.code }));
    client.on('disconnect', (packet) => {
      this.note({ kind: 'disconnected', code: packet.reasonCode, text: packet.properties?.reasonString });
      if (isViolation(packet)) this.note({ kind: 'breach', text: `DISCONNECT ${packet.reasonCode} ${packet.properties?.reasonString}` });
    });
    client.on('close', () => { if (this.isConnected) this.note({ kind: 'lost' }); this.isConnected = false; });
    this.unwatch = watch(client, () => this.#revive());
    this.publishing ??= this.#publish();
  }

  /** What is not acknowledged is lost with the client: nothing was promised. */
  #revive() {
    this.note({ kind: 'revived', unknown: this.unsettled });
    this.#drop();
    this.#outstanding.clear();
    this.#byMessageId.clear();
    if (!this.isClosed) this.start();
  }

  #drop() {
    this.unwatch?.();
    for (const event of ['close', 'packetreceive', 'packetsend']) this.client.removeAllListeners(event);
    this.isConnected = false;
    this.client.end(true);
  }

  async #publish() {
    while (!this.#isOver) {
      await sleep(this.random.unit() * 2 * this.pace);
      const isFull = this.#outstanding.size >= UNACKNOWLEDGED_MAX;
      const qos = isFull || !this.isConnected ? 0 : this.random.between(0, 2);
      // What is published while it is not connected would be sent later.
      if (this.isConnected && !this.#isOver) this.#send(qos);
    }
  }

  #send(qos) {
    const publication = this.source.next(this.random.pick(this.channels), { via: 'mqtt', qos });
    if (qos) this.#outstanding.add(publication);
    this.client.publish(publication.channel, publication.bytes, { qos, retain: this.random.chance(0.1) }, (error) => {
      // Without a code, the library has given it up. With 0x92, it is the release of one that the connection before has acknowledged.
      if (error && qos) this.note({ kind: error.code === undefined || error.code === RELEASE_UNKNOWN ? 'unknown' : 'refused', id: publication.id, text: error.message, code: error.code });
      this.#outstanding.delete(publication);
    });
  }

  #sent({ cmd, payload, messageId, qos }) {
    if (cmd === 'connect') { this.connections += 1; if (this.will) this.source.sent(this.will, this.connections); }
    if (cmd !== 'publish') return;
    const publication = this.ledger.find(Buffer.from(payload));
    this.source.sent(publication, this.connections);
    if (qos) this.#byMessageId.set(messageId, publication);
  }

  #received({ cmd, messageId, reasonCode = 0, returnCode = 0 }) {
    if (cmd === 'connack') {
      this.isConnected = reasonCode < 0x80 && !returnCode;
      this.note({ kind: 'connected', code: reasonCode || returnCode });
    }
    if ((cmd !== 'puback' && cmd !== 'pubrec') || reasonCode >= 0x80) return;
    const publication = this.#byMessageId.get(messageId);
    if (!publication) { this.note({ kind: 'breach', text: `${cmd} of ${messageId}, which is not in use` }); return; }
    if (publication.qos !== (cmd === 'puback' ? 1 : 2)) this.note({ kind: 'breach', text: `${cmd} for a publication of QoS ${publication.qos}` });
    this.source.acknowledged(publication, this.connections);
  }

  /** Publishes nothing more. What is not acknowledged is still sent again. */
  stop() { this.#isOver = true; }

  close() {
    this.isClosed = true;
    this.stop();
    this.#drop();
  }
}
