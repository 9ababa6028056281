// A viewer that stops a run, on any node and by any protocol: it asks again until the worker has noticed, because a message on a control channel
// is lost where Redis is.

import WebSocket from 'ws';
import { sleep } from '../browser/lib/wait.mjs';

/** Milliseconds for one message, and between two. */
const TIME_MAX = 3000;
const PAUSE = 300;

/** Opens a WebSocket and closes it after `done`, which is called with each message. */
function exchange(url, protocol, opened, isDone) {
  return new Promise((settled) => {
    const socket = new WebSocket(url, protocol, { handshakeTimeout: TIME_MAX });
    const timer = setTimeout(() => socket.terminate(), TIME_MAX);
    socket.on('open', () => opened(socket));
    socket.on('message', (data) => { if (isDone(String(data), socket)) socket.close(); });
    socket.on('error', () => {});
    socket.on('close', () => { clearTimeout(timer); settled(); });
  });
}

const WAYS = {
  http: ({ url }, channel) => fetch(`${url}/publish/${channel}`, { method: 'POST', body: 'stop', signal: AbortSignal.timeout(TIME_MAX) }).then((it) => it.text()),
  json: ({ url }, channel) => exchange(`${url.replace('http', 'ws')}/ws`, 'tidegate.v1.json', (socket) => {
    socket.send(JSON.stringify({ type: 'publish', id: 1, channel, text: 'stop' }));
  }, (text) => JSON.parse(text).id === 1),
  plain: ({ url }, channel) => exchange(`${url.replace('http', 'ws')}/ws/${channel}`, undefined, (socket) => {
    socket.send('stop');
    socket.close();
  }, () => false),
  ai: ({ url }, channel) => exchange(`${url.replace('http', 'ws')}/ws`, 'tidegate.v1.ai', (socket) => {
    socket.send(JSON.stringify({ type: 'resume', requestId: 'r', id: channel, body: { ended: true } }));
  }, (text, socket) => {
    const { type } = JSON.parse(text);
    if (type === 'start') socket.send(JSON.stringify({ type: 'abort', requestId: 'r' }));
    return type === 'end' || type === 'error' || type === 'no-active';
  }),
};

/** Sends `stop` until `isOver()`. */
export async function stop(way, channel, nodes, random, isOver) {
  while (!isOver()) {
    try { await WAYS[way](random.pick(nodes), channel); } catch { /* The node or Redis is away. */ }
    await sleep(PAUSE);
  }
}
