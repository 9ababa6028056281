// `tidegate/shared`: all tabs of an origin on one connection, in a SharedWorker, and without one where a tab leads.

import assert from 'node:assert/strict';
import { until } from '../lib/wait.mjs';
import { ClientPage } from './page.mjs';

const TABS = 20;

/** `chat:` has one channel for all tabs and one for each, `news:` keeps no history. */
const channelsOf = (prefix, number) => [`chat:${prefix}`, `news:${prefix}`, `chat:${prefix}:${number}`];

export async function sharedChecks(checks, browser, fleet) {
  for (const [how, prefix, options] of [['in a SharedWorker', 'worker', {}], ['led by a tab', 'leader', { worker: false }]]) {
    await checks.check(`${TABS} tabs share one connection ${how}, and each gets all of its own`, async () => {
      await twentyTabs(browser, fleet, prefix, options);
    });
  }
}

async function twentyTabs(browser, fleet, prefix, options) {
  const { a, b } = fleet;
  const before = await a.metric('tidegate_connections');
  const link = await fleet.link(a.port);
  const open = (number) => ClientPage.open(browser, fleet, link, { channels: channelsOf(prefix, number), entry: 'shared', options });
  const tabs = [await open(0)];
  tabs.push(...await Promise.all(Array.from({ length: TABS - 1 }, (_, at) => open(at + 1))));
  assert.equal(await a.metric('tidegate_connections') - before, 1, 'one connection');

  // Each tab publishes on the common channel and on its own.
  await Promise.all(tabs.map((tab, number) => tab.publish(`chat:${prefix}`, `from ${number}`)));
  await Promise.all(tabs.map((tab, number) => tab.publish(`chat:${prefix}:${number}`, `mine ${number}`)));
  await b.publish(`news:${prefix}`, '"news"');
  const common = Array.from({ length: TABS }, (_, number) => `from ${number}`);
  await Promise.all(tabs.map(async (tab, number) => {
    await tab.untilSettled();
    await tab.assertPublished([`from ${number}`, `mine ${number}`]);
    await tab.untilReceived(`news:${prefix}`, 'news');
    for (const text of common) await tab.untilReceived(`chat:${prefix}`, text);
    await tab.untilReceived(`chat:${prefix}:${number}`, `mine ${number}`);
  }));

  // The network breaks: the one connection resumes for all tabs.
  const moved = b.port;
  const others = await b.metric('tidegate_connections');
  link.target = moved;
  link.cut();
  await b.publish(`chat:${prefix}`, '"after the cut"');
  await Promise.all(tabs.map((tab) => tab.untilReceived(`chat:${prefix}`, 'after the cut')));
  assert.equal(await b.metric('tidegate_connections') - others, 1, 'one connection again');

  // The first tab, which leads where there is no worker, is closed; so are others. The rest goes on.
  const [closed, rest] = [tabs.filter((_, at) => at % 2 === 0), tabs.filter((_, at) => at % 2 === 1)];
  for (const tab of closed) await tab.page.close();
  await b.publish(`chat:${prefix}`, '"after half of them closed"');
  await Promise.all(rest.map((tab) => tab.untilReceived(`chat:${prefix}`, 'after half of them closed')));
  await until('one connection is left', async () => (await b.metric('tidegate_connections')) - others === 1);

  for (const tab of rest) {
    const number = tabs.indexOf(tab);
    const { received, gaps } = await tab.seen();
    const texts = received.filter(({ channel }) => channel === `chat:${prefix}`).map(({ data }) => data);
    assert.deepEqual(texts.slice(0, TABS).sort(), [...common].sort(), 'each publication of the tabs once');
    assert.deepEqual(texts.slice(TABS), ['after the cut', 'after half of them closed']);
    await tab.assertReceived(`chat:${prefix}:${number}`, [`mine ${number}`]);
    assert.equal(received.length, TABS + 4, 'nothing of channels that the tab does not subscribe to');
    assert.ok(gaps.every(({ channel }) => channel === `news:${prefix}`), JSON.stringify(gaps));
    assert.ok(gaps.length >= 1, 'a gap is told on the channel without history');
  }
  for (const tab of rest) await tab.close();
  await until('the connection ends with the last tab', async () => (await b.metric('tidegate_connections')) === others);
}
