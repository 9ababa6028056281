// The audit finds each kind of broken promise, and nothing in journals without one: `node --test tests/mqtt_chaos/`.

import assert from 'node:assert/strict';
import test from 'node:test';
import { audit, KINDS } from './audit.mjs';

const CHANNEL = 'kept:1';
const EMPTY = { 'kept:1': [], 'kept/2': [], 'kept/3': [] };

/** A publication that was sent and acknowledged once, at `10 * n`. */
function publication(n, { channel = CHANNEL, via = 'mqtt', qos = 1, by = 'p', ...more } = {}) {
  const id = `${by}.${n}`;
  return { id, by, n, channel, via, qos, bytes: Buffer.from(`${id} ${channel} text`), attempts: [{ at: 10 * n, connection: 1 }], acks: [{ at: 10 * n + 1, connection: 1 }], positions: [], ...more };
}

const FOUR = [1, 2, 3, 4].map((n) => publication(n));
const rowsOf = (publications) => publications.map(({ bytes }, at) => ({ position: `7-${at + 1}`, bytes }));

function kinds(journal, { kind = 'mqtt5tcp', publications = FOUR, rows = rowsOf(FOUR), channels = [CHANNEL], lost = null, calm = false } = {}) {
  const findings = audit({
    publications: new Map(publications.map((it) => [it.id, it])), rows: { ...EMPTY, [CHANNEL]: rows }, readers: journal ? [{ name: 'r', kind, channels, journal }] : [], lost, calm,
  });
  for (const it of findings) assert.ok(KINDS[it.kind], `${it.kind} has a description`);
  return findings.map((it) => it.kind).sort();
}

const begun = (at = 0, granted = 1, channel = CHANNEL) => ({ kind: 'begun', channel, at, granted });
const got = (n, { qos = 1, ...more } = {}) => ({ kind: 'text', channel: CHANNEL, bytes: FOUR[n - 1].bytes, qos, at: 10 * n + 2, ...more });
const lostConnection = { kind: 'lost', at: 25 };

/** The four, and one of QoS 0 behind them. */
const mixed = [...FOUR, publication(5, { qos: 0 })];
const zero = { ...got(1, { qos: 0 }), bytes: mixed[4].bytes };

const SUBSCRIBERS = [
  ['everything', [begun(), got(1), got(2), got(3), got(4)], []],
  ['what is published after the subscription', [begun(15), got(2), got(3)], []],
  ['what was sent before the confirmation may come', [begun(15), got(1), got(2)], []],
  ['the retained one first', [begun(45), got(4, { retain: true })], []],
  ['another connection begins anew', [begun(), got(1), lostConnection, begun(35), got(4)], []],
  ['one is missing', [begun(), got(1), got(3), got(4)], ['Loss']],
  ['the first is missing', [begun(5), got(2), got(3)], ['Loss']],
  ['one twice', [begun(), got(1), got(2), got(2), got(3)], ['Twice']],
  ['two swapped', [begun(), got(1), got(3), got(2), got(4)], ['Loss', 'Loss', 'Twice']],
  ['another byte', [begun(), got(1), { ...got(2), bytes: Buffer.from('p.2 kept:1 texT') }, got(3)], ['WrongBytes']],
  ['what was not published', [begun(), { ...got(1), bytes: Buffer.from('x.1 kept:1 text') }], ['Phantom']],
  ['a higher quality than granted', [begun(0, 0), got(1)], ['WrongQos']],
  ['a lower quality than granted', [begun(), got(1, { qos: 0 })], ['WrongQos']],
  ['a publication of QoS 0 that passes others', [begun(), got(1), zero, got(2), got(3)], [], { publications: mixed, rows: rowsOf(mixed) }],
  ['one is missing beside one of QoS 0', [begun(), got(1), zero, got(3)], ['Loss'], { publications: mixed, rows: rowsOf(mixed) }],
  ['another topic', [begun(), { ...got(1), channel: 'kept/2' }], ['WrongTopic']],
  ['a violation of the protocol', [begun(), got(1), { kind: 'breach', text: 'x' }], ['Breach']],
];

