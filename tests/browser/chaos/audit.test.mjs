// The audit finds each kind of broken promise, and nothing in a journal without one: `node --test tests/browser/chaos/`.

import assert from 'node:assert/strict';
import test from 'node:test';
import { audit, KINDS } from './audit.mjs';

const CHANNELS = { kept: 5000, live: 0 };
const TIMES = (entries) => entries.map((entry, at) => ({ at, ...entry }));

const published = (n, channel, position, at = 10) => [
  { kind: 'publish', id: n, channel, n, at }, { kind: 'acknowledged', id: n, position, at: at + 1 },
];
const subscribed = (channel, position, options = {}) => [
  { kind: 'subscribe', sub: 1, channel, options, at: 0 }, { kind: 'subscribed', sub: 1, position, at: 1 },
];
const got = (n, position, at = 20) => ({ kind: 'publication', sub: 1, from: 'a', n, position, at });
const gap = { kind: 'gap', sub: 1, reason: 'reconnected', at: 15 };

/** The kinds that are found in the journals of publisher `a` and subscriber `b`. */
function kinds(a, b, { durable = false } = {}) {
  const findings = audit({ channels: CHANNELS, journals: { a: TIMES(a), b: TIMES(b) }, durable });
  for (const { kind } of findings) assert.ok(kind in KINDS, kind);
  return [...new Set(findings.map(({ kind }) => kind))];
}

const three = [...published(1, 'kept', 'e-1'), ...published(2, 'kept', 'e-2'), ...published(3, 'kept', 'e-3')];
const threeLive = [...published(1, 'live'), ...published(2, 'live'), ...published(3, 'live')];

const CASES = [
  ['complete and in order', three, [...subscribed('kept', 'e-0'), got(1, 'e-1'), got(2, 'e-2'), got(3, 'e-3')], []],
  ['complete without history', threeLive, [...subscribed('live'), got(1), got(2), got(3)], []],
  ['one is missing', three, [...subscribed('kept', 'e-0'), got(1, 'e-1'), got(3, 'e-3')], ['Loss']],
  ['the last is missing', three, [...subscribed('kept', 'e-0'), got(1, 'e-1'), got(2, 'e-2')], ['Loss']],
  ['one is missing, as told', three, [...subscribed('kept', 'e-0'), got(1, 'e-1'), gap, got(3, 'e-3')], []],
  ['the history began again, as told', three, [...subscribed('kept', 'd-7'), gap, got(1, 'e-1'), got(2, 'e-2'), got(3, 'e-3')], []],
  ['the history began again, silently', three, [...subscribed('kept', 'd-7'), got(1, 'e-1'), got(2, 'e-2'), got(3, 'e-3')], ['Loss']],
  ['one is missing without history', threeLive, [...subscribed('live'), got(1), got(3)], ['Loss']],
  ['one is missing without history, as told', threeLive, [...subscribed('live'), got(1), gap, got(3)], []],
  ['a gap excuses only what came before', threeLive, [...subscribed('live'), gap, got(1), got(3)], ['Loss']],
  ['not from the first on', three, [...subscribed('kept', 'e-3', { since: 'first' }), got(2, 'e-2'), got(3, 'e-3')], ['Loss']],
  ['not from the position on', three, [...subscribed('kept', 'e-3', { since: 'e-1' }), got(3, 'e-3')], ['Loss']],
  ['received twice', three, [...subscribed('kept', 'e-0'), got(1, 'e-1'), got(2, 'e-2'), got(2, 'e-2'), got(3, 'e-3')], ['Twice']],
  ['received twice without history', threeLive, [...subscribed('live'), got(1), got(2), got(2), got(3)], ['Twice']],
  ['published twice', three, [...subscribed('kept', 'e-0'), got(1, 'e-1'), got(2, 'e-2'), got(3, 'e-3'), got(2, 'e-4')], ['Twice', 'Disorder', 'Doubled']],
  ['published again after Redis lost its history', three, [...subscribed('kept', 'd-0'), got(1, 'd-1'), got(2, 'd-2'), gap, got(1, 'e-1'), got(2, 'e-2'), got(3, 'e-3')], []],
  ['stored again after Redis lost its history, behind a gap', published(1, 'kept', 'f-1'), [...subscribed('kept', 'e-0'), got(1, 'e-1', 11), gap], []],
  ['in another order', threeLive, [...subscribed('live'), got(1), got(3), got(2)], ['Loss', 'Disorder']],
  ['after unsubscribe', three, [...subscribed('kept', 'e-0'), got(1, 'e-1'), { kind: 'unsubscribe', sub: 1 }, got(2, 'e-2')], ['Stray']],
  ['another position than acknowledged', three, [...subscribed('kept', 'e-1'), got(1, 'e-2'), got(2, 'e-3'), got(3, 'e-4')], ['WrongPosition']],
  ['the subscription ended', three, [...subscribed('kept', 'e-0'), { kind: 'error', sub: 1, code: 'forbidden' }], ['Ended']],
];

for (const [what, a, b, expected] of CASES) test(what, () => assert.deepEqual(kinds(a, b), expected));

test('a publication that never settles', () => {
  assert.deepEqual(kinds([{ kind: 'publish', id: 1, channel: 'live', n: 1 }], []), ['Unsettled']);
});

test('a publication that was received although it was rejected as forbidden, and one whose outcome was unknown', () => {
  const rejected = (code) => [{ kind: 'publish', id: 1, channel: 'kept', n: 1, at: 10 }, { kind: 'rejected', id: 1, code }];
  const late = [{ kind: 'publish', id: 1, channel: 'kept', n: 1, at: 10 }, { kind: 'rejected', id: 1, code: 'unknown_outcome', at: 60_020 }];
  assert.deepEqual(kinds(late, []), []);
  const received = [...subscribed('kept', 'e-0'), got(1, 'e-1')];
  assert.deepEqual(kinds(rejected('forbidden'), received), ['Phantom']);
  assert.deepEqual(kinds(rejected('unknown_outcome'), received), ['Unresent']);
  assert.deepEqual(kinds(rejected('unavailable'), received), []);
});

test('a publication without history that comes late, after its publisher was told that its outcome is unknown', () => {
  const unknown = [{ kind: 'publish', id: 2, channel: 'live', n: 2, at: 10 }, { kind: 'rejected', id: 2, code: 'unknown_outcome' }];
  const sent = [...published(1, 'live'), ...unknown, ...published(3, 'live')];
  assert.deepEqual(kinds(sent, [...subscribed('live'), got(1), got(3), got(2)]), []);
  assert.deepEqual(kinds(sent, [...subscribed('live'), got(1), got(3), got(2), got(2)]), ['Twice']);
});

test('a gap on a channel with a complete history, if Redis loses nothing', () => {
  const journal = [...subscribed('kept', 'e-0'), gap];
  assert.deepEqual(kinds([], journal, { durable: true }), ['NeedlessGap']);
  assert.deepEqual(kinds([], journal), []);
});
