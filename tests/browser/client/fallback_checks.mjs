// `tidegate/fallback` behind proxies as companies have them: they block WebSockets, or hold event streams back as well.

import assert from 'node:assert/strict';
import { CompanyProxy } from '../lib/company_proxy.mjs';
import { ClientPage } from './page.mjs';

const CASES = [
  ['answers upgrades with 403', { upgrades: '403' }, 'sse'],
  ['answers upgrades with 400', { upgrades: '400' }, 'sse'],
  ['lets upgrades hang', { upgrades: 'hang' }, 'sse'],
  ['blocks upgrades and holds streams back', { upgrades: '403', streams: 'body' }, 'poll'],
  ['blocks upgrades and holds streams back with their heads', { upgrades: '403', streams: 'all' }, 'poll'],
];

export async function fallbackChecks(checks, browser, fleet) {
  const { a, b } = fleet;
  const companies = [];
  const open = async (options, channels, given) => {
    const company = await CompanyProxy.listen(a.port, options);
    companies.push(company);
    const page = await ClientPage.open(browser, fleet, company, { channels, entry: 'fallback', options: given });
    return { company, page };
  };

  await Promise.all(CASES.map(([what, options, transport], number) => checks.check(`a proxy that ${what}: the page moves to ${transport}`, async () => {
    const channel = `chat:fallback-${number}`;
    const { company, page } = await open(options, [channel]);
    assert.equal(await page.page.evaluate(() => window.client.transport), transport);
    await page.publish(channel, 'mine');
    await b.publish(channel, '"theirs"');
    await page.untilReceived(channel, 'mine');
    await page.untilReceived(channel, 'theirs');
    await page.untilSettled();
    await page.assertPublished(['mine']);

    // The proxy breaks everything and connects to the other node.
    company.target = b.port;
    company.cut();
    await page.publish(channel, 'mine after the cut');
    await b.publish(channel, '"theirs after the cut"');
    await page.untilReceived(channel, 'mine after the cut');
    await page.untilReceived(channel, 'theirs after the cut');
    await page.untilSettled();
    await page.assertPublished(['mine', 'mine after the cut']);
    const { received } = await page.seen();
    assert.deepEqual(received.map(({ data }) => data).sort(), ['mine', 'mine after the cut', 'theirs', 'theirs after the cut']);
    await page.assertGaps(channel, 0);
    await page.close();
  })));

  await checks.check('when the proxy lets WebSockets through again, the page returns to them and loses nothing', async () => {
    const { company, page } = await open({ upgrades: '403' }, ['chat:return'], { retryWebSocket: 200 });
    assert.equal(await page.page.evaluate(() => window.client.transport), 'sse');
    await page.publish('chat:return', 'by sse');
    await page.untilReceived('chat:return', 'by sse');
    company.upgrades = 'pass';
    await page.until('it uses a WebSocket', () => window.client.transport === 'websocket' && window.client.state === 'open');
    await page.publish('chat:return', 'by websocket');
    await page.untilReceived('chat:return', 'by websocket');
    await page.assertReceived('chat:return', ['by sse', 'by websocket']);
    await page.assertGaps('chat:return', 0);
    await page.close();
  });

  await checks.check('when the proxy no longer holds streams back, the page returns to them and loses nothing', async () => {
    const { company, page } = await open({ upgrades: '403', streams: 'body' }, ['chat:stream'], { retryWebSocket: 500 });
    assert.equal(await page.page.evaluate(() => window.client.transport), 'poll');
    await page.publish('chat:stream', 'by poll');
    await page.untilReceived('chat:stream', 'by poll');
    company.streams = 'pass';
    await page.until('it reads a stream', () => window.client.transport === 'sse' && window.client.state === 'open');
    await page.publish('chat:stream', 'by sse');
    await page.untilReceived('chat:stream', 'by sse');
    await page.assertReceived('chat:stream', ['by poll', 'by sse']);
    await page.assertGaps('chat:stream', 0);
    await page.close();
  });

  for (const it of companies) it.close();
}
