// The plan of a seed: who publishes and who reads, how each connects, and which faults happen when.

import { Random } from '../browser/lib/random.mjs';

/** Channels of which everything is kept, and one without history. */
export const KEPT = ['kept:1', 'kept/2', 'kept/3'];
export const OPEN = 'open:1';
/** Where hostile clients publish; no participant reads it. */
export const NOISE = 'open:noise';
export const CHANNELS = [...KEPT, OPEN];

export const isKept = (channel) => channel !== OPEN && channel !== NOISE;

export const RULES = '[{pattern="kept/*",subscribe="anyone",publish="anyone",history={size=50000,age="10m"}},'
  + '{pattern="kept:*",subscribe="anyone",publish="anyone",history={size=50000,age="10m"}},'
  + '{pattern="open:*",subscribe="anyone",publish="anyone"}]';

const PUBLISHERS = ['mqtt4ws', 'mqtt5ws', 'mqtt4tcp', 'mqtt5tcp', 'repeating', 'json', 'stomp', 'stomp', 'service', 'plain'];
const READERS = ['json', 'json', 'json', 'sse', 'sse', 'socket', 'mqtt4ws', 'mqtt4ws', 'mqtt5ws', 'mqtt5ws', 'mqtt4tcp', 'mqtt4tcp', 'mqtt5tcp', 'mqtt5tcp', 'stomp', 'stomp', 'stomp'];

/** Kinds that follow one channel on a connection. */
const OF_ONE = ['sse', 'socket'];

export const HOSTILE = ['half', 'garbage', 'giant', 'silence', 'unreleased', 'unread', 'unacknowledged', 'twice', 'topics', 'frames'];

const FAULTS = {
  killNode: (random) => ({ node: random.between(0, 1), milliseconds: random.between(100, 1200) }),
  restartNode: (random) => ({ node: random.between(0, 1), milliseconds: random.between(100, 600) }),
  pauseNode: (random) => ({ node: random.between(0, 1), milliseconds: random.chance(0.1) ? 6000 : random.between(200, 2500) }),
  killRedis: (random) => ({ milliseconds: random.between(50, 900) }),
  pauseRedis: (random) => ({ milliseconds: random.between(100, 1300) }),
  killSubscribers: () => ({}),
  pauseCommands: (random) => ({ milliseconds: random.between(100, 2600), writes: random.chance(0.5) }),
  cut: (random, names) => ({ of: drawSome(random, names), reset: random.chance(0.5) }),
  move: (random, names) => ({ of: drawSome(random, names), reset: random.chance(0.5) }),
  stall: (random, names) => ({ of: drawSome(random, names), milliseconds: random.between(200, 3500), stalled: random.pick(['up', 'down', 'down', 'both']) }),
  blackHole: (random, names) => ({ of: drawSome(random, names), milliseconds: random.between(200, 2000) }),
};
const WEIGHTS = ['killNode', 'killNode', 'killNode', 'restartNode', 'restartNode', 'pauseNode', 'pauseNode', 'killRedis', 'killRedis', 'pauseRedis',
  'killSubscribers', 'killSubscribers', 'pauseCommands', 'cut', 'cut', 'move', 'stall', 'stall', 'blackHole'];

export const isFault = ({ what }) => what in FAULTS;

const drawSome = (random, names) => names.filter(() => random.chance(0.25));

function drawParticipants(random, prefix, kinds, calm) {
  return kinds.map((kind, number) => ({
    name: `${prefix}${number}-${kind}`,
    kind,
    /** Its library waits longer for answers. */
    calm,
    seed: random.between(1, 2 ** 32 - 1),
    node: random.between(0, 1),
    channels: OF_ONE.includes(kind) ? [random.pick(kind === 'sse' ? KEPT : CHANNELS)] : CHANNELS,
    /** Milliseconds between two publications on average. */
    pace: random.between(5, 60),
    /** What a subscription asks for. */
    qos: random.between(0, 2),
    ack: random.pick(['auto', 'client', 'client-individual']),
    /** Of MQTT 5: publications that may be unacknowledged. */
    receiveMaximum: random.pick([undefined, 1, 5, 60]),
    hasWill: random.chance(0.4),
  }));
}

/**
 * `milliseconds` is how long faults happen; `without` leaves out entries by their number, to find out which ones a finding needs.
 * Entries: `{ at, what, … }`, by their time.
 */
export function drawPlan(seed, { milliseconds = 3500, without = [] } = {}) {
  const random = new Random(seed);
  /** Nothing but hostile clients: no connection of another one may end. */
  const calm = random.chance(0.15);
  const publishers = drawParticipants(random, 'p', PUBLISHERS, calm);
  const readers = drawParticipants(random, 'r', READERS, calm);
  const names = [...publishers, ...readers].map(({ name }) => name);
  const draw = Array.from({ length: calm ? 0 : random.between(2, 6) }, () => {
    const what = random.pick(WEIGHTS);
    return { at: random.between(200, milliseconds), what, ...FAULTS[what](random, names) };
  });
  for (let count = random.between(2, 5); count > 0; count -= 1) {
    draw.push({ at: random.between(0, milliseconds), what: 'hostile', how: random.pick(HOSTILE), node: random.between(0, 1), seed: random.between(1, 2 ** 32 - 1) });
  }
  if (!calm) for (const { name } of readers) if (random.chance(0.3)) draw.push({ at: random.between(300, milliseconds), what: 'reload', reader: name });
  const entries = draw.sort((one, other) => one.at - other.at).map((entry, number) => ({ number, ...entry }));
  return {
    seed,
    milliseconds,
    calm,
    /** Redis writes each command to its append-only file before it answers: what it acknowledged survives its end. */
    durable: random.chance(0.7),
    publishers,
    readers,
    entries: entries.filter(({ number }) => !without.includes(number)),
  };
}
