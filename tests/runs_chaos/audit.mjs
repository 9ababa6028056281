// Reads the journals of all viewers after a seed, and finds broken promises.

import { parsePosition, Truth } from './truth.mjs';

/** What each kind of finding means. */
export const KINDS = {
  Loss: 'something is missing between two pieces, or before the end, and no gap was told',
  WrongText: 'a piece has other bytes than the publications that it stands for',
  Twice: 'something was received again, or after something later',
  AfterEnd: 'something was received or published after the end',
  NoEnd: 'a run has an end and a viewer did not get it, or it has none',
  Untold: 'Redis lost the run, and a viewer was told neither a gap nor an end',
  WrongReason: 'a run ended for another reason than what happened to it',
  Early: 'a run was abandoned before its lease was over',
  NeedlessGap: 'a gap was told although the history is complete',
  Phantom: 'something was received or stored that the worker did not publish',
  Doubled: 'one publication was published twice, or two have one position',
  Forgotten: 'a publication was acknowledged, and Redis does not have it',
  Unjoined: 'a piece is larger than allowed, or has several publications where none may be joined',
  Breach: 'the protocol was violated, or a request refused',
  Unstopped: 'a stop did not reach the worker',
  Stuck: 'something did not come to its end in time',
  Blind: 'a fault was put into a journal, and the audit did not find it',
  Crash: 'an exception that nothing caught, or a panic of a node',
};

/** Bytes of a piece of several publications. */
const PIECE_BYTES_MAX = 16 * 1024;

/** Milliseconds by which clocks may differ: Redis', which counts leases, and that of this process. */
const CLOCK_SLACK = 80;

/** Whether a client of the AI SDK was told that the history does not reach back to the beginning of the run: it gets nothing. */
export const isCut = (entries) => entries.findLast(({ kind }) => ['text', 'gap', 'ended'].includes(kind))?.reason === 'cut';

/** Where a viewer is in a run: after `seq` of `epoch`. Without a seq: somewhere, because a gap was told. Without an epoch: in any. */
class Cursor {
  constructor(epoch, seq) { Object.assign(this, { epoch, seq }); }

  static at(position) {
    if (position === 'first' || position === '0-0') return new Cursor(null, 0);
    const { epoch, seq } = parsePosition(position);
    return new Cursor(epoch, seq);
  }

  toString() { return `${this.epoch ?? '?'}-${this.seq ?? '?'}`; }
}

/**
 * `runs`: `{ channel, worker, rows, isWhole, isMerged, fate }`; `viewers`: `{ name, channels, journal }`; `lease` in milliseconds; `lostAt`: when Redis
 * lost its data, or null. Returns findings: `{ kind, who, channel, text, at }`.
 */
export function audit({ runs, viewers, lease, lostAt }) {
  const findings = [];
  for (const run of runs) {
    const truth = new Truth(run.worker, run.rows, { lost: lostAt !== null, isWhole: run.isWhole });
    const find = (who) => (kind, text, at) => findings.push({ kind, who, channel: run.channel, text, at });
    for (const { kind, text } of truth.findings) find('worker')(kind, text);
    const ends = [];
    for (const { name, kind, channels, journal } of viewers) {
      if (!channels.includes(run.channel)) continue;
      const entries = journal.filter((it) => it.channel === run.channel || (it.channel === undefined && channels[0] === run.channel));
      new ViewerAudit(run, truth, { kind, lostAt, find: find(name) }).read(entries, ends);
    }
    auditEnds(run, truth, ends, { lease, lostAt }, find('worker'));
  }
  return findings;
}

/** One viewer's journal of one run. */
class ViewerAudit {
  #cursor = null;
  /** What was received since the first publication, where the protocol has no positions. */
  #text = null;
  #told = false;
  #hasEnded = false;
  /** Whether the viewer was told that it may have missed something, or began anew, since Redis lost its data. */
  #knows = true;
  #hasSome = false;

  constructor(run, truth, { kind, lostAt, find }) { Object.assign(this, { run, truth, kind, lostAt, find }); }

