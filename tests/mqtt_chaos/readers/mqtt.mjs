// npm's mqtt as a subscriber. MQTT has no positions: from SUBACK to the end of the connection it gets everything.

import mqtt from 'mqtt';
import { isViolation, optionsOf, watch } from '../publishers/mqtt.mjs';

/** Milliseconds until a subscription that was refused for now is tried again. */
const RETRY = 200;

/** Milliseconds that a client gets to leave. */
const END_TIME_MAX = 1000;

export class MqttReader {
  journal = [];
  connections = 0;
  #closed = false;

  constructor(plan, { url, random, now }) { Object.assign(this, { ...plan, url, random, now }); }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  start() {
    const options = optionsOf(this, this.random);
    if (options.protocolVersion === 5 && this.receiveMaximum) options.properties = { receiveMaximum: this.receiveMaximum };
    const client = mqtt.connect(this.url, { ...options, resubscribe: false });
    this.client = client;
    const asked = new Map();
    client.on('connect', () => { this.connections += 1; this.note({ kind: 'connected' }); asked.clear(); this.#subscribe(this.channels); });
    client.on('packetsend', ({ cmd, messageId, subscriptions }) => { if (cmd === 'subscribe') asked.set(messageId, subscriptions.map(({ topic }) => topic)); });
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'suback') this.#begin(asked.get(packet.messageId), packet.granted);
      if (packet.cmd === 'publish') this.#receive(packet);
    });
    client.on('error', (error) => this.note({ kind: 'error', text: error.message, code: error.code }));
    client.on('disconnect', (packet) => {
      this.note({ kind: 'disconnected', code: packet.reasonCode, text: packet.properties?.reasonString });
      if (isViolation(packet)) this.note({ kind: 'breach', text: `DISCONNECT ${packet.reasonCode} ${packet.properties?.reasonString}` });
    });
    client.on('close', () => this.note({ kind: 'lost' }));
    this.unwatch = watch(client, () => { this.note({ kind: 'revived' }); this.reload(); });
  }

  #subscribe(channels) {
    if (this.#closed || !this.client.connected) return;
    this.client.subscribe(channels, { qos: this.qos }, () => {});
  }

  #begin(channels, granted) {
    const refused = channels.filter((channel, at) => (granted[at]?.qos ?? granted[at]) > 2);
    for (const channel of channels) if (!refused.includes(channel)) this.note({ kind: 'begun', channel, granted: granted[channels.indexOf(channel)] });
    if (!refused.length) return;
    this.note({ kind: 'refused', text: refused.join(), granted });
    const { connections } = this;
    setTimeout(() => { if (connections === this.connections) this.#subscribe(refused); }, RETRY);
  }

  #receive({ topic, payload, qos, dup, retain, messageId }) {
    this.note({ kind: 'text', channel: topic, bytes: Buffer.from(payload), qos, dup, retain, messageId });
  }

  /** Leaves with a DISCONNECT, or breaks its connection, and comes back as another client of the library. */
  reload() {
    if (this.#closed) return;
    const { client } = this;
    this.unwatch();
    for (const event of ['close', 'packetreceive', 'packetsend', 'connect']) client.removeAllListeners(event);
    this.note({ kind: 'lost', why: 'reload' });
    client.end(this.random.chance(0.5));
    // The DISCONNECT may never leave, or its answer never come.
    setTimeout(() => client.end(true), END_TIME_MAX);
    this.start();
  }

  close() {
    this.#closed = true;
    this.unwatch();
    this.client.removeAllListeners('close');
    this.client.end(true);
  }
}
