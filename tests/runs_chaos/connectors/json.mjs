// The json protocol over a WebSocket.

import { openSocket } from './socket.mjs';

/** The bytes of a publication of the json protocol. `data` is written as it was published only where that is not JSON with spaces. */
export function bytesOf({ data, text, base64 }) {
  if (base64 !== undefined) return { bytes: Buffer.from(base64, 'base64'), isBinary: true };
  return { bytes: Buffer.from(text ?? JSON.stringify(data)), isBinary: false };
}

/** Codes of errors after which a subscription is tried again. */
const TEMPORARY = ['unavailable', 'rate_limited', 'limit_reached'];

export const json = {
  resumes: true,
  connect({ url, starts, note, over }) {
    const message = (data, isBinary, socket) => {
      const it = JSON.parse(data);
      const { type, channel, position, reason, recovered, code } = it;
      if (type === 'welcome') {
        const [[only, since]] = starts;
        const subscribe = starts.size === 1 ? { channel: only, since } : { channels: Object.fromEntries(starts) };
        socket.send(JSON.stringify({ type: 'subscribe', id: 1, ...subscribe }));
      } else if (type === 'subscribed') {
        // Its position is where the backlog will end: the viewer is there only if nothing of the past follows.
        note({ kind: 'begun', channel, to: position, recovered });
        if (recovered === false && starts.get(channel) !== 'first') note({ kind: 'moved', channel, position });
      } else if (type === 'publication') note({ kind: 'text', channel, position, ...bytesOf(it) });
      else if (type === 'gap') note({ kind: 'gap', channel, reason });
      else if (type === 'ended') note({ kind: 'ended', channel, reason, position });
      else if (type === 'error') {
        if (!TEMPORARY.includes(code)) note({ kind: 'breach', channel, text: `error ${code}: ${it.message}` });
        over(`error ${code}`);
      } else if (!['reconnect', 'pong'].includes(type)) note({ kind: 'breach', text: `a message ${type}` });
    };
    return openSocket(`${url.replace('http', 'ws')}/ws`, { protocol: 'tidegate.v1.json', note, over, message });
  },
};