  read(entries, ends) {
    let everEnded = false;
    let isLoss = false;
    for (const entry of entries) {
      if (this.lostAt !== null && !isLoss && entry.at >= this.lostAt) { isLoss = true; this.#knows = !this.#hasSome; }
      this.#readEntry(entry);
      if (entry.kind === 'ended') { ends.push(entry); everEnded = true; }
      if (entry.kind === 'open' && entry.from === 'first') everEnded = false;
    }
    this.#checkPartialText(entries.at(-1)?.at);
    if (everEnded || !entries.length || (isCut(entries) && !this.run.isWhole)) return;
    const { end } = this.truth;
    if (end) this.find('NoEnd', `the run ended as ${end.reason} at ${end.position}, which did not arrive`, entries.at(-1).at);
    else if (isLoss && !this.#knows) this.find('Untold', 'Redis lost the run', entries.at(-1).at);
  }

  #readEntry(entry) {
    const { kind, at } = entry;
    switch (kind) {
      case 'open': this.#open(entry); break;
      case 'begun': this.#begin(entry); break;
      case 'moved': this.#move(entry); break;
      case 'gap': this.#gap(entry); break;
      case 'text': this.#piece(entry); break;
      case 'ended': this.#end(entry); break;
      case 'breach': this.find('Breach', entry.text, at); break;
      default:
    }
  }

  #open({ from, at }) {
    this.#checkPartialText(at);
    this.#text = null;
    this.#told = false;
    this.#hasEnded = false;
    if (from === 'first' || from === 'next') [this.#knows, this.#hasSome] = [true, false];
    if (from === 'next') this.#cursor = new Cursor(null, null);
    else if (from !== 'resumed') this.#cursor = Cursor.at(from);
  }

  #begin({ to, recovered, at }) {
    if (recovered === false) this.#gap({ reason: 'not recovered', at });
    else if (recovered && to && to !== '0-0' && this.#cursor.seq === 0 && !this.#cursor.epoch && !this.#text) this.#cursor = new Cursor(parsePosition(to).epoch, 0);
  }

  /** The node says where the viewer is. */
  #move({ position, isChecked, at }) {
    const next = Cursor.at(position);
    const { epoch, seq } = this.#cursor;
    if (seq !== null && !this.#told && next.epoch) {
      const isEnd = this.#hasEnded && this.truth.epochs.get(next.epoch)?.end?.seq === next.seq;
      if (epoch && next.epoch !== epoch && seq > 0) this.find('Loss', `moved to ${position} from ${this.#cursor}`, at);
      else if (next.seq !== seq && !isEnd && (epoch || !isChecked)) this.#endMayFollow(next, at, position);
    }
    if (next.epoch || seq === null) this.#cursor = next;
  }

  /** A poll's position is that of the end, if it is told in the same answer. */
  #endMayFollow(next, at, position) {
    const end = this.truth.epochs.get(next.epoch)?.end;
    if (end?.seq === next.seq && this.#cursor.seq === next.seq - 1) return;
    this.find('Loss', `moved to ${position} from ${this.#cursor}`, at);
  }

