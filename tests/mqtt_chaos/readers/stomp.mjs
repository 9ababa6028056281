// stompjs as a subscriber that resumes: it keeps the message-id of the last message of each subscription, and subscribes with it.

import { clientOf } from '../publishers/stomp.mjs';
import { isKept } from '../plan.mjs';

/** Milliseconds after which a message is acknowledged, at most. */
const ACK_DELAY_MAX = 30;

export class StompReader {
  journal = [];
  connections = 0;
  positions = new Map();

  constructor(plan, { url, random, now }) { Object.assign(this, { ...plan, url, random, now }); }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  start() {
    this.client = clientOf({ url: this.url, random: this.random, calm: this.calm, note: (entry) => this.note(entry), connected: () => this.#subscribe() });
    this.client.onUnhandledReceipt = ({ headers }) => {
      const channel = headers.destination?.replace(/^\/topic\//, '');
      if (headers['receipt-id'] === 'tidegate-gap') this.note({ kind: 'gap', channel, reason: headers.reason });
      else this.note({ kind: 'breach', text: `a receipt ${headers['receipt-id']}` });
    };
    this.client.activate();
  }

  #subscribe() {
    this.connections += 1;
    const connection = this.connections;
    for (const channel of this.channels) {
      const since = this.positions.get(channel) ?? 'first';
      const receipt = `${connection}-${channel.replace(/\W/g, '-')}`;
      const headers = { ack: this.ack, receipt, ...(isKept(channel) ? { since } : {}) };
      this.note({ kind: 'open', channel, from: since });
      this.client.watchForReceipt(receipt, ({ headers: told }) => {
        if (connection !== this.connections) return;
        this.note({ kind: 'begun', channel, to: told.position, recovered: { true: true, false: false }[told.recovered] });
        if (told.recovered === 'false' && since !== 'first') { this.note({ kind: 'moved', channel, position: told.position }); this.positions.set(channel, told.position); }
      });
      this.client.subscribe(`/topic/${channel}`, (message) => this.#receive(channel, message, connection), headers);
    }
  }

  #receive(channel, message, connection) {
    if (connection !== this.connections) return;
    const { headers } = message;
    const position = isKept(channel) && /^\d+-\d+$/.test(headers['message-id']) ? headers['message-id'] : undefined;
    const topic = headers.destination.replace(/^\/topic\//, '');
    this.note({ kind: 'text', channel: topic, position, messageId: headers['message-id'], bytes: Buffer.from(message.binaryBody) });
    if (position) this.positions.set(channel, position);
    if (this.ack === 'auto') return;
    setTimeout(() => { if (this.client.connected && connection === this.connections) { if (this.random.chance(0.9)) message.ack(); else message.nack(); } }, this.random.between(0, ACK_DELAY_MAX));
  }

  /** Breaks its connection, and comes back. */
  reload() { this.client.forceDisconnect(); }

  close() {
    this.client.onWebSocketClose = () => {};
    this.client.deactivate({ force: true });
  }
}
