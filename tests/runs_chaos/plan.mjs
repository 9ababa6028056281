// The plan of a seed: the runs and their workers, the viewers and when they reload, and which faults happen when.

import { Random } from '../browser/lib/random.mjs';

/** Milliseconds until a run whose worker is gone ends. */
const LEASES = [1500, 2500, 4000];

/** Publications that the history of `short:*` keeps; at times up to 100 more. */
export const SHORT_SIZE = 20;

/** Publications of a burst, and of one whose run is longer than that history. */
const BURST = [5, 60];
const LONG_BURST = [60, 200];

/** The rules of the nodes. `lease` in milliseconds. */
export function rules(lease) {
  const rule = (pattern, size, merge) => `{pattern="${pattern}",subscribe="anyone",publish="anyone",history={size=${size},age="10m"},`
    + `run={lease="${lease}ms",${merge ? 'merge="text",rollup="40ms",' : ''}control="run-control:{name}"}}`;
  const control = '{pattern="run-control:**",subscribe="nobody",publish="nobody"}';
  return `[${[rule('merged:*', 20_000, true), rule('single:*', 20_000), rule('short:*', SHORT_SIZE, true), control].join(',')}]`;
}

export const isMerged = (channel) => !channel.startsWith('single:');
/** Whether the history of the channel keeps whole runs. */
export const isWhole = (channel) => !channel.startsWith('short:');

/** How viewers follow runs, with how many viewers of each hundred. */
const KINDS = {
  json: 16, jsonMany: 4, plain: 13, sse: 14, sseMany: 6, poll: 11, ai: 11, aiSocket: 9, client: 9, clientSse: 5, clientPoll: 2,
};
export const VIEWERS = Object.values(KINDS).reduce((sum, count) => sum + count);

/** Kinds that follow all runs on one connection. */
export const isOfMany = (kind) => kind.endsWith('Many');

/** How a run ends. One worker in each plan is killed. */
const FATES = ['done', 'done', 'done', 'error', 'stopped', 'stopped', 'killed'];

const FAULTS = {
  killNode: (random) => ({ node: random.between(0, 2), milliseconds: random.between(100, 1200) }),
  restartNode: (random) => ({ node: random.between(0, 2), milliseconds: random.between(100, 600) }),
  pauseNode: (random) => ({ node: random.between(0, 2), milliseconds: random.chance(0.1) ? 9000 : random.between(200, 2500) }),
  killRedis: (random) => ({ milliseconds: random.between(50, 900) }),
  pauseRedis: (random) => ({ milliseconds: random.between(100, 1300) }),
  cutViewers: (random) => ({ node: random.between(0, 2), reset: random.chance(0.5) }),
  stallViewers: (random) => ({ node: random.between(0, 2), milliseconds: random.between(100, 1200), stalled: random.pick(['up', 'down', 'both']) }),
  cutRedis: (random) => ({ node: random.between(0, 2), reset: random.chance(0.5) }),
  stallRedis: (random) => ({ node: random.between(0, 2), milliseconds: random.between(100, 1500), stalled: random.pick(['up', 'down', 'both']) }),
};
const WEIGHTS = ['killNode', 'killNode', 'killNode', 'restartNode', 'pauseNode', 'pauseNode', 'killRedis', 'killRedis', 'killRedis', 'pauseRedis',
  'cutViewers', 'cutViewers', 'stallViewers', 'cutRedis', 'cutRedis', 'stallRedis'];