for (const [name, journal, expected, more] of SUBSCRIBERS) test(`MQTT: ${name}`, () => assert.deepEqual(kinds(journal, more), expected));

const open = (from = 'first') => ({ kind: 'open', channel: CHANNEL, from, at: 0 });
const placed = (n, position = `7-${n}`) => ({ ...got(n, { qos: undefined }), position });
const gap = { kind: 'gap', channel: CHANNEL, reason: 'history_lost', at: 25 };

const WITH_POSITIONS = [
  ['everything', [open(), placed(1), placed(2), placed(3), placed(4)], []],
  ['a resumed connection', [open(), placed(1), open('7-1'), placed(2)], []],
  ['one is missing', [open(), placed(1), placed(3)], ['Loss']],
  ['one is missing after a resume', [open(), placed(1), open('7-1'), placed(3)], ['Loss']],
  ['one twice', [open(), placed(1), placed(1)], ['Twice']],
  ['another one at its position', [open(), placed(2, '7-1')], ['Disagree']],
  ['a needless gap', [open(), placed(1), gap, placed(3)], ['NeedlessGap']],
  ['no position', [open(), placed(1, undefined), { ...placed(1), position: undefined }], ['Breach']],
];

for (const [name, journal, expected] of WITH_POSITIONS) test(`json: ${name}`, () => assert.deepEqual(kinds(journal, { kind: 'json' }), expected));

test('a gap where Redis has lost its data is no finding', () => {
  assert.deepEqual(kinds([open(), placed(1), gap, placed(3)], { kind: 'json', lost: { at: 20, backAt: 100 } }), []);
});

test('what was acknowledged must be kept, but where Redis has lost its data afterwards', () => {
  assert.deepEqual(kinds(null, { rows: rowsOf(FOUR.slice(0, 3)) }), ['Forgotten']);
  assert.deepEqual(kinds(null, { rows: rowsOf(FOUR.slice(0, 3)), lost: { at: 60, backAt: 100 } }), []);
  assert.deepEqual(kinds(null, { rows: rowsOf(FOUR.slice(0, 3)), lost: { at: 20, backAt: 30 } }), ['Forgotten']);
});

test('a publication is kept once for each time it was sent, of QoS 2 once for each connection, and with a key once', () => {
  const twice = (more) => { const it = publication(1, more); return kinds(null, { publications: [it], rows: rowsOf([it, it]) }); };
  const sent = (...connections) => ({ attempts: connections.map((connection, at) => ({ at, connection })) });
  assert.deepEqual(twice(sent(1)), ['Doubled']);
  assert.deepEqual(twice(sent(1, 2)), []);
  assert.deepEqual(twice({ qos: 2, ...sent(1, 1) }), ['Doubled']);
  assert.deepEqual(twice({ qos: 2, ...sent(1, 2) }), []);
  assert.deepEqual(twice({ via: 'keyed', ...sent(1, 2) }), ['Doubled']);
});

test('the publications of a publisher are kept in its order, those of one QoS', () => {
  const [one, two] = FOUR;
  assert.deepEqual(kinds(null, { publications: [one, two], rows: rowsOf([two, one]) }), ['Disorder']);
  const other = publication(2, { qos: 2 });
  assert.deepEqual(kinds(null, { publications: [one, other], rows: rowsOf([other, one]) }), []);
});

test('a channel without history may miss publications if something happened, and repeats none', () => {
  const [one, two] = [1, 2].map((n) => publication(n, { channel: 'open:1' }));
  const of = ({ bytes }) => ({ kind: 'text', channel: 'open:1', bytes, qos: 0, at: 50 });
  const options = { publications: [one, two], rows: [], channels: ['open:1'] };
  const journal = [begun(0, 0, 'open:1'), of(two)];
  assert.deepEqual(kinds(journal, options), []);
  assert.deepEqual(kinds(journal, { ...options, calm: true }), ['Loss']);
  assert.deepEqual(kinds([...journal, of(two)], options), ['Twice']);
  assert.deepEqual(kinds([...journal, of(one)], options), ['Disorder']);
});
