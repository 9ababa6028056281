// The audit finds each kind of broken promise, and nothing in journals without one: `node --test tests/runs_chaos/`.

import assert from 'node:assert/strict';
import test from 'node:test';
import { audit, KINDS } from './audit.mjs';

const LEASE = 1000;
const CHANNEL = 'merged:1';

/** A worker that has published these texts at `e-1`, `e-2`, … and ended the run. */
function worker(texts, { reason = 'done', ...more } = {}) {
  const publications = texts.map((text, at) => ({ n: at + 1, id: `i${at + 1}`, bytes: Buffer.from(text), positions: [`e-${at + 1}`], attempted: at }));
  return { publications, asked: new Set([reason]), renewals: [0], ended: { at: 50, reason, position: `e-${texts.length + 1}` }, ...more };
}

/** What Redis has of it. */
const rowsOf = ({ publications, ended }, reason = ended.reason) => [
  ...publications.map(({ id, bytes, positions: [position] }) => ({ position, header: JSON.stringify({ id }), bytes })),
  { position: `e-${publications.length + 1}`, header: JSON.stringify({ ended: reason }), bytes: Buffer.alloc(0) },
];

const open = (from = 'first') => ({ kind: 'open', channel: CHANNEL, from });
const text = (text, seq, epoch = 'e') => ({ kind: 'text', channel: CHANNEL, bytes: Buffer.from(text), ...(seq ? { position: `${epoch}-${seq}` } : {}) });
const gap = { kind: 'gap', channel: CHANNEL, reason: 'history_lost' };
const ended = (seq, reason = 'done') => ({ kind: 'ended', channel: CHANNEL, reason, ...(seq ? { position: `e-${seq}` } : {}) });

/** The kinds that are found in the journal of one viewer. */
function kinds(journal, { texts = ['a', 'b', 'c'], by = worker(texts), rows = rowsOf(by), kind = 'json', lostAt = null, isMerged = true, isWhole = true } = {}) {
  const entries = journal.map((it, at) => ({ at: 100 + at, ...it }));
  const runs = [{ channel: CHANNEL, worker: by, rows, isMerged, isWhole, fate: 'done' }];
  const findings = audit({ runs, viewers: [{ name: 'v', kind, channels: [CHANNEL], journal: entries }], lease: LEASE, lostAt });
  for (const it of findings) assert.ok(it.kind in KINDS, it.kind);
  return [...new Set(findings.map((it) => it.kind))];
}

const whole = [open(), text('a', 1), text('bc', 3), ended(4)];

const CASES = [
  ['the whole run, joined', whole, []],
  ['the whole run, each by itself', [open(), text('a', 1), text('b', 2), text('c', 3), ended(4)], []],
  ['a reload from a position', [open(), text('a', 1), open('e-1'), text('bc', 3), ended(4)], []],
  ['a reload from the beginning', [open(), text('a', 1), open(), text('abc', 3), ended(4)], []],
  ['one that comes late', [open(), text('abc', 3), ended(4)], []],
  ['a piece is missing', [open(), text('a', 1), text('c', 3), ended(4)], ['Loss']],
  ['the last piece is missing', [open(), text('ab', 2), ended(4)], ['Loss']],
  ['all pieces are missing', [open(), ended(4)], ['Loss']],
  ['a reload begins too late', [open(), text('a', 1), open('e-1'), text('c', 3), ended(4)], ['Loss']],
  ['a piece twice', [open(), text('a', 1), text('a', 1), text('bc', 3), ended(4)], ['Twice']],
  ['a joined piece has a part of the one before', [open(), text('ab', 2), text('bc', 3), ended(4)], ['Twice']],
  ['another byte', [open(), text('a', 1), text('bd', 3), ended(4)], ['WrongText']],
  ['a piece of no publication', [open(), text('abc', 3), text('d', 9), ended(4)], ['Phantom', 'Loss']],
  ['a piece after the end', [...whole, text('c', 3)], ['AfterEnd', 'Twice']],
  ['the end twice', [...whole, ended(4)], ['AfterEnd']],
  ['no end', [open(), text('abc', 3)], ['NoEnd']],
  ['no end after a reload', [...whole, open(), text('abc', 3)], ['NoEnd']],
  ['another reason', [open(), text('abc', 3), ended(4, 'stopped')], ['WrongReason']],
  ['a gap without need', [open(), text('a', 1), gap, text('c', 3), ended(4)], ['NeedlessGap']],
  ['a violation of the protocol', [...whole, { kind: 'breach', text: 'x' }], ['Breach']],
];

