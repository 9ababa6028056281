// Chromium and Firefox with the same few methods: `open` a page, `evaluate` in it, wait `until` something holds there.
//
// Driven by puppeteer-core. The pages of playwright-core always have the focus, so Chromium never freezes them; and it sends Debian's Firefox
// commands that this does not know (`emulation.setMediaFeaturesOverride`).

import { execFileSync } from 'node:child_process';
import puppeteer from 'puppeteer-core';
import { TIMEOUT, until } from './wait.mjs';

const PROGRAMS = { chromium: process.env.CHROMIUM || 'chromium', firefox: process.env.FIREFOX || 'firefox-esr' };

const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

/** What Firefox reports as an error of the page, although no script threw it: a connection was lost. */
const FIREFOX_NOTICES = /^(Error: )?(The connection to .* was interrupted|Firefox can.t establish a connection)/;

/** The path of `chromium` or `firefox`, or null if it is not installed. */
export function findBrowser(name) {
  try {
    return execFileSync('which', [PROGRAMS[name]], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}

export class Browser {
  /** `name` is `chromium` or `firefox`; `flags` are further ones for Chromium. */
  static async launch(name, flags = []) {
    const options = name === 'firefox' ? { browser: 'firefox' } : { args: [...CHROMIUM_FLAGS, ...flags] };
    const browser = await puppeteer.launch({ executablePath: findBrowser(name), headless: true, timeout: 60_000, ...options });
    return new Browser(name, browser);
  }

  constructor(name, browser) {
    Object.assign(this, { name, browser });
    /** Exceptions in pages that no script caught. */
    this.errors = [];
  }

  async open(url) {
    const page = await this.browser.newPage();
    page.on('pageerror', (error) => {
      if (!FIREFOX_NOTICES.test(error?.message)) this.errors.push(String(error?.stack ?? error));
    });
    await page.goto(url, { timeout: TIMEOUT });
    return new Page(page);
  }

  close() { return this.browser.close(); }
}

export class Page {
  constructor(page) { this.page = page; }

  /** Runs the function in the page and returns its value. */
  evaluate(run, argument) { return this.page.evaluate(run, argument); }

  /** Waits until the function returns something true in the page. An error shows what `window.seen` holds. */
  until(what, condition, argument, options = {}) {
    return until(what, () => this.page.evaluate(condition, argument), { found: () => this.page.evaluate(() => window.seen), ...options });
  }

  /** Chromium only: freezes the page, as a browser does with a tab in the background, or thaws it. */
  async setFrozen(frozen) {
    this.devtools ??= await this.page.createCDPSession();
    await this.devtools.send('Page.setWebLifecycleState', { state: frozen ? 'frozen' : 'active' });
  }

  /** Chromium only: the browser has no network for this page, and tells it so. */
  setOffline(offline) { return this.page.setOfflineMode(offline); }

  close() { return this.page.close(); }
}
