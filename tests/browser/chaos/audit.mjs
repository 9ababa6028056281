// Reads the journals of all participants after a run, and finds broken promises.
//
// A journal is a list of entries in the order in which the participant saw them:
//
//   { kind: 'publish', id, channel, n }                 publish was called; then one of
//   { kind: 'acknowledged', id, position }              its promise was resolved
//   { kind: 'rejected', id, code }                      its promise was rejected
//   { kind: 'subscribe', sub, channel, options }        a subscription began; then any number of
//   { kind: 'subscribed', sub, position, recovered }
//   { kind: 'publication', sub, from, n, position }     `from` and `n` are what the publisher's `publish` entry has
//   { kind: 'gap', sub, reason }
//   { kind: 'error', sub, code }                        the subscription is over
//   { kind: 'unsubscribe', sub }                        nothing of it follows
//
// Each entry has `at`, milliseconds since the start of the run, on one clock for all participants.

/** Codes which mean that nothing was published. */
const NOT_PUBLISHED = ['forbidden', 'unauthorized', 'bad_request', 'too_large', 'rate_limited', 'limit_reached', 'queue_full', 'not_found'];

/** Milliseconds after which the client rejects a publication without an answer, whatever it knows of it (`timeout` of `connect`), less rounding. */
const REQUEST_TIMEOUT = 60_000 - 100;

/** What each kind of finding means. */
export const KINDS = {
  Loss: 'a publication was not received, and no gap was told',
  Twice: 'a subscription received a publication again',
  Doubled: 'one publication was published twice',
  Disorder: 'a publication was received after a later one',
  Stray: 'something was received after unsubscribe',
  WrongPosition: 'a publisher was told another position than subscribers',
  Phantom: 'received, though the publisher was told that it was not published',
  Unsettled: 'the promise of publish was neither resolved nor rejected',
  Unresent: 'rejected with unknown_outcome on a channel with history, where it can be sent again',
  NeedlessGap: 'a gap was told on a channel whose history is complete',
  Ended: 'a subscription ended by itself',
  Stuck: 'a participant was not served again after all faults were removed',
  Crash: 'an exception that nothing caught, or a panic of a node',
};

/**
 * When Redis loses its histories, it loses the idempotency keys with them: what is sent again then is published again, in another
 * epoch. Subscribers are told a gap between.
 */
const isSameEpoch = (one, other) => !one || !other || parse(one)[0] === parse(other)[0];

const parse = (position) => { const at = position.lastIndexOf('-'); return [position.slice(0, at), Number(position.slice(at + 1))]; };

/**
 * `channels`: how many publications each keeps; `journals`: by the name of the participant; `durable`: Redis loses nothing that it
 * acknowledged; `redisFailed`: it was killed or paused, so that a publication that a client sends again may be stored behind later ones.
 * Returns findings: `{ kind, who, channel, text, at }`.
 */
export function audit({ channels, journals, durable, redisFailed = false }) {
  const findings = [];
  const publications = collectPublications(journals, findings);
  for (const [who, entries] of Object.entries(journals)) {
    for (const subscription of collectSubscriptions(entries)) {
      const find = (kind, at, text) => findings.push({ kind, who, channel: subscription.channel, sub: subscription.sub, at, text });
      const keeps = channels[subscription.channel];
      auditSubscription(subscription, publications, { keeps, durable, isOrdered: !keeps || !redisFailed }, find);
    }
  }
  auditPublications(publications, { channels, durable }, findings);
  return findings;
}

const nameOf = (channel, from, n) => `${channel} ${from} ${n}`;

/** All publications by channel, publisher and number. */
function collectPublications(journals, findings) {
  const all = new Map();
  for (const [who, entries] of Object.entries(journals)) {
    const mine = new Map();
    for (const entry of entries) {
      if (entry.kind === 'publish') {
        const publication = { channel: entry.channel, from: who, n: entry.n, at: entry.at, positions: new Set(), outcome: null };
        mine.set(entry.id, publication);
        all.set(nameOf(entry.channel, who, entry.n), publication);
      } else if (entry.kind === 'acknowledged' || entry.kind === 'rejected') {
        Object.assign(mine.get(entry.id), { outcome: entry.kind, position: entry.position, code: entry.code, settledAt: entry.at });
      }
    }
    for (const { outcome, channel, n, at } of mine.values()) {
      if (!outcome) findings.push({ kind: 'Unsettled', who, channel, at, text: `publication ${n}` });
    }
  }
  return all;
}

/** The subscriptions of one journal, each with its entries from `subscribe` on. */
function collectSubscriptions(entries) {
  const all = new Map();
  for (const entry of entries) {
    if (entry.kind === 'subscribe') all.set(entry.sub, { sub: entry.sub, channel: entry.channel, options: entry.options, entries: [] });
    else if (entry.sub !== undefined) all.get(entry.sub).entries.push(entry);
  }
  return all.values();
}

