// Puts a fault into what was recorded, to prove that the audit finds it there.

import { labelOf } from './ledger.mjs';
import { isKept } from './plan.mjs';

const isText = (it) => it?.kind === 'text' && !it.isPlain;

const isOfSameOrder = (it, other) => isText(it) && it.channel === other.channel && it.qos === other.qos;

/** Indices of publications of a channel with history that were received between two others of one subscription. `isKnown(bytes)`: its position is. */
function between(journal, isKnown) {
  const found = [];
  for (let at = 1; at < journal.length - 1; at += 1) {
    const { channel } = journal[at];
    if (!isText(journal[at]) || !isKept(channel)) continue;
    const own = (it) => it.channel === undefined || (it.kind === 'text' ? isOfSameOrder(it, journal[at]) : it.channel === channel);
    const before = journal.slice(0, at).findLast(own);
    const after = journal.slice(at + 1).find(own);
    const three = [before, journal[at], after];
    if (isText(before) && isText(after) && three.every(({ bytes }) => isKnown(bytes)) && new Set(three.map(({ bytes }) => bytes.toString('latin1'))).size === 3) found.push(at);
  }
  return found;
}

const changed = (bytes) => { const copy = Buffer.from(bytes); copy[copy.length - 1] ^= 1; return copy; };
const following = (journal, at) => journal.findIndex((it, index) => index > at && isOfSameOrder(it, journal[at]));

/** By name: the journal in which it is done. */
const OF_READERS = {
  'a publication is missing': (journal, at) => journal.toSpliced(at, 1),
  'a publication comes twice': (journal, at) => journal.toSpliced(at, 0, journal[at]),
  'two publications are swapped': (journal, at) => { const next = following(journal, at); return journal.with(at, journal[next]).with(next, journal[at]); },
  'a byte is wrong': (journal, at) => journal.with(at, { ...journal[at], bytes: changed(journal[at].bytes) }),
  'the topic is wrong': (journal, at) => journal.with(at, { ...journal[at], channel: 'open:1' }),
};

/**
 * `audits(changes)` returns the findings of the audit with these changes of what it gets. Returns the number of faults that were done, and
 * findings for those that the audit did not find.
 */
export function sabotage({ readers, rows, publications, lost }, audits, random) {
  const findings = [];
  let done = 0;
  // Of what Redis has lost, the order may be unknown.
  const isKnown = (bytes) => !lost || publications.get(labelOf(bytes).id)?.attempts[0].at > lost.backAt;
  /** Findings without a fault, by the reader. */
  const before = new Map();
  const prove = (text, who, { only }, changes) => {
    done += 1;
    if (!before.has(only)) before.set(only, audits({ only }).length);
    if (audits({ only, ...changes }).length <= before.get(only)) findings.push({ kind: 'Blind', who, text });
  };
  for (const kind of new Set(readers.map((it) => it.kind))) {
    const candidates = readers.filter((it) => it.kind === kind).flatMap((reader) => between(reader.journal, isKnown).map((at) => ({ reader, at })));
    if (!candidates.length) continue;
    for (const [name, change] of Object.entries(OF_READERS)) {
      const { reader, at } = random.pick(candidates);
      prove(`${name}: entry ${at}`, reader.name, { only: reader.name }, { readers: readers.map((it) => (it === reader ? { ...it, journal: change(it.journal, at) } : it)) });
    }
  }
  const acknowledged = (qos) => [...publications.values()].find((it) => it.qos === qos && it.via === 'mqtt' && isKept(it.channel) && it.acks.length && it.attempts.length === 1 && (!lost || it.attempts[0].at > lost.backAt));
  const without = ({ id, channel }) => ({ ...rows, [channel]: rows[channel].filter(({ bytes }) => !bytes.toString().startsWith(`${id} `)) });
  const again = ({ id, channel }) => ({ ...rows, [channel]: [...rows[channel], { ...rows[channel].find(({ bytes }) => bytes.toString().startsWith(`${id} `)), position: 'another-1' }] });
  for (const qos of [1, 2]) {
    const publication = acknowledged(qos);
    if (!publication || !rows[publication.channel].length) continue;
    prove(`an acknowledged publication of QoS ${qos} is not kept: ${publication.id}`, 'redis', { only: 'redis' }, { rows: without(publication) });
    prove(`a publication of QoS ${qos} that was sent once is kept twice: ${publication.id}`, 'redis', { only: 'redis' }, { rows: again(publication) });
  }
  return { done, findings };
}
