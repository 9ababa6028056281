// The client under test, by transport.

import WebSocket from 'ws';

/** Another build of the client: the path of its `dist`. */
const DIST = process.env.CLIENT || new URL('../../../web/client/dist/', import.meta.url).pathname;

/**
 * `sse` has no WebSockets. `poll` has none either, and a company's proxy that holds event streams back. With `changing`, a company's proxy
 * begins and ceases to block WebSockets and event streams.
 */
export const TRANSPORTS = ['websocket', 'sse', 'poll', 'changing'];

/** What the company's proxies of a transport do at first. undefined: there is none. */
export const COMPANIES = { poll: { streams: 'body' }, changing: {} };

/** A function of a node's URL and the client's options that returns a client. */
export async function connector(transport) {
  const entry = await import(`${DIST}/${transport === 'websocket' ? 'index' : 'fallback'}.js`);
  if (transport === 'sse' || transport === 'poll') delete globalThis.WebSocket;
  const base = transport === 'websocket' || transport === 'changing' ? { WebSocket: globalThis.WebSocket ?? WebSocket, retryWebSocket: 1000 } : {};
  return (url, options) => entry.connect(`${url}/ws`, { ...base, ...options });
}
