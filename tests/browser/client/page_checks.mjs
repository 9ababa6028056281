// What a browser does to a page: tokens that expire, tabs that are frozen, networks that come and go.

import assert from 'node:assert/strict';
import { sleep, until } from '../lib/wait.mjs';
import { ClientPage } from './page.mjs';

/** Whether the page's interval of 5 ms has stopped. */
async function standsStill(page) {
  const ticks = await page.evaluate(() => window.ticks);
  await sleep(50);
  return ticks === await page.evaluate(() => window.ticks);
}

/** Chromium only: Firefox has no command that freezes a page or takes its network. */
export async function pageChecks(checks, browser, fleet) {
  const { a, b } = fleet;
  const open = (network, channels) => ClientPage.open(browser, fleet, network, { channels });

  await checks.check('a tab that is frozen gets what it missed when it is thawed, also if the connection broke meanwhile', async () => {
    const link = await fleet.link(a.port);
    const one = await open(link, ['chat:frozen', 'news:frozen']);
    await one.page.evaluate(() => { window.ticks = 0; setInterval(() => { window.ticks += 1; }, 5); });
    for (const [text, breaks] of [['while frozen', false], ['while frozen and cut', true]]) {
      await one.page.setFrozen(true);
      await until('the page stands still', () => standsStill(one.page));
      if (breaks) link.cut();
      await b.publish('chat:frozen', JSON.stringify(text));
      if (breaks) await until('the node has lost the connection', async () => (await a.metric('tidegate_connections')) === 0);
      assert.ok(!(await one.seen()).received.some(({ data }) => data === text), 'a frozen page receives nothing');
      await one.page.setFrozen(false);
      await one.untilReceived('chat:frozen', text);
    }
    await one.assertReceived('chat:frozen', ['while frozen', 'while frozen and cut']);
    await one.assertGaps('chat:frozen', 0);
    await one.until('the gap is told', () => window.seen.gaps.some(({ channel }) => channel === 'news:frozen'));
    // Chromium may end the connection of a page that it freezes.
    const reconnects = (await one.seen())['subscribed news:frozen'] - 1;
    assert.ok(reconnects >= 1);
    await one.assertGaps('news:frozen', reconnects);
    await one.close();
  });

  await checks.check('a browser that is offline and online again reconnects at once', async () => {
    const link = await fleet.link(a.port);
    const one = await open(link, ['chat:offline']);
    await one.page.setOffline(true);
    link.set({ refused: true });
    link.cut();
    await one.until('it notices', () => window.client.state === 'waiting');
    await one.publish('chat:offline', 'written offline');
    await b.publish('chat:offline', '"meanwhile"');
    link.heal();
    await one.page.setOffline(false);
    await one.untilSubscribed(2);
    await one.untilReceived('chat:offline', 'written offline');
    await one.assertReceived('chat:offline', ['meanwhile', 'written offline']);
    await one.assertPublished(['written offline']);
    await one.assertGaps('chat:offline', 0);
    await one.close();
  });
}


/** These disturb only their own pages, so they run at the same time. */
export function tokenChecks(checks, browser, fleet) {
  const { a, b } = fleet;
  const open = (network, channels, options) => ClientPage.open(browser, fleet, network, { channels, ...options });

  const renewed = checks.check('a token that expires is replaced before, on the same connection', async () => {
    // The client renews when a tenth of the time is left: long enough for a busy machine.
    const one = await open(a, ['chat:token'], { seconds: 12 });
    await one.until('the first token has expired', () => performance.now() - window.seen.openedAt > 12_500);
    await one.publish('chat:token', 'with the new token');
    await one.untilReceived('chat:token', 'with the new token');
    const { states, tokens } = await one.seen();
    assert.deepEqual(states, ['connecting', 'open']);
    assert.ok(tokens >= 2);
    await one.close();
  });

  const missing = checks.check('a page without tokens for a while: the connection ends at the expiry, and begins again with the next token', async () => {
    const one = await open(a, ['chat:late-token'], { seconds: 2 });
    fleet.withoutToken.add(one.user);
    await one.until('the old token has expired', () => window.seen.closes.includes(4001));
    await b.publish('chat:late-token', '"meanwhile"');
    fleet.withoutToken.delete(one.user);
    await one.untilSubscribed(2);
    await one.untilReceived('chat:late-token', 'meanwhile');
    await one.assertReceived('chat:late-token', ['meanwhile']);
    await one.assertGaps('chat:late-token', 0);
    await one.close();
  });

  return Promise.all([renewed, missing]);
}
