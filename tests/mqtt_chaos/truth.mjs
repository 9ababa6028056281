// What a channel with history has been: which publication is at which position, from what Redis has in the end and from what clients were told.

import { parsePosition } from '../runs_chaos/truth.mjs';
import { copiesMax } from './audit.mjs';
import { labelOf } from './ledger.mjs';

class Place {
  constructor(position) { Object.assign(this, parsePosition(position)); }

  toString() { return `${this.epoch}-${this.seq}`; }
}

export class Truth {
  /** By identifier: places, in the order in which they are found. */
  #places = new Map();
  /** By position: the identifier. */
  #ids = new Map();

  constructor({ channel, publications, rows, readers, lost, find }) {
    Object.assign(this, { channel, publications, find });
    const copies = new Map();
    for (const { position, bytes } of rows) {
      const publication = publications.get(labelOf(bytes).id);
      if (!publication?.attempts.length || publication.channel !== channel) { find('Phantom', `${position} has ${JSON.stringify(bytes.toString().slice(0, 80))}`); continue; }
      if (!publication.bytes.equals(bytes)) find('WrongBytes', `${position} has other bytes than ${publication.id}`);
      this.#add(position, publication.id);
      copies.set(publication.id, (copies.get(publication.id) ?? 0) + 1);
    }
    for (const { positions, id, channel: on } of publications.values()) if (on === channel) for (const it of positions) this.#add(it, id);
    for (const { journal } of readers) {
      for (const it of journal) if (it.kind === 'text' && it.channel === channel && it.position) this.#add(it.position, labelOf(it.bytes).id);
    }
    this.#checkCopies(copies, lost);
    this.#checkAcknowledged(copies, lost);
    this.#checkOrder(rows);
  }

  /** All places of a publication. */
  positionsOf(id) { return this.#places.get(id) ?? []; }

  /** Whether `place` follows `before` among the publications for which `isOf` is true; what is unknown may be any. */
  isNext(before, { epoch, seq }, isOf) {
    if (epoch !== before.epoch || seq <= before.seq) return false;
    for (let between = before.seq + 1; between < seq; between += 1) {
      const publication = this.publications.get(this.#ids.get(`${epoch}-${between}`));
      if (publication && isOf(publication)) return false;
    }
    return true;
  }

  /** A publication of the same history, of those for which `isOf` is true, that is before `place` and was sent after `at` first. */
  firstSentAfter(at, { epoch, seq }, isOf) {
    for (let before = seq - 1; before > 0; before -= 1) {
      const id = this.#ids.get(`${epoch}-${before}`);
      const publication = this.publications.get(id);
      if (publication && publication.via !== 'will' && isOf(publication) && publication.attempts[0].at > at + 1) return id;
    }
    return undefined;
  }

  #add(position, id) {
    const there = this.#ids.get(position);
    if (there === id) return;
    if (there !== undefined) { this.find('Disagree', `${position} is ${there} and ${id}`); return; }
    this.#ids.set(position, id);
    this.#places.set(id, [...this.positionsOf(id), new Place(position)]);
  }

  #checkCopies(copies, lost) {
    for (const [id, count] of copies) {
      const publication = this.publications.get(id);
      const most = publication.via === 'plain' ? 0 : publication.via === 'keyed' ? 1 : copiesMax(publication);
      if (count > most) this.find('Doubled', `${id} is kept ${count} times, sent ${publication.attempts.length} times${lost ? ', and Redis has lost its data' : ''}`, publication.attempts[0].at);
    }
  }

  /** What was acknowledged is there. Where Redis has lost its data: what was first sent after it was back. */
  #checkAcknowledged(copies, lost) {
    for (const { id, acks, attempts, via, channel, qos } of this.publications.values()) {
      if (channel !== this.channel || via === 'plain' || !acks.length || copies.has(id)) continue;
      if (lost && attempts[0].at <= lost.backAt) continue;
      this.find('Forgotten', `${id} of QoS ${qos}, ${via}, was acknowledged at ${Math.round(acks[0].at)} ms`, acks[0].at);
    }
  }

  /** The first copies of what a publisher sent on one connection, with one QoS, are in its order. */
  #checkOrder(rows) {
    const seen = new Set();
    const last = new Map();
    for (const { position, bytes } of rows) {
      const publication = this.publications.get(labelOf(bytes).id);
      if (!publication?.attempts.length || seen.has(publication.id) || publication.via === 'will') continue;
      seen.add(publication.id);
      const stream = `${publication.by} ${publication.qos}`;
      const before = last.get(stream);
      const wasAlone = before?.attempts.length === 1 && publication.attempts.length === 1 && before.attempts[0].connection === publication.attempts[0].connection;
      if (wasAlone && before.n > publication.n) this.find('Disorder', `${publication.id} at ${position} follows ${before.id}`, publication.attempts[0].at);
      last.set(stream, publication);
    }
  }
}
