// Waiting for conditions.

/** Milliseconds for a condition, unless a test says otherwise. Generous: the machine may be busy. */
export const TIMEOUT = 20_000;

/** Milliseconds between two looks at a condition. */
const INTERVAL = 15;

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/**
 * Waits until `condition()`, which may be async, returns something true, and returns that. After `timeout` milliseconds it throws
 * an error with `what` and what `found()` returns.
 */
export async function until(what, condition, { timeout = TIMEOUT, found = async () => undefined } = {}) {
  const deadline = performance.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) {
      const state = await found();
      throw new Error(`waited ${timeout / 1000} s until ${what}${state === undefined ? '' : `; found ${JSON.stringify(state)}`}`);
    }
    await sleep(INTERVAL);
  }
}
