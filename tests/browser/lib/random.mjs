// Random numbers from a seed: the same seed gives the same numbers on every machine.

/** A seed for a run without one: 1 to 2^32 - 1. */
export const drawSeed = () => 1 + Math.floor(Math.random() * (2 ** 32 - 1));

/** Mulberry32, a generator of 32 bits of state. */
export class Random {
  #state;

  constructor(seed) { this.#state = seed >>> 0; }

  /** A number of [0, 1). */
  unit() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, from `least` to `most`. */
  between(least, most) { return least + Math.floor(this.unit() * (most - least + 1)); }

  chance(probability) { return this.unit() < probability; }

  pick(list) { return list[this.between(0, list.length - 1)]; }

  /** Another generator, whose numbers do not depend on how many of this one are drawn later. */
  fork() { return new Random(this.between(1, 2 ** 32 - 1)); }
}
