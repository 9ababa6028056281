// Runs checks and prints a line for each.

export class Checks {
  failed = 0;
  passed = 0;

  /** `only` is a part of a name: other checks do not run. */
  constructor({ only = process.env.ONLY } = {}) { this.only = only; }

  async check(what, run) {
    if (this.only && !what.includes(this.only)) return;
    const started = performance.now();
    const duration = () => `${Math.round(performance.now() - started)} ms`;
    try {
      await run();
      this.passed += 1;
      console.log(`ok    ${what} (${duration()})`);
    } catch (error) {
      this.failed += 1;
      const frames = (error.stack ?? String(error)).split('\n').slice(0, 12);
      console.log(`FAIL  ${what} (${duration()})\n      ${frames.join('\n      ')}`);
    }
  }
}