for (const [name, journal, expected] of CASES) {
  test(`json: ${name}`, () => assert.deepEqual(kinds(journal).sort(), [...expected].sort()));
}

const WITHOUT_POSITIONS = [
  ['the whole run', [open(), text('ab'), text('c'), ended()], []],
  ['a connection that broke', [open(), text('a'), open(), text('abc'), ended()], []],
  ['a piece is missing', [open(), text('a'), text('c'), ended()], ['Loss']],
  ['a piece twice', [open(), text('ab'), text('b'), text('c'), ended()], ['Loss']],
  ['a connection that broke had another text', [open(), text('b'), open(), text('abc'), ended()], ['WrongText']],
  ['another reason', [open(), text('abc'), ended(0, 'stopped')], ['WrongReason']],
];

for (const [name, journal, expected] of WITHOUT_POSITIONS) {
  test(`without positions: ${name}`, () => assert.deepEqual(kinds(journal, { kind: 'plain' }).sort(), [...expected].sort()));
}

test('a run that is not merged has one publication in each piece', () => {
  assert.deepEqual(kinds(whole, { isMerged: false }), ['Unjoined']);
});

test('a short history: what is kept follows a gap', () => {
  assert.deepEqual(kinds([open(), gap, text('c', 3), ended(4)], { isWhole: false }), []);
  assert.deepEqual(kinds([open(), text('c', 3), ended(4)], { isWhole: false }), ['Loss']);
});

test('a client of the AI SDK that was told that the beginning is gone gets no end', () => {
  const cut = [open(), { ...gap, reason: 'cut' }, { kind: 'slow', milliseconds: 1 }];
  assert.deepEqual(kinds(cut, { kind: 'ai', isWhole: false }), []);
  assert.deepEqual(kinds(cut, { kind: 'ai' }), ['NoEnd']);
  assert.deepEqual(kinds([...cut, open(), text('c')], { kind: 'ai', isWhole: false }), ['WrongText', 'NoEnd']);
});

test('a Redis that lost the run: each viewer that had something is told', () => {
  const by = { ...worker(['a', 'b']), ended: null };
  const lost = { by, rows: [], lostAt: 102.5 };
  assert.deepEqual(kinds([open(), text('a', 1), text('b', 2), gap], lost), []);
  assert.deepEqual(kinds([open(), text('a', 1), text('b', 2), { kind: 'lost', why: 'x' }], lost), ['Untold']);
  assert.deepEqual(kinds([open(), text('a', 1), text('b', 2), open()], lost), []);
});

test('a run that begins again after Redis lost it: no silent change of the epoch', () => {
  const by = worker(['a', 'b', 'c']);
  by.publications[2].positions = ['f-1'];
  by.ended.position = 'f-2';
  const rows = [{ position: 'f-1', header: '{"id":"i3"}', bytes: Buffer.from('c') }, { position: 'f-2', header: '{"ended":"done"}', bytes: Buffer.alloc(0) }];
  const end = { ...ended(0), position: 'f-2' };
  const lost = { by, rows, lostAt: 101.5 };
  assert.deepEqual(kinds([open(), text('ab', 2), gap, text('c', 1, 'f'), end], lost), []);
  assert.deepEqual(kinds([open(), text('ab', 2), text('c', 1, 'f'), end], lost), ['Loss']);
  // The worker had no answer before Redis lost what it had executed: the text is known from what was sent next.
  by.publications[2].positions = [];
  by.publications.push({ n: 4, id: 'i4', bytes: Buffer.from('d'), positions: ['f-1'], attempted: 9 });
  rows[0] = { position: 'f-1', header: '{"id":"i4"}', bytes: Buffer.from('d') };
  assert.deepEqual(kinds([open(), text('ab', 2), text('c', 3), gap, text('d', 1, 'f'), end], lost), []);
  assert.deepEqual(kinds([open(), text('ab', 2), text('x', 3), gap, text('d', 1, 'f'), end], lost), ['WrongText']);
});

