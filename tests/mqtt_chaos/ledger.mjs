// What was published: each publication with its bytes, when it was sent on which connection, and when it was acknowledged.

import { TextSource } from '../runs_chaos/text.mjs';

/** Bytes that are no UTF-8, at the end of a binary publication. */
const BINARY = Buffer.from([0xff, 0x00, 0xc0]);

/** Largest text of a publication, in characters. */
const LONGEST = 700;

/** The identifier that a payload begins with, and its channel. */
export function labelOf(bytes) {
  const [id, channel] = bytes.subarray(0, 80).toString().split(' ', 2);
  return { id, channel };
}

export class Ledger {
  publications = new Map();

  constructor(now) { this.now = now; }

  /** Publications of one publisher, `by`, from `random`. */
  source(by, random) { return new Source(this, by, random); }

  find(bytes) { return this.publications.get(labelOf(bytes).id); }
}

class Source {
  #count = 0;

  constructor(ledger, by, random) {
    Object.assign(this, { ledger, by, random });
    this.texts = new TextSource(random, { longest: LONGEST, json: false });
  }

  /** `via`: `mqtt`, `keyed` with an idempotency key, `plain`, `will` or `mark`. `qos` is that of MQTT. */
  next(channel, { via, qos, isBinary = this.random.chance(0.15) }) {
    this.#count += 1;
    const id = `${this.by}.${this.#count}`;
    const text = Buffer.from(`${id} ${channel} ${this.texts.next()}`);
    const publication = { id, by: this.by, n: this.#count, channel, via, qos, bytes: isBinary ? Buffer.concat([text, BINARY]) : text, isBinary, attempts: [], acks: [], positions: [] };
    this.ledger.publications.set(id, publication);
    return publication;
  }

  /** It is sent, on the connection of this number. */
  sent(publication, connection) { publication.attempts.push({ at: this.ledger.now(), connection }); }

  acknowledged(publication, connection, position) {
    publication.acks.push({ at: this.ledger.now(), connection });
    if (position) publication.positions.push(position);
  }
}