function auditSubscription({ options, channel, entries }, publications, { keeps, durable, isOrdered }, find) {
  /** Positions of what was received, by name. */
  const received = new Map();
  /** The last number of each publisher, and the publishers of whom a gap may have hidden some. */
  const last = new Map();
  const excused = new Set();
  let position = options.since && options.since !== 'first' ? options.since : undefined;
  /** Something may be missing before the next publication. */
  let gap = false;
  let over = false;
  for (const entry of entries) {
    if (over) find('Stray', entry.at, `${entry.kind} ${entry.from ?? ''} ${entry.n ?? ''}`);
    if (entry.kind === 'unsubscribe') over = true;
    if (entry.kind === 'error') find('Ended', entry.at, entry.code);
    if (entry.kind === 'gap') {
      gap = true;
      for (const from of last.keys()) excused.add(from);
      if (keeps > 1000 && durable) find('NeedlessGap', entry.at, entry.reason);
    }
    // Where a subscription begins, unless the past follows: because it asked for it, or joined one that resumes.
    const pastFollows = options.last || options.since || entry.recovered;
    if (entry.kind === 'subscribed' && entry.position && !pastFollows) position ??= entry.position;
    if (entry.kind !== 'publication') continue;

    const { from, n, at } = entry;
    const name = nameOf(channel, from, n);
    if (received.has(name) && isSameEpoch(received.get(name), entry.position)) find('Twice', at, `${from} ${n} at ${entry.position}`);
    received.set(name, entry.position);
    const publication = publications.get(name);
    if (publication) {
      if (entry.position) publication.positions.add(entry.position);
      publication.receivedAt ??= at;
    }
    // The node that it was sent to first may publish it behind those sent to another one; its publisher was told that this is unknown.
    if (!keeps && n < last.get(from)?.n && publication?.code === 'unknown_outcome') continue;
    if (keeps) {
      position = auditPosition(entry, position, gap, options, find);
    } else {
      auditNumber(entry, channel, publications, last, excused, find);
    }
    const before = last.get(from);
    if (isOrdered && before && n < before.n && isSameEpoch(before.position, entry.position)) find('Disorder', at, `${from} ${n} after ${before.n}`);
    last.set(from, { n, position: entry.position });
    excused.delete(from);
    gap = false;
  }
  auditAcknowledged(entries, channel, publications, received, find);
}

/** On a channel with history positions grow by one; after a gap, they continue anywhere. Returns the position. */
function auditPosition({ from, n, at, position }, before, gap, options, find) {
  if (!position) {
    find('Loss', at, `${from} ${n} has no position`);
    return before;
  }
  const [epoch, seq] = parse(position);
  if (!before) {
    if (options.since === 'first' && seq !== 1 && !gap) find('Loss', at, `the first publication is ${position}`);
    return position;
  }
  const [epochBefore, seqBefore] = parse(before);
  // `0-0` is before the first publication of any epoch.
  const begins = before === '0-0' && seq === 1;
  if (epoch !== epochBefore && !gap && !begins) find('Loss', at, `${position} follows ${before}`);
  if (epoch === epochBefore && seq <= seqBefore) find(seq === seqBefore ? 'Twice' : 'Disorder', at, `${position} follows ${before}`);
  if (epoch === epochBefore && seq > seqBefore + 1 && !gap) find('Loss', at, `${position} follows ${before}`);
  return position;
}

/** On a channel without history, each publisher's numbers show what is missing. */
function auditNumber({ from, n, at }, channel, publications, last, excused, find) {
  if (!last.has(from) || excused.has(from)) return;
  for (let missing = last.get(from).n + 1; missing < n; missing += 1) {
    if (publications.get(nameOf(channel, from, missing))?.outcome === 'acknowledged') find('Loss', at, `${from} ${missing}, before ${n}`);
  }
}

/** What was published after `subscribed`, and acknowledged, was received, unless a gap was told since. */
function auditAcknowledged(entries, channel, publications, received, find) {
  const begun = entries.find(({ kind }) => kind === 'subscribed')?.at;
  const ended = entries.find(({ kind }) => kind === 'unsubscribe' || kind === 'error');
  if (begun === undefined || ended) return;
  const lastGap = entries.findLast(({ kind }) => kind === 'gap')?.at ?? -1;
  for (const publication of publications.values()) {
    const { from, n, at, outcome } = publication;
    if (publication.channel !== channel || outcome !== 'acknowledged' || at <= begun) continue;
    if (!received.has(nameOf(channel, from, n)) && lastGap < at) find('Loss', at, `${from} ${n} was acknowledged and not received`);
  }
}

function auditPublications(publications, { channels, durable }, findings) {
  for (const { channel, from, n, at, outcome, code, position, positions, receivedAt, settledAt } of publications.values()) {
    const find = (kind, text) => findings.push({ kind, who: from, channel, at, text });
    const told = [...positions];
    const epochs = new Set(told.map((it) => parse(it)[0]));
    if (told.length > epochs.size) find('Doubled', `publication ${n} is at ${told.join(' and ')}`);
    // A Redis that lost its history stores it again, perhaps behind a gap for all subscribers.
    const isComparable = durable || !position || epochs.has(parse(position)[0]);
    if (outcome === 'acknowledged' && channels[channel] && told.length && isComparable && !positions.has(position)) {
      find('WrongPosition', `publication ${n} is at ${told}, acknowledged at ${position}`);
    }
    if (outcome === 'rejected' && receivedAt !== undefined && NOT_PUBLISHED.includes(code)) find('Phantom', `publication ${n}, ${code}`);
    const inTime = settledAt - at < REQUEST_TIMEOUT;
    if (outcome === 'rejected' && channels[channel] && code === 'unknown_outcome' && inTime) find('Unresent', `publication ${n}`);
  }
}
