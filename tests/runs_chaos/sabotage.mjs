// Puts a fault into the journal of one viewer, to prove that the audit finds it there.

const isPiece = (it) => it?.kind === 'text';

/** Indices of pieces that are received between two others, with other bytes, on one connection. */
function between(journal, channel) {
  const own = [...journal.entries()].filter(([, it]) => it.channel === channel || it.kind === 'lost');
  const found = [];
  for (let at = 1; at < own.length - 1; at += 1) {
    const [[, before], [index, piece], [, after]] = own.slice(at - 1, at + 2);
    if ([before, piece, after].every(isPiece) && !piece.bytes.equals(after.bytes) && !piece.bytes.equals(before.bytes)) found.push(index);
  }
  return found;
}

/** Indices of ends, where nothing of the channel follows. */
function finalEnd(journal, channel) {
  const index = journal.findLastIndex((it) => it.channel === channel);
  return journal[index]?.kind === 'ended' && journal.filter((it) => it.kind === 'ended' && it.channel === channel).length === 1 ? [index] : [];
}

const changed = (bytes) => { const copy = Buffer.from(bytes); copy[copy.length - 1] ^= 1; return copy; };

/** By name: where it may be done, and the journal in which it is done. */
export const FAULTS = {
  'a piece is missing': [between, (journal, at) => journal.toSpliced(at, 1)],
  'a piece comes twice': [between, (journal, at) => journal.toSpliced(at, 0, journal[at])],
  'two pieces are swapped': [between, (journal, at, next) => journal.with(at, journal[next]).with(next, journal[at])],
  'a byte is wrong': [between, (journal, at) => journal.with(at, { ...journal[at], bytes: changed(journal[at].bytes) })],
  'a piece comes after the end': [finalEnd, (journal, at, next, piece) => journal.toSpliced(at + 1, 0, { ...piece, at: journal[at].at })],
  'the end is missing': [finalEnd, (journal, at) => journal.toSpliced(at, 1)],
  'the reason is wrong': [finalEnd, (journal, at) => journal.with(at, { ...journal[at], reason: 'another one' })],
};

/**
 * For each fault, viewers until one has a place for it. `audits(viewer)` returns the findings of a viewer alone. Returns the faults that were
 * done, and findings for those that the audit did not find.
 */
export function sabotage(viewers, audits, random) {
  const findings = [];
  let done = 0;
  for (const [name, [places, change]] of Object.entries(FAULTS)) {
    const candidates = viewers.flatMap((viewer) => viewer.channels.flatMap((channel) => places(viewer.journal, channel).map((at) => ({ viewer, channel, at }))));
    if (!candidates.length) continue;
    const { viewer, channel, at } = random.pick(candidates);
    const { journal } = viewer;
    const next = journal.findIndex((it, index) => index > at && it.channel === channel);
    const piece = journal.find((it) => isPiece(it) && it.channel === channel) ?? { kind: 'text', channel, bytes: Buffer.from('x') };
    const before = audits(viewer).length;
    const found = audits({ ...viewer, journal: change(journal, at, next, piece) });
    done += 1;
    if (found.length <= before) findings.push({ kind: 'Blind', who: viewer.name, channel, at: journal[at].at, text: name });
  }
  return { done, findings };
}
