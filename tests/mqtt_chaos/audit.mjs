// Reads the journals of all clients after a seed, and finds broken promises.

import { parsePosition } from '../runs_chaos/truth.mjs';
import { labelOf } from './ledger.mjs';
import { isKept } from './plan.mjs';
import { Truth } from './truth.mjs';

/** What each kind of finding means. */
export const KINDS = {
  Loss: 'a publication was not received, and no gap was told',
  Twice: 'something was received again, or more often than it was sent',
  Disorder: 'publications of one publisher were received or kept in another order than sent',
  WrongBytes: 'something was received or kept with other bytes than published',
  WrongTopic: 'something was received on another channel than published',
  Phantom: 'something was received or kept that was not published',
  Doubled: 'one publication is kept more often than the protocol allows',
  Forgotten: 'a publication was acknowledged, and Redis does not have it',
  Disagree: 'two clients were told different publications at one position',
  NeedlessGap: 'a gap was told although the history is complete',
  WrongQos: 'something was received with another quality of service than the lower one of granted and published',
  Unsettled: 'a publication was neither acknowledged nor refused in the end',
  Dropped: 'a connection ended although nothing but hostile clients happened',
  Survived: 'the connection of a hostile client was not ended',
  Breach: 'the protocol was violated, or a request refused',
  Stuck: 'something did not come to its end in time',
  Blind: 'a fault was put into a journal, and the audit did not find it',
  Crash: 'an exception that nothing caught, or a panic of a node',
};

const isPositioned = ({ kind }) => ['json', 'sse', 'stomp'].includes(kind);

/**
 * `ledger`: all publications; `rows` by channel: `{ position, bytes }`, what Redis has in the end; `readers`: `{ name, kind, channels, journal }`; `lost`:
 * `{ at, backAt }` or null; `calm`: nothing but hostile clients happened;
 * `only`: the reader whose journal is read. Returns findings: `{ kind, who, channel, text, at }`.
 */
export function audit({ publications, rows, readers, lost, calm, only }) {
  const findings = [];
  const find = (who, channel) => (kind, text, at) => findings.push({ kind, who, channel, text, at });
  const truths = new Map();
  for (const [channel, own] of Object.entries(rows)) {
    const positioned = readers.filter(isPositioned);
    truths.set(channel, new Truth({ channel, publications, rows: own, readers: positioned, lost, find: find('redis', channel) }));
  }
  for (const reader of readers) {
    if (only !== undefined && reader.name !== only) continue;
    for (const channel of reader.channels) {
      const entries = reader.journal.filter((it) => it.channel === channel || it.channel === undefined);
      const context = { reader, channel, publications, truth: truths.get(channel), lost, calm, find: find(reader.name, channel) };
      checkContents(entries, context);
      if (!isKept(channel)) checkOpenChannel(entries, context);
      else if (isPositioned(reader)) new PositionedAudit(context).read(entries);
      else checkSegments(entries, context);
    }
    const own = find(reader.name);
    for (const { kind, channel, text, at, bytes } of reader.journal) {
      if (kind === 'breach') own('Breach', text, at);
      if (kind === 'text' && !reader.channels.includes(channel)) own('WrongTopic', `${labelOf(bytes).id} on ${channel}`, at);
    }
  }
  return findings;
}

/** Whatever is received was published, on this channel, with these bytes, and has the QoS that it must have. */
function checkContents(entries, { publications, channel, find }) {
  let granted = null;
  for (const entry of entries) {
    const { kind, bytes, at, qos } = entry;
    if (kind === 'begun' && entry.granted !== undefined) granted = grantedBy(entry);
    if (kind !== 'text') continue;
    const publication = publications.get(labelOf(bytes).id);
    if (!publication?.attempts.length) find('Phantom', JSON.stringify(bytes.toString().slice(0, 80)), at);
    else if (publication.channel !== channel) find('WrongTopic', `${publication.id} was published on ${publication.channel}`, at);
    else if (!publication.bytes.equals(bytes)) find('WrongBytes', publication.id, at);
    else if (qos !== undefined && granted !== null && qos !== Math.min(granted, publication.qos, 1)) find('WrongQos', `${publication.id} of QoS ${publication.qos} with QoS ${qos}, granted ${granted}`, at);
  }
}

/** Without history: nothing more often than it was sent, in the order of its publisher. Everything, where nothing happened. */
function checkOpenChannel(entries, { reader, publications, channel, calm, find }) {
  const counts = new Map();
  const last = new Map();
  let first = Infinity;
  for (const { kind, bytes, at } of entries) {
    if (kind === 'begun') first = Math.min(first, at);
    if (kind !== 'text') continue;
    const publication = publications.get(labelOf(bytes).id);
    if (!publication) continue;
    const count = (counts.get(publication.id) ?? 0) + 1;
    counts.set(publication.id, count);
    if (count > copiesMax(publication)) find('Twice', `${publication.id} was sent ${publication.attempts.length} times and received ${count} times`, at);
    if (publication.via === 'will' || publication.attempts.length > 1) continue;
    const [{ connection }] = publication.attempts;
    const stream = `${publication.by} ${publication.qos} ${connection}`;
    if (count === 1 && (last.get(stream)?.n ?? 0) > publication.n) find('Disorder', `${publication.id} follows ${last.get(stream).id}`, at);
    last.set(stream, publication);
  }
  if (!calm) return;
  for (const { id, acks, attempts, via, channel: on } of publications.values()) {
    if (on === channel && via !== 'will' && acks.length && attempts[0].at > first + 1 && !counts.has(id)) find('Loss', `${id} of ${reader.kind}`, acks[0].at);
  }
}

