// What a seed takes place on: Redis, three nodes, and proxies between nodes and Redis and before nodes; and the faults of all of them.

import { CompanyProxy } from '../browser/lib/company_proxy.mjs';
import { FaultProxy } from '../browser/lib/fault_proxy.mjs';
import { Node, Redis } from '../browser/lib/processes.mjs';
import { Random } from '../browser/lib/random.mjs';
import { Repairs } from '../browser/lib/repairs.mjs';
import { rules } from './plan.mjs';

const NAMES = ['a', 'b', 'c'];

export class Stage {
  static async start(scratch, { seed, lease, durable, queueBytesMax, entries }) {
    const stage = new Stage();
    const random = new Random(seed).fork();
    stage.durable = durable;
    stage.redis = await Redis.start(scratch, { durable });
    const settings = {
      rules: rules(lease),
      'session.ping_interval': '1s',
      'session.pong_timeout': '10s',
      'session.queue_bytes_max': queueBytesMax,
      'broker.publish_timeout': '2s',
      'drain.delay': '0s',
      'drain.period': '300ms',
    };
    // Only where the plan has such a fault: this process is busy with the viewers.
    const needs = (at, ...faults) => entries.some(({ what, node }) => node === at && faults.includes(what));
    const proxies = (faults, ports) => Promise.all(NAMES.map((_, at) => (needs(at, ...faults) ? FaultProxy.listen(ports[at], random.fork()) : null)));
    stage.redisProxies = await proxies(['cutRedis', 'stallRedis'], NAMES.map(() => stage.redis.port));
    stage.nodes = await Promise.all(NAMES.map((name, at) => Node.start(scratch, {
      name, redis: { url: `redis://127.0.0.1:${stage.redisProxies[at]?.port ?? stage.redis.port}` }, settings,
    })));
    stage.viewerProxies = await proxies(['cutViewers', 'stallViewers'], stage.nodes.map(({ port }) => port));
    stage.companies = await Promise.all(stage.nodes.map(({ port }) => CompanyProxy.listen(port, { streams: 'body', upgrades: '403' })));
    return stage;
  }

  /** When Redis was killed and lost its data. */
  lostAt = null;
  #repairs = new Repairs();

  /** Where a viewer reaches a node. */
  address(node, { proxied, kind }) {
    const at = this.nodes.indexOf(node);
    if (kind === 'clientPoll') return this.companies[at].url;
    return (proxied && this.viewerProxies[at]?.url) || node.url;
  }

  /** Injects a fault and removes it after its duration. `now()` is the clock of the seed. */
  async inject({ what, node: at, milliseconds, stalled, reset }, now) {
    const node = this.nodes[at];
    const stall = (name, proxy) => this.#repairs.during(`${name} ${at}`, milliseconds, () => proxy.set({ stalled }), async () => proxy.heal());
    switch (what) {
      case 'killNode': return this.#repairs.down(node, 'SIGKILL', milliseconds);
      case 'restartNode': return this.#repairs.down(node, 'SIGTERM', milliseconds);
      case 'pauseNode': return this.#repairs.during(node.name, milliseconds, () => node.pause(), async () => node.resume());
      case 'killRedis': return this.#repairs.down(this.redis, 'SIGKILL', milliseconds, () => { if (!this.durable) this.lostAt ??= now(); });
      case 'pauseRedis': return this.#repairs.during('redis', milliseconds, () => this.redis.pause(), async () => this.redis.resume());
      case 'cutViewers': this.companies[at].cut(); return this.viewerProxies[at].cut({ reset });
      case 'stallViewers': return stall('viewers', this.viewerProxies[at]);
      case 'cutRedis': return this.redisProxies[at].cut({ reset });
      case 'stallRedis': return stall('redis of', this.redisProxies[at]);
      default: throw new Error(`unknown fault ${what}`);
    }
  }

  /** Removes all faults that there still are. Nodes may not be ready yet: what is waited for is what viewers get. */
  async repair() {
    await this.#repairs.all();
    for (const proxy of [...this.redisProxies, ...this.viewerProxies]) proxy?.heal();
  }

  async end() {
    for (const proxy of [...this.redisProxies, ...this.viewerProxies, ...this.companies]) proxy?.close();
    await Promise.all([...this.nodes, this.redis].map((it) => it.kill()));
  }
}
