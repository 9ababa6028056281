// The client library: over a WebSocket, and where there is none over Server-Sent Events and polls. It connects again by itself.

import WebSocket from 'ws';
import { connector } from '../../browser/chaos/clients.mjs';

// `connector` of a transport without WebSockets takes them from this process, where there are some.
const core = await connector('websocket');
const fallback = await connector('sse');

function bytesOf({ data, text, bytes }) {
  if (bytes) return { bytes: Buffer.from(bytes), isBinary: true };
  return { bytes: Buffer.from(text ?? JSON.stringify(data)), isBinary: false };
}

function follow(connect, { url, starts, note }, options) {
  const [[channel, since]] = starts;
  const client = connect(url, options);
  client.on('state', (state, { code, reason, delay } = {}) => note({ kind: 'state', state, code, reason, delay: delay && Math.round(delay) }));
  const subscription = client.subscribe(channel, { since });
  subscription.on('subscribed', ({ position, recovered }) => note({ kind: 'begun', channel, to: position, recovered, isAgain: true }));
  subscription.on('publication', (it) => note({ kind: 'text', channel, position: it.position, ...bytesOf(it) }));
  subscription.on('gap', ({ reason }) => note({ kind: 'gap', channel, reason }));
  subscription.on('ended', ({ reason }) => note({ kind: 'ended', channel, reason }));
  subscription.on('error', (error) => note({ kind: 'breach', channel, text: `the subscription ended: ${error.code} ${error.message}` }));
  return client;
}

export const client = {
  resumes: true,
  connect(options) {
    let socket = null;
    class Tracked extends WebSocket {
      constructor(...values) { super(...values); socket = this; }
    }
    const it = follow(core, options, { WebSocket: Tracked });
    const isOpen = () => socket?.readyState === WebSocket.OPEN;
    return { close: () => it.close(), pause: () => isOpen() && socket.pause(), resume: () => isOpen() && socket.resume() };
  },
};

const overHttp = {
  resumes: true,
  connect(options) {
    const it = follow(fallback, options, {});
    return { close: () => it.close() };
  },
};

export const clientSse = overHttp;
/** Its address is that of a company's proxy, which holds streams back. */
export const clientPoll = overHttp;
