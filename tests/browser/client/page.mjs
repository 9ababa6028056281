// A page that uses the client, as an application's page does, and what its user has seen.

import assert from 'node:assert/strict';

/** Runs in the page: connects, subscribes, and records in `window.seen`. */
async function install({ entry, exported, url, channels, user, seconds, options }) {
  const module = await import(entry);
  window.seen = { states: [], closes: [], received: [], gaps: [], errors: [], settled: {}, tokens: 0 };
  const token = async () => {
    seen.tokens += 1;
    const answer = await fetch(`/token?user=${user}&seconds=${seconds}`);
    return answer.text();
  };
  const client = window.client = module[exported](url, { token, ...options });
  client.on('state', (state, detail) => {
    seen.states.push(state);
    if (state === 'open') seen.openedAt ??= performance.now();
    if (detail?.code) seen.closes.push(detail.code);
  });
  window.subscriptions = {};
  for (const channel of channels) {
    const subscription = window.subscriptions[channel] = client.subscribe(channel, ({ data, position }) => seen.received.push({ channel, data, position }));
    subscription.on('subscribed', () => { seen[`subscribed ${channel}`] = (seen[`subscribed ${channel}`] ?? 0) + 1; });
    subscription.on('gap', ({ reason }) => seen.gaps.push({ channel, reason }));
    subscription.on('error', ({ code }) => seen.errors.push({ channel, code }));
  }
  // Not awaited by the page: it goes on like an application whose user keeps on typing.
  window.publish = (channel, data) => {
    seen.settled[data] = 'pending';
    client.publish(channel, data).then(({ position }) => { seen.settled[data] = position ?? 'published'; }, (error) => { seen.settled[data] = error.code; });
  };
}

let pages = 0;

export class ClientPage {
  /** `network` is where the client connects: a proxy or a node. `client` selects another entry of the package. */
  static async open(browser, fleet, network, { channels, seconds = 3600, entry = 'index', exported = 'connect', options = {} }) {
    const page = await browser.open(`${fleet.site.origin}/`);
    const user = `u${++pages}`;
    await page.evaluate(install, { entry: `/client/dist/${entry}.js`, exported, url: `${network.url}/ws`, channels, user, seconds, options });
    const it = new ClientPage(page, user, channels);
    await it.untilSubscribed(1);
    return it;
  }

  constructor(page, user, channels) { Object.assign(this, { page, user, channels }); }

  seen() { return this.page.evaluate(() => window.seen); }

  until(what, condition, argument, options) { return this.page.until(`${this.user}: ${what}`, condition, argument, options); }

  /** Every channel was subscribed `times` times. */
  untilSubscribed(times, options) {
    const condition = ([channels, count]) => channels.every((channel) => (window.seen[`subscribed ${channel}`] ?? 0) >= count);
    return this.until(`all channels are subscribed to, ${times} times`, condition, [this.channels, times], options);
  }

  untilState(state) { return this.until(`it is ${state}`, (expected) => window.client.state === expected, state); }

  /** Publishes without waiting for the answers. */
  publish(channel, ...texts) {
    return this.page.evaluate(([name, all]) => all.forEach((text) => window.publish(name, text)), [channel, texts]);
  }

  untilSettled() { return this.until('all publications are settled', () => !Object.values(window.seen.settled).includes('pending')); }

  untilReceived(channel, text) {
    return this.until(`it receives ${text} on ${channel}`, ([name, data]) => window.seen.received.some((it) => it.channel === name && it.data === data), [channel, text]);
  }

  /** Exactly these were received on the channel, in this order. */
  async assertReceived(channel, texts) {
    const { received } = await this.seen();
    assert.deepEqual(received.filter((it) => it.channel === channel).map((it) => it.data), texts, `${this.user} on ${channel}`);
  }

  async assertPublished(texts) {
    const { settled } = await this.seen();
    for (const text of texts) assert.ok(settled[text]?.includes('-') || settled[text] === 'published', `${text}: ${settled[text]}`);
  }

  async assertGaps(channel, count) {
    const { gaps } = await this.seen();
    assert.equal(gaps.filter((it) => it.channel === channel).length, count, `gaps of ${this.user} on ${channel}: ${JSON.stringify(gaps)}`);
  }

  async close() {
    await this.page.evaluate(() => window.client.close());
    await this.page.close();
  }
}
