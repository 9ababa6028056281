// What a seed takes place on: Redis, two nodes, and a network for each participant; and the faults of all of them.

import { createClient } from 'redis';
import { FaultProxy } from '../browser/lib/fault_proxy.mjs';
import { freePort, Node, Redis } from '../browser/lib/processes.mjs';
import { Random } from '../browser/lib/random.mjs';
import { Repairs } from '../browser/lib/repairs.mjs';
import { RULES } from './plan.mjs';

/** Milliseconds for a command of a fault: Redis may be paused. */
const COMMAND_TIME_MAX = 1000;

export class Stage {
  static async start(scratch, { seed, calm, durable, publishers, readers }) {
    const stage = new Stage();
    const random = new Random(seed).fork();
    stage.durable = durable;
    stage.redis = await Redis.start(scratch, { durable });
    stage.nodes = await Promise.all(['a', 'b'].map(async (name) => {
      const mqttPort = await freePort();
      const node = await Node.start(scratch, {
        name, redis: stage.redis, settings: {
          rules: RULES,
          'mqtt.listen': `127.0.0.1:${mqttPort}`,
          'session.ping_interval': '1s',
          'session.pong_timeout': calm ? '20s' : '2s',
          'broker.publish_timeout': '1s',
          'drain.delay': '0s',
          'drain.period': '300ms',
        },
      });
      return Object.assign(node, { mqttPort });
    }));
    for (const { name, kind, node } of [...publishers, ...readers]) {
      const isTcp = kind.endsWith('tcp') || kind === 'repeating';
      const port = (at) => (isTcp ? stage.nodes[at].mqttPort : stage.nodes[at].port);
      stage.links.set(name, { node, port, proxy: await FaultProxy.listen(port(node), random.fork()) });
    }
    return stage;
  }

  links = new Map();
  /** When Redis was killed and lost its data, and when it was back then, for the last time. */
  lostAt = null;
  backAt = null;
  #repairs = new Repairs();

  /** The port at which the participant reaches its node. */
  port(name) { return this.links.get(name).proxy.port; }

  /** Injects a fault and removes it after its duration. `now()` is the clock of the seed. */
  async inject({ what, node: at, of = [], milliseconds, writes, stalled, reset }, now) {
    const node = this.nodes[at];
    const links = of.map((name) => ({ name, ...this.links.get(name) }));
    const during = (faults) => Promise.all(links.map(({ name, proxy }) => this.#repairs.during(name, milliseconds, () => proxy.set(faults), async () => proxy.heal())));
    switch (what) {
      case 'killNode': return this.#repairs.down(node, 'SIGKILL', milliseconds);
      case 'restartNode': return this.#repairs.down(node, 'SIGTERM', milliseconds);
      case 'pauseNode': return this.#repairs.during(node.name, milliseconds, () => node.pause(), async () => node.resume());
      case 'killRedis': return this.#killRedis(milliseconds, now);
      case 'pauseRedis': return this.#repairs.during('redis', milliseconds, () => this.redis.pause(), async () => this.redis.resume());
      case 'killSubscribers': return this.#command(['CLIENT', 'KILL', 'TYPE', 'pubsub']);
      case 'pauseCommands': return this.#command(['CLIENT', 'PAUSE', String(milliseconds), writes ? 'WRITE' : 'ALL']);
      case 'cut': for (const { proxy } of links) proxy.cut({ reset }); return undefined;
      case 'move': return this.#move(of, reset);
      case 'stall': return during({ stalled });
      case 'blackHole': return during({ blackHole: true });
      default: throw new Error(`unknown fault ${what}`);
    }
  }

  async #killRedis(milliseconds, now) {
    let isMine = false;
    await this.#repairs.down(this.redis, 'SIGKILL', milliseconds, () => { isMine = !this.durable; if (isMine) this.lostAt ??= now(); });
    if (isMine) this.backAt = now();
  }

  async #command(command) {
    const client = createClient({ socket: { host: '127.0.0.1', port: this.redis.port, reconnectStrategy: false, connectTimeout: COMMAND_TIME_MAX }, commandOptions: { timeout: COMMAND_TIME_MAX } });
    client.on('error', () => {});
    try { await client.connect(); await client.sendCommand(command); } catch { /* Redis is away. */ }
    try { client.destroy(); } catch { /* It was closed already. */ }
  }

  /** To the other node. */
  #move(names, reset) {
    for (const name of names) {
      const link = this.links.get(name);
      link.node = 1 - link.node;
      link.proxy.target = link.port(link.node);
      link.proxy.cut({ reset });
    }
  }

  /** Removes all faults that there still are. Nodes may not be ready yet: what is waited for is what clients get. */
  async repair() {
    await this.#repairs.all();
    for (const { proxy } of this.links.values()) proxy.heal();
  }

  async end() {
    for (const { proxy } of this.links.values()) proxy.close();
    await Promise.all([...this.nodes, this.redis].map((it) => it.kill()));
  }
}
