// Checks of client libraries against real nodes: with the memory broker, and with two nodes on Redis.

import assert from 'node:assert/strict';
import { Checks } from './checks.mjs';
import { Node, Redis, Scratch } from './processes.mjs';

/**
 * Runs `checks` on one node, which each gets twice, and with `ofTwoNodes` on two; each gets the nodes, and Redis if there is one. Exits with 1 at
 * the first failure, and at the end.
 *
 * `settings`: of the nodes. `after`: runs after each check, such as closing its clients.
 */
export async function checkLibraries({ name, settings, checks, ofTwoNodes, after }) {
  const run = async (title, its, ...given) => {
    console.log(`-- ${title}`);
    const ran = new Checks();
    for (const [what, check] of Object.entries(its)) {
      await ran.check(what, () => check(...given));
      if (ran.failed) process.exit(1);
      await after();
    }
  };
  const scratch = new Scratch(`tidegate-${name}-`);
  const memory = await Node.start(scratch, { name: 'memory', settings });
  await run('one node', checks, [memory, memory]);
  const redis = await Redis.start(scratch);
  const nodes = [await Node.start(scratch, { name: 'a', redis, settings }), await Node.start(scratch, { name: 'b', redis, settings })];
  await run('two nodes', { ...checks, ...ofTwoNodes }, nodes, redis);
  for (const node of [memory, ...nodes]) assert.deepEqual(node.panics(), []);
  process.exit(0);
}
