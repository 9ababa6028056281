/** Every bound of the client, in milliseconds unless the name says otherwise. */

/** The first retry waits a random part of this, each further one of twice as much (full jitter). */
export const BACKOFF_BASE = 500;
export const BACKOFF_MAX = 30_000;

/** A connection that a node closed on purpose has to live this long before the backoff begins anew. */
export const STABLE = 30_000;
/** The same for a connection that was cut, or whose token has expired. */
export const STABLE_AFTER_CUT = 1_000;

/** How long token, handshake and first message may take together. */
export const CONNECT_TIMEOUT = 15_000;

/** How long the answer to a `ping` may take; also the watchdog's interval before the node announces its own. */
export const PONG_TIMEOUT = 10_000;

/** An event of the page (online, visible, …) starts no second attempt within this time. */
export const WAKE_INTERVAL = 1_000;

/** How often in a row a token may be refused before the client gives up. */
export const AUTH_FAILURES_MAX = 5;

/** How many commands, and how many characters of them, wait for an answer at a time. */
export const PENDING_MAX = 1_024;
export const PENDING_CHARS_MAX = 4 * 1_024 * 1_024;

/** How long a command waits for its answer, unless `connect` was given another time. */
export const REQUEST_TIMEOUT = 60_000;

/** A publication is not sent again later than this: nodes forget an idempotency key after five minutes. */
export const RESEND_WINDOW = 120_000;

/** How many channels' histories the client remembers to have seen, to know where it may send again. */
export const KEPT_MAX = 1_000;

/** How long one command that subscribes many channels gets, in characters: below the smallest useful frame limit of a node. */
export const BATCH_CHARS_MAX = 4_096;
/** What each of its channels takes beside its name: a position, at most. */
export const START_CHARS = 48;

/** How many publications a subscription holds for an iterator that does not fetch them, or for an unfinished look into the past. */
export const HELD_MAX = 10_000;

/** How often a look into the past is tried again after a temporary error, before it ends with a gap. */
export const BACKFILL_FAILURES_MAX = 5;

/** How many publications one `history` command asks for: the node's own limit. */
export const HISTORY_LIMIT = 1_000;