test('a run whose end Redis lost: it may begin again behind a gap, and only then', () => {
  const by = worker(['a', 'b', 'c'], { asked: new Set(['done', 'stopped']) });
  by.publications[2].positions = ['f-1'];
  by.ended.position = 'f-2';
  const journal = [open(), text('ab', 2), ended(3, 'stopped'), gap, text('c', 1, 'f'), { ...ended(0), position: 'f-2' }];
  assert.deepEqual(kinds(journal, { by, rows: [], lostAt: 102.5 }), []);
  assert.ok(kinds(journal, { by, rows: [], lostAt: 103.5 }).includes('AfterEnd'));
  assert.ok(kinds(journal.filter((it) => it !== gap), { by, rows: [], lostAt: 102.5 }).includes('AfterEnd'));
});

test('a call that ends the run, made again after Redis lost the run, puts its last publication behind later ones', () => {
  const by = worker(['a', 'b', 'c', 'd']);
  Object.assign(by.publications[2], { positions: [], isLast: true });
  by.publications[3].positions = ['f-1'];
  by.ended.position = 'f-3';
  const journal = [open(), text('ab', 2), gap, text('d', 1, 'f'), text('c', 2, 'f'), { ...ended(0), position: 'f-3' }];
  const lost = { by, rows: [], lostAt: 101.5 };
  assert.deepEqual(kinds(journal, lost), []);
  by.publications[2].isLast = false;
  assert.ok(kinds(journal, lost).includes('Phantom'));
});

test('a run that Redis lost: what was sent last, without an answer, may have come into it or not', () => {
  const by = { ...worker(['a', 'b']), ended: null, asked: new Set(['done']) };
  by.publications[1].positions = [];
  const lost = { by, rows: [], kind: 'ai', lostAt: 150 };
  const first = { ...ended(0), at: 120 };
  assert.deepEqual(kinds([open(), text('a'), first], lost), []);
  assert.deepEqual(kinds([open(), text('ab'), first], lost), []);
  assert.deepEqual(kinds([open(), text('b'), first], lost), ['Loss']);
});

test('what the worker and Redis disagree about', () => {
  const by = worker(['a', 'b', 'c']);
  const rows = rowsOf(by);
  const journal = [open(), text('abc', 3), ended(4)];
  assert.ok(kinds(journal, { by, rows: rows.toSpliced(1, 1) }).includes('Forgotten'), 'an acknowledged publication is gone');
  assert.ok(kinds(journal, { by, rows: rows.with(1, { ...rows[0], position: 'e-2' }) }).includes('Doubled'), 'one publication is there twice');
  assert.ok(kinds(journal, { by, rows: [...rows, { position: 'e-5', header: '{"id":"i1"}', bytes: Buffer.from('a') }] }).includes('AfterEnd'));
  assert.ok(kinds(journal, { by, rows: rows.slice(0, 3) }).includes('NoEnd'));
  assert.ok(kinds(journal, { by, rows: rows.with(0, { ...rows[0], bytes: Buffer.from('x') }) }).includes('WrongText'));
});

test('a run is abandoned only after its lease', () => {
  const by = { ...worker(['a', 'b', 'c'], { asked: new Set(), renewals: [0, 2000] }), ended: null };
  const rows = rowsOf({ ...by, ended: { reason: 'abandoned' } });
  const at = (at) => [open(), text('abc', 3), { ...ended(4, 'abandoned'), at }];
  assert.deepEqual(kinds(at(3100), { by, rows }), []);
  assert.deepEqual(kinds(at(2700), { by, rows }), ['Early']);
});
