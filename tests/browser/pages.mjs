// A browser for the tests of the demo pages: it reports each check, and what its pages write to the console as errors.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

export const TIMEOUT = 10_000; // milliseconds, for each condition

/** A browser with a profile of its own. `options` are playwright's for a context. */
export async function launch(options = {}) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-pages-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ...options,
  });
  browser.setDefaultTimeout(TIMEOUT);
  const errors = [];
  return {
    browser,
    /** What pages opened by `open` threw, or wrote to the console as an error. */
    errors,
    async open(url, before = async () => {}) {
      const page = await browser.newPage();
      page.on('pageerror', (error) => errors.push(`${url}: ${error}`));
      page.on('console', (line) => line.type() === 'error' && errors.push(`${url}: ${line.text()}`));
      await before(page);
      await page.goto(url);
      return page;
    },
    async close() {
      await browser.close();
      fs.rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

export const state = (page, expected) => page.waitForFunction((text) => document.documentElement.dataset.state === text, expected);
export const shows = (page, text, options = {}) => page.getByText(text, options).first().waitFor();
/** Waits until the element's text is, or contains where it is an expression, the expected one. */
export const text = (page, selector, expected) => page.waitForFunction(([where, source, isExpression]) => {
  const found = document.querySelector(where)?.textContent;
  return found !== undefined && (isExpression ? new RegExp(source).test(found) : found === source);
}, [selector, expected.source ?? expected, expected instanceof RegExp]);

export function equal(found, expected, what) {
  if (found !== expected) throw new Error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
}

/** Runs checks one after the other; `failed()` is their number. */
export function checks() {
  let failures = 0;
  return {
    /** A condition inside that does not come true within TIMEOUT fails the check. */
    async check(what, run) {
      const started = performance.now();
      try {
        await run();
        console.log(`ok    ${what} (${Math.round(performance.now() - started)} ms)`);
      } catch (error) {
        failures += 1;
        console.log(`FAIL  ${what}\n      ${String(error.message).split('\n').slice(0, 4).join('\n      ')}`);
      }
    },
    failed: () => failures,
  };
}
