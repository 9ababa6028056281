// The client under test, by transport.

import WebSocket from 'ws';

/** Another build of the client: the path of its `dist`. */
const DIST = process.env.CLIENT || new URL('../../../web/client/dist/', import.meta.url).pathname;

/** `blocked` and `buffered`: the fallback behind a proxy that blocks upgrades, or also holds event streams back. */
export const TRANSPORTS = ['websocket'];

/** A function of a node's URL and the client's options that returns a client. */
export async function connector(transport) {
  const { connect } = await import(`${DIST}/index.js`);
  const base = globalThis.WebSocket ? {} : { WebSocket };
  switch (transport) {
    case 'websocket': return (url, options) => connect(`${url}/ws`, { ...base, ...options });
    default: throw new Error(`unknown transport ${transport}`);
  }
}
