// Nodes, Redis and the network fail while pages publish.

import assert from 'node:assert/strict';
import { ClientPage } from './page.mjs';

const numbered = (prefix, count, from = 1) => Array.from({ length: count }, (_, at) => `${prefix} ${from + at}`);

export async function networkChecks(checks, browser, fleet) {
  const { a, b, redis } = fleet;
  const open = (network, channels, options = {}) => ClientPage.open(browser, fleet, network, { channels, ...options });

  await checks.check('two pages on two nodes receive what both publish, in order and once', async () => {
    const [one, two] = await Promise.all([open(a, ['chat:two', 'news:two']), open(b, ['chat:two', 'news:two'])]);
    await one.publish('chat:two', ...numbered('one', 20));
    await one.untilSettled();
    await two.publish('chat:two', ...numbered('two', 20));
    await two.publish('news:two', 'news');
    await two.untilSettled();
    for (const it of [one, two]) {
      await it.untilReceived('news:two', 'news');
      await it.untilReceived('chat:two', 'two 20');
      await it.assertReceived('chat:two', [...numbered('one', 20), ...numbered('two', 20)]);
      assert.deepEqual((await it.seen()).gaps, []);
    }
    await two.assertPublished([...numbered('two', 20), 'news']);
    await one.close();
    await two.close();
  });

  await checks.check('a killed node: the page moves to the other, nothing is lost or received twice, and a gap is told without history', async () => {
    const link = await fleet.link(a.port);
    const channels = ['chat:killed', 'news:killed'];
    const [one, two] = await Promise.all([open(link, channels), open(b, channels)]);
    await one.publish('chat:killed', ...numbered('before', 5));
    await one.untilSettled();
    await one.publish('chat:killed', ...numbered('unanswered', 20));
    await a.kill();
    await one.until('it notices', () => window.client.state !== 'open');
    await one.publish('chat:killed', ...numbered('offline', 5));
    await two.publish('chat:killed', 'meanwhile');
    await two.publish('news:killed', 'not to be seen by the first page');
    await two.untilSettled();
    link.target = b.port;
    await one.untilSubscribed(2);
    await one.untilSettled();
    await two.publish('chat:killed', 'last');
    await two.publish('news:killed', 'last');
    const mine = [...numbered('before', 5), ...numbered('unanswered', 20), ...numbered('offline', 5)];
    await one.assertPublished(mine);
    for (const it of [one, two]) {
      await it.untilReceived('chat:killed', 'last');
      await it.untilReceived('news:killed', 'last');
      const received = (await it.seen()).received.filter(({ channel }) => channel === 'chat:killed').map(({ data }) => data);
      assert.deepEqual(received.filter((text) => mine.includes(text)), mine, 'in order, once');
      assert.equal(received.length, mine.length + 2, `all of them: ${received}`);
      await it.assertGaps('chat:killed', 0);
    }
    await one.assertReceived('news:killed', ['last']);
    await one.assertGaps('news:killed', 1);
    await two.assertGaps('news:killed', 0);
    await a.run();
    await a.untilReady();
    await one.close();
    await two.close();
  });

  await checks.check('a killed Redis: the page stays connected, loses nothing with history, and is told a gap without', async () => {
    const one = await open(a, ['chat:redis', 'news:redis']);
    await one.publish('chat:redis', 'before');
    await one.untilSettled();
    await redis.kill();
    await one.publish('chat:redis', 'while it is away');
    await one.untilSettled();
    await redis.run();
    await fleet.a.untilReady();
    await one.until('the gap is told', () => window.seen.gaps.some(({ channel }) => channel === 'news:redis'));
    await one.publish('chat:redis', 'after');
    await one.untilReceived('chat:redis', 'after');
    await one.assertPublished(['before', 'after']);
    const { settled, received, states } = await one.seen();
    assert.equal(settled['while it is away'], 'unavailable');
    // It may have been published all the same; it was not if Redis was away before.
    const texts = received.map(({ data }) => data).filter((text) => text !== 'while it is away');
    assert.deepEqual(texts, ['before', 'after']);
    assert.deepEqual(states, ['connecting', 'open']);
    await one.assertGaps('chat:redis', 0);
    await one.close();
    await fleet.b.untilReady();
  });

  await checks.check('a node that drains: the page reconnects when it is asked to, and every publication is settled', async () => {
    const link = await fleet.link(a.port);
    const one = await open(link, ['chat:drain']);
    const texts = numbered('', 50);
    await one.publish('chat:drain', ...texts);
    await a.drain(100);
    await one.until('it is asked to reconnect', () => window.seen.closes.includes(1012));
    await one.untilSubscribed(2, { timeout: 45_000 });
    await one.untilSettled();
    await one.assertPublished(texts);
    await one.untilReceived('chat:drain', texts.at(-1));
    await one.assertReceived('chat:drain', texts);
    await one.assertGaps('chat:drain', 0);
    await one.close();
  });
}

/** These disturb nothing but their own network, so they run at the same time. */
export function ownNetworkChecks(checks, browser, fleet) {
  const { a, b } = fleet;
  const open = (network, channels) => ClientPage.open(browser, fleet, network, { channels });

  const cut = checks.check('connections that are cut again and again lose and repeat nothing', async () => {
    const link = await fleet.link(a.port);
    const [one, two] = await Promise.all([open(link, ['chat:cut']), open(b, ['chat:cut'])]);
    const texts = [];
    for (let round = 1; round <= 4; round += 1) {
      const batch = numbered(`round ${round}:`, 10);
      texts.push(...batch);
      await one.publish('chat:cut', ...batch);
      link.target = round % 2 ? b.port : a.port;
      link.cut({ reset: round % 2 === 0 });
      await one.untilSubscribed(round + 1);
    }
    await one.untilSettled();
    await one.assertPublished(texts);
    for (const it of [one, two]) {
      await it.untilReceived('chat:cut', texts.at(-1));
      await it.assertReceived('chat:cut', texts);
      await it.assertGaps('chat:cut', 0);
    }
    await one.close();
    await two.close();
  });

  const blackHole = checks.check('a black hole is noticed without the browser\'s help, and nothing is lost', async () => {
    const link = await fleet.link(a.port);
    const one = await open(link, ['chat:hole']);
    const two = await open(b, ['chat:hole']);
    link.set({ blackHole: true });
    await one.publish('chat:hole', 'into the black hole');
    await two.publish('chat:hole', 'meanwhile');
    await two.untilSettled();
    await one.until('it notices', () => window.client.state !== 'open');
    link.heal();
    await one.untilSubscribed(2);
    await one.untilSettled();
    await one.untilReceived('chat:hole', 'into the black hole');
    await one.assertReceived('chat:hole', ['meanwhile', 'into the black hole']);
    await one.assertGaps('chat:hole', 0);
    await two.close();
    await one.close();
  });

  return Promise.all([cut, blackHole]);
}
