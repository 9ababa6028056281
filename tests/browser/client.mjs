// The client in real browsers, on two nodes and a real Redis, with faults of all of them and of the network between. Each check asserts
// what a page's user sees: nothing lost or received twice where a channel keeps history, a gap elsewhere, and every publication
// settled.
//
//   node tests/browser/client.mjs [chromium | firefox]
//
// ONLY selects checks by a part of their name, TIDEGATE another binary, CHROMIUM and FIREFOX other browsers. Exit code 0: all checks
// passed; 1: a check failed; 77: the browser is not installed.

import { findBrowser, Browser } from './lib/browser.mjs';
import { Checks } from './lib/checks.mjs';
import { fallbackChecks } from './client/fallback_checks.mjs';
import { Fleet } from './client/fleet.mjs';
import { networkChecks, ownNetworkChecks } from './client/network_checks.mjs';
import { pageChecks, tokenChecks } from './client/page_checks.mjs';
import { sharedChecks } from './client/shared_checks.mjs';

const name = process.argv[2] ?? 'chromium';
if (!findBrowser(name)) {
  console.log(`skipped: ${name} is not installed`);
  process.exit(77);
}
const [fleet, browser] = await Promise.all([Fleet.start(), Browser.launch(name)]);
const checks = new Checks();
try {
  await networkChecks(checks, browser, fleet);
  await fallbackChecks(checks, browser, fleet);
  await Promise.all([ownNetworkChecks, tokenChecks].map((run) => run(checks, browser, fleet)));
  if (name === 'chromium') {
    await pageChecks(checks, browser, fleet);
    await sharedChecks(checks, browser, fleet);
  }
  await checks.check('no page threw an exception, and no node panicked', () => {
    const faults = [...browser.errors, ...fleet.nodes.flatMap((it) => it.panics())];
    if (faults.length) throw new Error(faults.join('\n'));
  });
} finally {
  await browser.close();
  await fleet.end();
}
console.log(`${browser.name}: ${checks.passed} passed, ${checks.failed} failed`);
process.exit(checks.failed || !checks.passed ? 1 : 0);