function drawRun(random, channel, fate, milliseconds) {
  return {
    channel,
    fate,
    seed: random.between(1, 2 ** 32 - 1),
    startsAt: random.between(0, 400),
    /** Milliseconds for which it publishes, and between two publications on average. */
    lasts: random.between(milliseconds * 0.3, milliseconds * 0.85),
    pace: random.between(4, 60),
    /** Publications that are sent at once, and when: shares of its time. */
    bursts: Array.from({ length: isWhole(channel) ? random.between(0, 2) : 2 }, () => ({ share: random.unit(), count: random.between(...(isWhole(channel) ? BURST : LONG_BURST)) })),
    /** Largest piece of text, in characters. */
    longest: random.pick([8, 40, 200, 200, 700]),
    via: random.pick(['fcall', 'fcall', 'api', 'both']),
    /** Whether characters are split between two publications, which makes them binary. */
    splits: random.chance(0.15),
    /** Pieces may be whole JSON: without `merge`, json clients get those parsed. */
    json: isMerged(channel) && random.chance(0.3),
    /** When it publishes nothing for longer than its lease: a share of its time. */
    thinksAt: random.chance(0.25) ? random.unit() : null,
    withLast: random.chance(0.5),
    /** When a viewer stops it, or it is killed: a share of its time. */
    share: random.unit(),
    // A client of the AI SDK cannot follow a run that its history does not hold, and so not stop it either.
    stopBy: random.pick(['http', 'json', 'plain', isWhole(channel) ? 'ai' : 'http']),
    after: random.chance(0.5),
  };
}

function drawViewers(random, channels, milliseconds) {
  const kinds = Object.entries(KINDS).flatMap(([kind, count]) => Array.from({ length: count }, () => kind));
  return kinds.map((kind, number) => {
    const late = random.chance(0.12);
    return {
      name: `v${number}-${kind}`,
      kind,
      channels: isOfMany(kind) ? channels : [channels[(number + random.between(0, 1)) % channels.length]],
      seed: random.between(1, 2 ** 32 - 1),
      /** undefined: after all runs have ended. */
      startsAt: late ? undefined : random.chance(0.5) ? 0 : random.between(0, milliseconds * 0.8),
      /** Its connections go through a proxy that may break. */
      proxied: kind.startsWith('client') || random.chance(0.3),
    };
  });
}

function drawActions(random, viewers, milliseconds) {
  return viewers.filter((it) => it.startsAt !== undefined).flatMap(({ name, kind, startsAt }) => {
    const at = () => random.between(startsAt + 50, milliseconds);
    const actions = [];
    for (let count = random.between(0, 3); count > 0; count -= 1) {
      actions.push({ at: at(), what: 'reload', viewer: name, from: random.chance(0.65) ? 'position' : 'first', milliseconds: random.chance(0.5) ? 0 : random.between(0, 600) });
    }
    if (random.chance(0.2) && kind !== 'clientSse' && kind !== 'clientPoll') actions.push({ at: at(), what: 'slow', viewer: name, milliseconds: random.between(200, 1800) });
    return actions;
  });
}

/**
 * `milliseconds` is how long faults happen; `without` leaves out entries by their number, to find out which ones a finding needs.
 * Entries: `{ at, what, … }`, by their time.
 */
export function drawPlan(seed, { milliseconds = 3500, without = [] } = {}) {
  const random = new Random(seed);
  const channels = ['merged:1', 'merged:2', 'merged:3', 'single:1', 'single:2', 'short:1'];
  const fates = channels.map(() => random.pick(FATES));
  if (!fates.includes('killed')) fates[random.between(0, channels.length - 1)] = 'killed';
  const runs = channels.map((channel, at) => drawRun(random, channel, fates[at], milliseconds));
  const viewers = drawViewers(random, channels, milliseconds);
  const draw = drawActions(random, viewers, milliseconds);
  for (let count = random.between(1, 4); count > 0; count -= 1) {
    const what = random.pick(WEIGHTS);
    draw.push({ at: random.between(200, milliseconds), what, ...FAULTS[what](random) });
  }
  const entries = draw.sort((one, other) => one.at - other.at).map((entry, number) => ({ number, ...entry }));
  return {
    seed,
    milliseconds,
    lease: random.pick(LEASES),
    /** Redis writes each command to its append-only file before it answers: what it acknowledged survives its end. */
    durable: random.chance(0.7),
    /** A small queue of each connection makes slow viewers fall behind or be closed. */
    queueBytesMax: random.pick(['4KiB', '32KiB', '1MiB']),
    runs,
    viewers,
    entries: entries.filter(({ number }) => !without.includes(number)),
  };
}

export const isFault = ({ what }) => what in FAULTS;
