// What a run takes place on: Redis, two nodes, and a network for each participant; and the faults of all of them.

import { CompanyProxy } from '../lib/company_proxy.mjs';
import { FaultProxy } from '../lib/fault_proxy.mjs';
import { Node, Redis } from '../lib/processes.mjs';
import { Random } from '../lib/random.mjs';
import { Repairs } from '../lib/repairs.mjs';
import { AUTH_SETTINGS } from '../lib/tokens.mjs';
import { COMPANIES } from './clients.mjs';
import { RULES } from './plan.mjs';

const SETTINGS = {
  ...AUTH_SETTINGS,
  rules: RULES,
  // Short enough that a connection in a black hole is noticed during a run.
  'session.ping_interval': '1s',
  'session.pong_timeout': '1s',
  'broker.publish_timeout': '1s',
  'drain.delay': '0s',
  'drain.period': '300ms',
};

/** Changes what the company's proxies block; what is open breaks. */
function change(link, details) {
  for (const company of link.companies) {
    Object.assign(company, details);
    company.cut();
  }
}

export class Stage {
  static async start(scratch, plan) {
    const stage = new Stage();
    stage.redis = await Redis.start(scratch, { durable: plan.durable });
    stage.nodes = await Promise.all(['a', 'b'].map((name) => Node.start(scratch, { name, redis: stage.redis, settings: SETTINGS })));
    const random = new Random(plan.seed).fork();
    for (const { name, node } of plan.participants) {
      const link = { node, proxy: await FaultProxy.listen(stage.nodes[node].port, random.fork()), companies: [] };
      // Each node is behind a company's proxy, where the transport is meant for one.
      if (COMPANIES[plan.transport]) {
        link.companies = await Promise.all(stage.nodes.map(({ port }) => CompanyProxy.listen(port, COMPANIES[plan.transport])));
        link.proxy.target = link.companies[node].port;
      }
      stage.links.set(name, link);
    }
    return stage;
  }

  links = new Map();
  #repairs = new Repairs();

  url(participant) { return this.links.get(participant).proxy.url; }

  /** Injects a fault and removes it after its duration. */
  async inject({ what, participant, node: number, milliseconds, number: entry, at, ...details }) {
    const link = this.links.get(participant);
    const node = this.nodes[number];
    const during = (name, faults) => this.#repairs.during(name, milliseconds, () => link.proxy.set(faults), async () => link.proxy.heal());
    switch (what) {
      case 'cut': return link.proxy.cut(details);
      case 'otherNode': return this.#moveTo(link, 1 - link.node, details);
      case 'refused': return during(participant, { refused: true });
      case 'stalled': return during(participant, { stalled: details.direction });
      case 'blackHole': return during(participant, { blackHole: true });
      case 'latency':
      case 'throttled': return during(participant, details);
      case 'blocked': return this.#repairs.during(`${participant}'s companies`, milliseconds, () => change(link, details), async () => change(link, { upgrades: 'pass', streams: 'pass' }));
      case 'killNode': return this.#repairs.down(node, 'SIGKILL', milliseconds);
      case 'restartNode': return this.#repairs.down(node, 'SIGTERM', milliseconds);
      case 'pauseNode': return this.#repairs.during(node.name, milliseconds, () => node.pause(), async () => node.resume());
      case 'drainNode': return node.drain(100).catch(() => {});
      case 'killRedis': return this.#repairs.down(this.redis, 'SIGKILL', milliseconds);
      case 'pauseRedis': return this.#repairs.during('redis', milliseconds, () => this.redis.pause(), async () => this.redis.resume());
      default: throw new Error(`unknown fault ${what}`);
    }
  }

  #moveTo(link, node, { reset }) {
    link.node = node;
    link.proxy.target = link.companies.length ? link.companies[node].port : this.nodes[node].port;
    link.proxy.cut({ reset });
  }

  /** Removes all faults that there still are, and waits until everything works. */
  async repair() {
    await this.#repairs.all();
    for (const { proxy } of this.links.values()) proxy.heal();
    for (const node of this.nodes) await node.untilReady();
  }

  async end() {
    for (const { proxy, companies } of this.links.values()) [proxy, ...companies].forEach((it) => it.close());
    await Promise.all([...this.nodes, this.redis].map((it) => it.kill()));
  }
}
