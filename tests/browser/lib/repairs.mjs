// Faults that last for a while, of which those that still last can be removed early.

import { sleep } from './wait.mjs';

/** Milliseconds that a process gets to end after SIGTERM, before it is killed. */
const DRAIN_TIME_MAX = 3000;

export class Repairs {
  /** What is still to be repaired: functions by name. */
  #pending = new Map();

  /** Faults of one thing do not overlap: the second one is left out. */
  async during(name, milliseconds, begin, end) {
    if (this.#pending.has(name)) return;
    begin();
    // Until the repair is complete: a node that is being started again is not killed.
    let repaired;
    this.#pending.set(name, () => { repaired ??= end().finally(() => this.#pending.delete(name)); return repaired; });
    await sleep(milliseconds);
    await this.#pending.get(name)?.();
  }

  /** Ends a service by the signal, and starts it again. */
  down(service, signal, milliseconds, begun = () => {}) {
    const end = () => Promise.race([service.end(signal), sleep(DRAIN_TIME_MAX)]);
    return this.during(service.name ?? 'redis', milliseconds, () => { begun(); end(); }, async () => {
      await end();
      await service.kill();
      await service.run();
    });
  }

  /** Removes all faults that there still are. */
  async all() {
    for (const repair of [...this.#pending.values()]) await repair();
  }
}