/** How often a publication may arrive, or be kept without its key: once for each connection on which it was sent. */
export function copiesMax({ via, qos, attempts }) {
  return via === 'mqtt' && qos === 2 ? new Set(attempts.map(({ connection }) => connection)).size : attempts.length;
}

/** A reader that is told positions, on a channel with history: each is followed by the next, unless a gap is told. */
class PositionedAudit {
  #epoch = null;
  /** null: somewhere, because a gap was told. */
  #seq = null;

  constructor(context) { Object.assign(this, context); }

  read(entries) {
    for (const entry of entries) this.#read(entry);
  }

  #read({ kind, from, recovered, position, bytes, reason, at }) {
    if (kind === 'open') this.#set(from);
    else if (kind === 'begun' && recovered === false) this.#gap('not recovered', at);
    else if (kind === 'gap') this.#gap(reason, at);
    else if (kind === 'moved') this.#move(position, at);
    else if (kind === 'text') this.#text(position, bytes, at);
  }

  #set(position) {
    if (position === 'first' || position === '0-0') [this.#epoch, this.#seq] = [null, 0];
    else { const { epoch, seq } = parsePosition(position); [this.#epoch, this.#seq] = [epoch, seq]; }
  }

  #gap(reason, at) {
    if (!this.lost) this.find('NeedlessGap', reason, at);
    [this.#epoch, this.#seq] = [null, null];
  }

  #move(position, at) {
    const { epoch, seq } = parsePosition(position);
    const isSame = this.#epoch === null || this.#epoch === epoch;
    if (this.#seq !== null && seq > 0 && (!isSame || seq > this.#seq)) this.find('Loss', `moved to ${position} from ${this.#epoch}-${this.#seq}`, at);
    this.#set(position);
  }

  #text(position, bytes, at) {
    const publication = this.publications.get(labelOf(bytes).id);
    if (!position) {
      if (publication && publication.via !== 'plain') this.find('Breach', `${publication.id} has no position`, at);
      return;
    }
    const { epoch, seq } = parsePosition(position);
    const [wasIn, was] = [this.#epoch, this.#seq];
    [this.#epoch, this.#seq] = [epoch, seq];
    if (was === null) return;
    if (wasIn !== null && wasIn !== epoch) this.find('Loss', `${position} follows ${wasIn}-${was}, and no gap was told`, at);
    else if (seq <= was) this.find('Twice', `${position} follows ${wasIn}-${was}`, at);
    else if (seq !== was + 1) this.find('Loss', `${position} follows ${wasIn}-${was}`, at);
  }
}

/**
 * A reader without positions, on a channel with history: from the beginning of a subscription to the end of its connection, each publication is
 * followed by the next one of the history. With QoS 1, those of QoS 0 have an order of their own, as MQTT says: they may pass others that wait for
 * acknowledgements. A publication that is kept several times may be any of them, until what follows tells.
 */
function checkSegments(entries, { truth, publications, lost, reader, find }) {
  let begunAt = Infinity;
  let granted = 0;
  /** By order: where the reader may be. None: at the beginning of a subscription, or behind what Redis has lost. */
  const orders = new Map();
  for (const entry of entries) {
    if (['lost', 'gap', 'open', 'begun'].includes(entry.kind)) { begunAt = entry.kind === 'begun' ? entry.at : Infinity; orders.clear(); }
    if (entry.kind === 'begun') granted = grantedBy(entry);
    if (entry.kind !== 'text') continue;
    const { id } = labelOf(entry.bytes);
    const publication = publications.get(id);
    if (!publication || publication.via === 'plain') continue;
    const positions = truth.positionsOf(id);
    if (!positions.length) {
      if (!lost) find('Phantom', `${id} is at no position`, entry.at);
      begunAt = Infinity;
      orders.clear();
      continue;
    }
    const isOf = granted ? ({ qos }) => !qos === !publication.qos : () => true;
    const order = granted ? !publication.qos : 'all';
    const places = orders.get(order);
    const next = places ? positions.filter((it) => places.some((place) => truth.isNext(place, it, isOf))) : [];
    if (places && !next.length) checkSkip(places, positions, lost, id, entry, find);
    if (!places && reader.kind === 'socket') checkFirst(positions, entry, find);
    else if (!places && !entry.retain) checkStart(begunAt, positions, truth, isOf, entry, find);
    // Where Redis has lost its data, another history follows.
    orders.set(order, next.length ? next : positions);
  }
}

const grantedBy = ({ granted = 0 }) => granted.qos ?? granted;

/** It begins with the first publication of the history. */
function checkFirst(positions, { at }, find) {
  if (!positions.some(({ seq }) => seq === 1)) find('Loss', `begins with ${positions.join()}`, at);
}

/** Nothing that was sent after the subscription was confirmed is missing before the first publication that was received. */
function checkStart(begunAt, positions, truth, isOf, { at }, find) {
  const missed = positions.map((it) => truth.firstSentAfter(begunAt, it, isOf)).reduce((one, other) => one && other);
  if (missed) find('Loss', `begins with ${positions.join()}, after ${missed}, which was sent after the subscription was confirmed`, at);
}

function checkSkip(places, positions, lost, id, { at }, find) {
  const others = positions.filter(({ epoch }) => !places.some((it) => it.epoch === epoch));
  if (lost && others.length) return;
  const isLater = positions.some((it) => places.some(({ epoch, seq }) => epoch !== it.epoch || seq < it.seq));
  find(isLater ? 'Loss' : 'Twice', `${id} at ${positions.join()} follows ${places.join()}`, at);
}
