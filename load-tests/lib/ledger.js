/**
 * Tracks which numbers of one publisher's sequence 0, 1, … `expected` - 1 one subscriber has received.
 *
 * Uses memory only for missing numbers, so that thousands of subscribers can each track several publishers.
 */
export class Ledger {
  constructor(expected) {
    this.expected = expected;
    this.next = 0;
    this.holes = new Set();
    this.duplicates = 0;
    this.disordered = 0;
  }

  record(seq) {
    if (seq >= this.next) {
      for (let skipped = this.next; skipped < seq; skipped++) this.holes.add(skipped);
      this.next = seq + 1;
    } else if (this.holes.delete(seq)) {
      this.disordered += 1;
    } else {
      this.duplicates += 1;
    }
  }

  get missing() {
    return this.holes.size + Math.max(0, this.expected - this.next);
  }
}

/** One ledger for each publisher of a subscriber, by the publisher's name. */
export class Ledgers {
  constructor(publishers) {
    this.all = new Map(publishers.map(([publisher, expected]) => [publisher, new Ledger(expected)]));
  }

  /** Returns false for a publisher that does not belong to the channel. */
  record(publisher, seq) {
    const ledger = this.all.get(publisher);
    if (ledger) ledger.record(seq);
    return ledger !== undefined;
  }

  get missing() {
    return this.sum('missing');
  }

  get duplicates() {
    return this.sum('duplicates');
  }

  get disordered() {
    return this.sum('disordered');
  }

  sum(what) {
    let total = 0;
    for (const ledger of this.all.values()) total += ledger[what];
    return total;
  }
}
