// A TCP balancer in front of nodes.

import net from 'node:net';

/** Forwards connections to the first node that runs. */
export async function balance(nodes) {
  const sockets = new Set();
  const balancer = net.createServer((inside) => {
    const node = nodes.find((it) => it.isRunning);
    if (!node) {
      inside.destroy();
      return;
    }
    const outside = net.connect(node.port, '127.0.0.1');
    for (const [from, to] of [[inside, outside], [outside, inside]]) {
      sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => { to.destroy(); sockets.delete(from); });
      from.pipe(to);
    }
  });
  await new Promise((listening) => balancer.listen(0, '127.0.0.1', listening));
  return { port: balancer.address().port, close: () => { balancer.close(); for (const socket of sockets) socket.destroy(); } };
}
