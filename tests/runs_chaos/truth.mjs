// What a run was: the publications at each position, and its end, from the worker's record and from what Redis has in the end.

export function parsePosition(position) {
  const at = position.lastIndexOf('-');
  return { epoch: position.slice(0, at), seq: Number(position.slice(at + 1)) };
}

/** One epoch of a run's history. Another one begins where Redis lost the one before. */
class Epoch {
  /** Publications of the worker by position. */
  #publications = new Map();
  /** `{ seq, reason }` */
  end = null;
  #whole = null;

  constructor(record) { this.record = record; }

  add(seq, publication) {
    const there = this.#publications.get(seq);
    this.#publications.set(seq, publication);
    this.#whole = null;
    return !there || there === publication;
  }

  /**
   * The publication at a position. Where none was acknowledged there, because Redis failed before the answer and lost the history, it
   * is the one that the worker has sent next.
   */
  at(seq) {
    const known = this.#publications.get(seq);
    if (known || seq < 1 || seq === this.end?.seq) return known;
    let before = seq - 1;
    while (before > 0 && !this.#publications.has(before)) before -= 1;
    const inferred = before > 0 ? this.record[this.#publications.get(before).n - 1 + seq - before]
      : this.record.filter((it) => it.attempted !== null && !it.positions.length)[seq - 1];
    if (inferred?.attempted != null) return inferred;
    // A call that ends the run with a last publication, and is made again after others, has put it right before the end.
    return seq === this.end?.seq - 1 ? this.record.find((it) => it.isLast && !it.positions.length) : undefined;
  }

  /** The bytes after `from` up to and with `to`; undefined where there is no such publication. */
  bytes(from, to) {
    const parts = [];
    for (let seq = from + 1; seq <= to; seq += 1) {
      const publication = this.at(seq);
      if (!publication) return undefined;
      parts.push(publication.bytes);
    }
    return Buffer.concat(parts);
  }

  /** All bytes that are known, from the first publication on. */
  get whole() {
    if (!this.#whole) {
      let to = 0;
      while (this.at(to + 1)) to += 1;
      this.#whole = this.bytes(0, to);
    }
    return this.#whole;
  }

  /**
   * What the whole run may have been: where Redis lost it before its end was known, what was sent last may have come into it or not.
   */
  get wholes() {
    if (this.end) return [this.whole];
    const acknowledged = Math.max(0, ...this.#publications.keys());
    const all = [];
    for (let to = acknowledged; to === acknowledged || this.at(to); to += 1) all.push(this.bytes(0, to) ?? Buffer.alloc(0));
    return all;
  }

  /** How many bytes at the end of `piece`, up to position `to`, are whole publications: the position before them, or undefined. */
  startOf(piece, to) {
    let left = piece.length;
    for (let seq = to; ; seq -= 1) {
      if (left === 0) return seq;
      const publication = this.at(seq);
      if (!publication || publication.bytes.length > left) return undefined;
      left -= publication.bytes.length;
      if (publication.bytes.compare(piece, left, left + publication.bytes.length) !== 0) return undefined;
    }
  }
}

export class Truth {
  epochs = new Map();
  /** `{ kind, text }` of what the worker and Redis disagree about. */
  findings = [];

  /**
   * `worker` has the record; `rows` are the entries of the stream in the end: `{ position, header, bytes }`. `lost`: Redis has lost its data
   * meanwhile.
   */
  constructor(worker, rows, { lost, isWhole }) {
    this.worker = worker;
    const find = (kind, text) => this.findings.push({ kind, text });
    for (const publication of worker.publications) {
      for (const position of publication.positions) {
        if (position === undefined || position === null) { find('Breach', `publication ${publication.n} was acknowledged without a position`); continue; }
        const { epoch, seq } = parsePosition(position);
        if (!this.epoch(epoch).add(seq, publication)) find('Doubled', `${position} was acknowledged for two publications, one is ${publication.n}`);
      }
    }
    if (worker.ended?.position) this.#setEnd(worker.ended.position, worker.ended.reason);
    this.#readRows(rows, { lost, isWhole }, find);
  }

  epoch(name) {
    if (!this.epochs.has(name)) this.epochs.set(name, new Epoch(this.worker.publications));
    return this.epochs.get(name);
  }

  #setEnd(position, reason) {
    const { epoch, seq } = parsePosition(position);
    this.epoch(epoch).end ??= { seq, reason };
  }

  #readRows(rows, { lost, isWhole }, find) {
    const byId = new Map(this.worker.publications.map((it) => [it.id, it]));
    let before = null;
    for (const { position, header, bytes } of rows) {
      const { epoch, seq } = parsePosition(position);
      const { id, ended } = JSON.parse(header);
      if (ended !== undefined) {
        this.end = { position, reason: ended };
        const told = this.epoch(epoch).end;
        if (told && (told.seq !== seq || (told.reason !== undefined && told.reason !== ended))) find('WrongReason', `the worker was told ${told.reason} at ${told.seq}, Redis has ${ended} at ${position}`);
        this.epoch(epoch).end = { seq, reason: ended };
        continue;
      }
      // The API gives no id to a last publication.
      const publication = byId.get(id) ?? this.worker.publications.find((it) => it.isLast && it.bytes.equals(bytes));
      if (!publication) { find('Phantom', `${position} has ${JSON.stringify(bytes.toString())}, which the worker did not publish`); continue; }
      if (!publication.bytes.equals(bytes)) find('WrongText', `${position} has other bytes than publication ${publication.n}`);
      if (!this.epoch(epoch).add(seq, publication)) find('Forgotten', `${position} has publication ${publication.n}, and another one was acknowledged there`);
      if (!lost && before && publication.n !== before.n + 1) find(publication.n <= before.n ? 'Doubled' : 'Forgotten', `publication ${publication.n} at ${position} follows ${before.n}`);
      before = publication;
      if (this.end) find('AfterEnd', `publication ${publication.n} at ${position} is behind the end ${this.end.position}`);
    }
    this.#compareAcknowledged(rows, { lost, isWhole }, find);
  }

  /** What was acknowledged is there, unless Redis lost its data or the history is short. */
  #compareAcknowledged(rows, { lost, isWhole }, find) {
    const current = rows.length ? parsePosition(rows[0].position) : null;
    const there = new Set(rows.map(({ position }) => position));
    for (const { n, positions } of this.worker.publications) {
      for (const position of positions) {
        if (!position || there.has(position)) continue;
        const { epoch, seq } = parsePosition(position);
        if (lost && epoch !== current?.epoch) continue;
        if (!isWhole && current?.epoch === epoch && seq < current.seq) continue;
        find('Forgotten', `publication ${n} was acknowledged at ${position}, and Redis does not have it`);
      }
    }
  }
}
