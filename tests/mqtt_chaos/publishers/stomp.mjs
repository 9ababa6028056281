// stompjs as a publisher: SEND with receipts and idempotency keys, several at a time. It connects again by itself, and what has no receipt is sent
// again in its order.

import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { sleep } from '../../browser/lib/wait.mjs';

// stompjs uses that of the browser, which Node 20 has not.
globalThis.WebSocket ??= WebSocket;

const UNACKNOWLEDGED_MAX = 8;

/** A client of stompjs, with what both publishers and readers need. */
export function clientOf({ url, random, note, connected, calm }) {
  const beat = calm ? 20_000 : 1000;
  const client = new Client({
    brokerURL: `${url}/ws`, reconnectDelay: random.between(50, 400), connectionTimeout: 4000,
    heartbeatIncoming: beat, heartbeatOutgoing: beat, heartbeatToleranceMultiplier: 4, discardWebsocketOnCommFailure: true,
  });
  let isConnected = false;
  client.onConnect = (frame) => { isConnected = true; note({ kind: 'connected' }); connected(frame); };
  client.onWebSocketClose = ({ code, reason }) => { if (isConnected) note({ kind: 'lost', code, why: reason }); isConnected = false; };
  client.onStompError = ({ headers }) => {
    note({ kind: 'error', code: headers.code, text: headers.message });
    if (['bad_request', 'forbidden', 'unauthorized', 'too_large', 'policy'].includes(headers.code)) note({ kind: 'breach', text: `ERROR ${headers.code}: ${headers.message}` });
  };
  return client;
}

export class StompPublisher {
  journal = [];
  connections = 0;
  #isOver = false;
  #outstanding = new Map();
  #receipts = 0;

  constructor(plan, context) {
    Object.assign(this, plan, context);
    this.source = this.ledger.source(plan.name, this.random);
  }

  note(entry) { this.journal.push({ at: Math.round(this.now()), ...entry }); }

  get unsettled() { return [...this.#outstanding.keys()]; }

  start() {
    this.client = clientOf({
      url: this.url, random: this.random, calm: this.calm, note: (entry) => this.note(entry),
      connected: () => { this.connections += 1; for (const it of this.#outstanding.values()) this.#send(it); },
    });
    this.client.activate();
    this.publishing = this.#publish();
  }

  async #publish() {
    while (!this.#isOver) {
      await sleep(this.random.unit() * 2 * this.pace);
      if (!this.client.connected || this.#outstanding.size >= UNACKNOWLEDGED_MAX || this.#isOver) continue;
      const publication = this.source.next(this.random.pick(this.channels), { via: 'keyed', qos: 2 });
      this.#outstanding.set(publication.id, publication);
      this.#send(publication);
    }
  }

  #send(publication) {
    const { connections: connection, client } = this;
    if (!client.connected) return;
    const receipt = `${connection}-${++this.#receipts}`;
    client.watchForReceipt(receipt, ({ headers }) => {
      this.source.acknowledged(publication, connection, headers.position);
      this.#outstanding.delete(publication.id);
    });
    this.source.sent(publication, connection);
    const { bytes, isBinary, id } = publication;
    const body = isBinary ? { binaryBody: new Uint8Array(bytes), headers: { 'content-type': 'application/octet-stream' } } : { body: bytes.toString(), headers: { 'content-type': 'text/plain' } };
    const destination = this.random.pick(['/topic/', '/channel/', '']) + publication.channel;
    client.publish({ destination, ...body, headers: { ...body.headers, receipt, 'idempotency-key': id } });
  }

  stop() { this.#isOver = true; }

  close() {
    this.stop();
    this.client.onWebSocketClose = () => {};
    this.client.deactivate({ force: true });
  }
}
