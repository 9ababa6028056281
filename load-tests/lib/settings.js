// Settings from environment variables. All of them are checked before the run starts: an invalid value stops k6 with a
// message that names the variable and the expected form.
//
// The table in ../README.md lists all of them.

const UNITS_MS = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** The settings that all scripts share; durations are in milliseconds. */
export const settings = {
  /** One or several addresses: clients are assigned to them in turn and reconnect to the next one. */
  urls: addresses('URL', ['ws:', 'wss:'], 'ws://127.0.0.1:8080'),
  token: text('TOKEN', ''),
  /** How late the last publications may arrive before they count as missing. */
  grace: duration('GRACE', '5s'),
  p95: duration('P95', '1s'),
  p99: duration('P99', '2s'),
  /** A closed client reconnects after a random part of this time; each further failure doubles it. */
  backoff: duration('BACKOFF', '1s'),
  /** A client that has not reconnected after this time has failed. */
  awayMax: duration('AWAY_MAX', '30s'),
};

export function text(name, fallback) {
  return __ENV[name] || fallback;
}

/** A number of at least `least`. */
export function number(name, fallback, least = 0) {
  const value = __ENV[name] ? Number(__ENV[name]) : fallback;
  if (!(value >= least && value < Infinity)) refuse(name, `a number from ${least} on`);
  return value;
}

export function wholeNumber(name, fallback, least = 1) {
  const value = __ENV[name] ? Number(__ENV[name]) : fallback;
  if (!(Number.isInteger(value) && value >= least)) refuse(name, `a whole number from ${least} on`);
  return value;
}

/** A share from 0 to 1. */
export function share(name, fallback) {
  const value = number(name, fallback);
  if (value > 1) refuse(name, 'a share from 0 to 1');
  return value;
}

/** A duration such as 500ms, 10s, 2m or 1m30s, in milliseconds; of `least` or more. */
export function duration(name, fallback, least = 0) {
  const given = text(name, fallback);
  if (!/^(\d+(\.\d+)?(ms|h|m|s))+$/.test(given)) refuse(name, 'a duration such as 500ms, 10s or 1m30s');
  const value = [...given.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce((sum, [, amount, unit]) => sum + Number(amount) * UNITS_MS[unit], 0);
  if (value < least) refuse(name, `a duration of ${least}ms or more`);
  return value;
}

/** One of several values; the first is the default. */
export function choice(name, ...words) {
  const value = text(name, words[0]);
  if (!words.includes(value)) refuse(name, words.join(' or '));
  return value;
}

/** A channel name, or the prefix of several. */
export function channelName(name, fallback) {
  const value = text(name, fallback);
  if (/\s/.test(value)) refuse(name, 'a channel without white space');
  return value;
}

/** Addresses without a path, separated by commas; an empty `fallback` means none by default. */
export function addresses(name, schemes, fallback) {
  const given = text(name, fallback).split(',').map((address) => address.trim().replace(/\/+$/, '')).filter((address) => address);
  const known = (address) => schemes.some((scheme) => address.startsWith(`${scheme}//`) && address.length > scheme.length + 2);
  if (!given.every(known)) refuse(name, `addresses such as ${schemes[0]}//host:port, separated by commas`);
  return given;
}

function refuse(name, expected) {
  throw new Error(`${name}=${__ENV[name]}: expected ${expected}`);
}
