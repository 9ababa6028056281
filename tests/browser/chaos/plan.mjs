// The plan of a run, drawn from its seed: who takes part, which faults happen when, and what participants do besides.

import { Random } from '../lib/random.mjs';

/** The channels of every run, and how many publications their rule keeps. 0: none. */
export const CHANNELS = { 'kept:1': 5000, 'kept:2': 5000, 'short:1': 3, 'live:1': 0 };

/** The rules of the nodes for these channels. */
export const RULES = '[{pattern="kept:*",subscribe="user",publish="user",history={size=5000,age="10m"}},'
  + '{pattern="short:*",subscribe="user",publish="user",history={size=3,age="10m"}},'
  + '{pattern="live:*",subscribe="user",publish="user"}]';

/** A burst is larger than what `short:1` keeps: a rule's `size` and 100 more. */
export const BURST = 120;

/** Faults of one participant's network, with their duration. `cut` ends at once. */
const LINK_FAULTS = {
  cut: (random) => ({ reset: random.chance(0.5) }),
  refused: () => ({}),
  stalled: (random) => ({ direction: random.pick(['up', 'down', 'both']) }),
  latency: (random) => ({ latency: random.between(20, 150), jitter: random.between(0, 60) }),
  throttled: (random) => ({ bytesPerSecond: random.between(2_000, 50_000) }),
  blackHole: () => ({}),
  otherNode: (random) => ({ reset: random.chance(0.5) }),
  blocked: (random) => ({ upgrades: random.pick(['400', '403', '403', 'hang']), streams: random.pick(['pass', 'pass', 'body', 'all']) }),
};

/** Faults of nodes and of Redis. */
const PROCESS_FAULTS = ['killNode', 'pauseNode', 'restartNode', 'drainNode', 'killRedis', 'pauseRedis'];

const LINK_WEIGHTS = ['cut', 'cut', 'cut', 'refused', 'refused', 'stalled', 'stalled', 'latency', 'throttled', 'otherNode', 'otherNode', 'blackHole'];
const PROCESS_WEIGHTS = ['killNode', 'killNode', 'restartNode', 'drainNode', 'pauseNode', 'killRedis', 'killRedis', 'pauseRedis'];

/**
 * `milliseconds` is how long faults happen; `without` leaves out entries by their number, to find out which ones a finding needs.
 * Entries: `{ at, what, participant | node, milliseconds, … }`, by their time.
 */
export function drawPlan(seed, transport, { milliseconds = 4000, without = [] } = {}) {
  const random = new Random(seed);
  const participants = Array.from({ length: random.between(2, 4) }, (_, number) => ({
    name: `u${number + 1}`,
    seed: random.between(1, 2 ** 32 - 1),
    node: number % 2,
    // Short-lived tokens are renewed during the run.
    tokenSeconds: random.chance(0.3) ? random.between(4, 8) : 3600,
    pause: random.between(20, 120),
  }));
  const draw = [];
  const at = () => random.between(100, milliseconds);
  for (let count = random.between(3, 8); count > 0; count -= 1) {
    const what = random.pick(LINK_WEIGHTS);
    draw.push({ at: at(), what, participant: random.pick(participants).name, milliseconds: random.between(50, 1500), ...LINK_FAULTS[what](random) });
  }
  for (let count = transport === 'changing' ? random.between(1, 4) : 0; count > 0; count -= 1) {
    draw.push({ at: at(), what: 'blocked', participant: random.pick(participants).name, milliseconds: random.between(1000, 9000), ...LINK_FAULTS.blocked(random) });
  }
  for (let count = random.between(0, 3); count > 0; count -= 1) {
    draw.push({ at: at(), what: random.pick(PROCESS_WEIGHTS), node: random.between(0, 1), milliseconds: random.between(100, 1500) });
  }
  for (let count = random.between(0, 4); count > 0; count -= 1) {
    draw.push({ at: at(), what: 'resubscribe', participant: random.pick(participants).name, channel: random.pick(Object.keys(CHANNELS)), milliseconds: random.between(0, 300) });
  }
  for (let count = random.between(0, 2); count > 0; count -= 1) {
    draw.push({ at: at(), what: 'join', participant: random.pick(participants).name, channel: random.pick(['kept:1', 'kept:2']), options: random.pick([{ since: 'first' }, { last: 5 }, {}]) });
  }
  for (let count = random.between(0, 1); count > 0; count -= 1) draw.push({ at: at(), what: 'burst', channel: 'short:1' });
  const entries = draw.sort((one, other) => one.at - other.at).map((entry, number) => ({ number, ...entry }));
  return {
    seed,
    transport,
    milliseconds,
    /** Redis writes each command to its append-only file before it answers: what it acknowledged survives its end. */
    durable: random.chance(0.6),
    /** Pages hear from the browser that the network is back. */
    online: random.chance(0.5),
    participants,
    entries: entries.filter(({ number }) => !without.includes(number)),
  };
}

export const isProcessFault = ({ what }) => PROCESS_FAULTS.includes(what);
export const isLinkFault = ({ what }) => what in LINK_FAULTS;
