// What the browser tests of the client run on: Redis, two nodes, and a web site whose pages use the client.

import { FaultProxy } from '../lib/fault_proxy.mjs';
import { Node, Redis, Scratch } from '../lib/processes.mjs';
import { Random } from '../lib/random.mjs';
import { Site } from '../lib/site.mjs';
import { AUTH_SETTINGS, sign } from '../lib/tokens.mjs';

/** `chat:` keeps history, `news:` does not. */
const RULES = '[{pattern="chat:**",subscribe="user",publish="user",history={size=1000,age="10m"},presence=true},'
  + '{pattern="news:**",subscribe="user",publish="user"}]';

export class Fleet {
  static async start() {
    const fleet = new Fleet();
    fleet.site = await Site.listen();
    fleet.site.answers['/token'] = (query) => {
      const user = query.get('user');
      return fleet.withoutToken.has(user) ? 'no token' : sign(user, { seconds: Number(query.get('seconds')) });
    };
    fleet.redis = await Redis.start(fleet.scratch, { durable: true });
    const settings = {
      ...AUTH_SETTINGS,
      rules: RULES,
      'server.origins': `["${fleet.site.origin}"]`,
      // Short, so that a frozen page or a black hole is noticed soon.
      'session.ping_interval': '1s',
      'session.pong_timeout': '1s',
      'presence.grace': '0s',
    };
    const start = (name) => Node.start(fleet.scratch, { name, redis: fleet.redis, settings });
    [fleet.a, fleet.b] = await Promise.all([start('a'), start('b')]);
    return fleet;
  }

  scratch = new Scratch();
  proxies = [];
  /** Users who get no token from the site now. */
  withoutToken = new Set();

  get nodes() { return [this.a, this.b]; }

  /** A network of its own to this port, with faults. */
  async link(port) {
    const proxy = await FaultProxy.listen(port, new Random(1));
    this.proxies.push(proxy);
    return proxy;
  }

  async end() {
    for (const it of this.proxies) it.close();
    this.site.close();
    await Promise.all([...this.nodes, this.redis].map((it) => it.kill()));
  }
}
