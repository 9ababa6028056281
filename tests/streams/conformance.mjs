// Runs the conformance tests of the Durable Streams protocol against a URL, and compares what fails with what is expected to fail.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';

/** The tests that fail, each with the reason. A test that fails or passes against this list is a fault. docs/STREAMS.md has the same list. */
export const EXPECTED_RED = {};

/** How many tests the suite has, without those of its subscriptions, which are an option. */
const TESTS = 332;

export async function conforms(url, results) {
  const reporting = ['--reporter=json', `--outputFile=${results}`];
  const vitest = spawn('npx', ['vitest', 'run', '--testTimeout=40000', ...reporting, 'conformance.test.mjs'], {
    cwd: new URL('.', import.meta.url), env: { ...process.env, STREAMS_URL: url }, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  vitest.stderr.on('data', (text) => { errors += text; });
  await new Promise((ended) => vitest.on('close', ended));
  assert.ok(fs.existsSync(results), `the suite has not run: ${errors.slice(-2000)}`);
  const { testResults } = JSON.parse(fs.readFileSync(results, 'utf8'));
  const tests = testResults.flatMap((file) => file.assertionResults).filter((it) => it.status !== 'pending' && it.status !== 'skipped');
  const red = tests.filter((it) => it.status !== 'passed');
  const unexpected = red.filter((it) => !(it.fullName in EXPECTED_RED)).map((it) => `${it.fullName}\n    ${it.failureMessages[0]?.slice(0, 600)}`);
  assert.deepEqual(unexpected, [], `tests fail:\n${unexpected.join('\n')}`);
  const green = Object.keys(EXPECTED_RED).filter((name) => !red.some((it) => it.fullName === name));
  assert.deepEqual(green, [], 'these tests pass now: remove them from the list of those that fail');
  assert.equal(tests.length, TESTS, 'the suite has another number of tests');
  return tests.length - red.length;
}