  #gap({ reason, at }) {
    // A plain client and the AI SDK's clients have no other way to learn that Redis is unavailable.
    const isNeedless = this.run.isWhole && this.lostAt === null && !['plain', 'ai', 'aiSocket'].includes(this.kind);
    if (isNeedless) this.find('NeedlessGap', reason, at);
    this.#told = true;
    this.#knows = true;
    this.#cursor = new Cursor(null, null);
    // Redis has lost the end with its data, so a worker may publish again.
    if (this.lostAt !== null && at >= this.lostAt) this.#hasEnded = false;
  }

  #piece(entry) {
    const { bytes, position, at } = entry;
    this.#hasSome = true;
    if (this.#hasEnded && !this.#told) this.find('AfterEnd', JSON.stringify(bytes.toString()), at);
    if (position) this.#checkPiece(entry);
    else this.#text = this.#text ? [...this.#text, bytes] : [bytes];
  }

  #checkPiece({ bytes, position, isBinary, at }) {
    const { epoch, seq } = parsePosition(position);
    const history = this.truth.epochs.get(epoch);
    const before = this.#cursor;
    this.#cursor = new Cursor(epoch, seq);
    if (!history?.at(seq)) { this.find('Phantom', `${JSON.stringify(bytes.toString())} at ${position}`, at); return; }
    if (before.epoch && before.epoch !== epoch) { this.find('Loss', `${position} follows ${before}`, at); return; }
    if (before.seq !== null && seq <= before.seq) { this.find('Twice', `${position} follows ${before}`, at); return; }
    const start = history.startOf(bytes, seq);
    const expected = before.seq ?? start;
    if (start === undefined || expected === undefined) this.find('WrongText', `${JSON.stringify(bytes.toString())} at ${position}, after ${before}`, at);
    else if (start > expected) this.find('Loss', `the piece at ${position} begins after ${start}, and follows ${before}`, at);
    else if (start < expected) this.find('Twice', `the piece at ${position} begins after ${start}, and follows ${before}`, at);
    else this.#checkJoined(history, bytes, expected, seq, isBinary, at);
    this.#told = false;
  }

  #checkJoined(history, bytes, from, to, isBinary, at) {
    const count = to - from;
    if (count > 1 && !this.run.isMerged) this.find('Unjoined', `${count} publications in one piece, without merge`, at);
    if (count > 1 && isBinary) this.find('Unjoined', `${count} publications in one binary piece`, at);
    if (count > 1 && bytes.length > PIECE_BYTES_MAX) this.find('Unjoined', `${bytes.length} bytes of ${count} publications in one piece`, at);
  }

  /** Without positions: all that came is the beginning of the run, or where a gap was told a part of it. */
  #checkPartialText(at) {
    if (!this.#text || this.#hasEnded) return;
    const text = Buffer.concat(this.#text);
    const fits = [...this.truth.epochs.values()].some(({ whole }) => (this.#told ? whole.includes(text) : whole.subarray(0, text.length).equals(text)));
    if (!fits) this.find('WrongText', `${text.length} bytes are not the beginning of the run: ${this.#difference(text)}`, at);
  }

  #end({ reason, position, at }) {
    if (this.#hasEnded && !this.#told) { this.find('AfterEnd', `the end again: ${reason}`, at); return; }
    this.#hasEnded = true;
    if (this.#text || !this.#cursor.epoch) this.#checkEndOfText(reason, position, at);
    else this.#checkEndAt(reason, position, at);
    this.#text = null;
    this.#told = false;
  }

  #checkEndAt(reason, position, at) {
    const { epoch, seq } = this.#cursor;
    const told = position ? parsePosition(position) : null;
    const history = this.truth.epoch(told?.epoch ?? epoch);
    if (told && told.epoch !== epoch) { this.find('Loss', `the end is at ${position}, after ${this.#cursor}`, at); return; }
    // Redis lost it before the worker was told of it: the first viewer says what it was, and the others must agree.
    if (told) history.end ??= { seq: told.seq, reason };
    const { end } = history;
    if (!end) { if (this.lostAt === null) this.find('Phantom', `the end ${reason}`, at); return; }
    if (told && told.seq !== end.seq) this.find('Phantom', `the end is at ${position}, and not at ${end.seq}`, at);
    if (end.reason !== undefined && reason !== end.reason) this.find('WrongReason', `${reason} in place of ${end.reason}`, at);
    if (seq !== null && seq !== end.seq - 1 && seq !== end.seq) this.find('Loss', `the end is at ${end.seq}, after ${this.#cursor}`, at);
    this.#cursor = new Cursor(epoch, end.seq);
  }

  /** The end where the viewer has had no position: everything has come, in some epoch that ended so. */
  #checkEndOfText(reason, position, at) {
    const text = Buffer.concat(this.#text ?? []);
    const isUnknown = this.#told || this.#cursor.seq === null;
    const epochs = position ? [this.truth.epoch(parsePosition(position).epoch)] : [...this.truth.epochs.values()];
    if (position) epochs[0].end ??= { seq: parsePosition(position).seq, reason };
    const isEqual = (whole) => (isUnknown ? whole.subarray(Math.max(0, whole.length - text.length)).equals(text) : whole.equals(text));
    const fits = epochs.some(({ wholes, end }) => (!end ? this.lostAt !== null : reason === (end.reason ?? reason)) && wholes.some(isEqual));
    if (!fits) this.find(epochs.some(({ whole }) => whole.equals(text)) ? 'WrongReason' : 'Loss', `the end ${reason} after ${text.length} bytes: ${this.#difference(text)}`, at);
    if (position) this.#cursor = Cursor.at(position);
  }

  #difference(text) {
    return [...this.truth.epochs].map(([name, { whole, end }]) => {
      let at = 0;
      while (at < text.length && text[at] === whole[at]) at += 1;
      return `epoch ${name} has ${whole.length} bytes and ${end ? `ended as ${end.reason}` : 'no end'}, the same up to ${at}`;
    }).join('; ');
  }
}

/** The run ended, and for a reason that what happened to it explains. */
function auditEnds({ worker, fate }, truth, ends, { lease, lostAt }, find) {
  if (!truth.end && lostAt === null && truth.epochs.size) find('NoEnd', `Redis has no end of the run; the worker ${worker.killedAt ? 'was killed' : `ended: ${JSON.stringify(worker.ended)}`}`);
  const reasons = new Set([truth.end?.reason, worker.ended?.reason, ...ends.map(({ reason }) => reason)]);
  for (const reason of reasons) {
    if (reason === undefined || worker.asked.has(reason)) continue;
    if (reason !== 'abandoned') { find('WrongReason', `${reason}, which the worker has not asked for`); continue; }
    const at = Math.min(worker.ended?.reason === 'abandoned' ? worker.ended.at : Infinity, ...ends.filter((it) => it.reason === reason).map((it) => it.at));
    const renewed = Math.max(...worker.renewals.filter((sentAt) => sentAt <= at));
    // Where Redis lost the run, the renewal may be that of another one.
    if (lostAt === null && at < renewed + lease - CLOCK_SLACK) find('Early', `abandoned at ${Math.round(at)} ms, ${Math.round(at - renewed)} ms after a renewal`, at);
  }
  if (fate === 'stopped' && worker.unstopped && worker.ended?.reason !== 'abandoned') find('Unstopped', 'the worker has published to its end');
}
