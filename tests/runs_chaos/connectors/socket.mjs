// A WebSocket that a viewer reads: notices that nothing arrives, and can stop reading.

import WebSocket from 'ws';

/** Milliseconds without anything, also a ping, after which a connection is dead. Nodes ping each second. */
const SILENCE_MAX = 8000;

/** Codes after which a viewer connects again. */
const RETRIED = [1005, 1006, 1011, 1012, 1013, 4008, 4009];

/** `message(data, isBinary)`; `closed(code, reason)` returns whether that is the end, so that there is no other connection. */
export function openSocket(url, { protocol, note, over, opened, message, closed = () => false, upgraded }) {
  const socket = new WebSocket(url, protocol, { perMessageDeflate: false, handshakeTimeout: SILENCE_MAX });
  let timer = null;
  let paused = false;
  const alive = () => {
    clearTimeout(timer);
    timer = paused ? null : setTimeout(() => socket.terminate(), SILENCE_MAX);
  };
  alive();
  if (upgraded) socket.on('upgrade', upgraded);
  socket.on('open', () => opened?.(socket));
  socket.on('ping', alive);
  socket.on('message', (data, isBinary) => { alive(); message(data, isBinary, socket); });
  socket.on('unexpected-response', (request, response) => {
    if (![429, 503].includes(response.statusCode)) note({ kind: 'breach', text: `the upgrade was answered with ${response.statusCode}` });
    request.destroy();
  });
  socket.on('error', () => {});
  socket.on('close', (code, reason) => {
    clearTimeout(timer);
    if (closed(code, reason)) return;
    if (!RETRIED.includes(code)) note({ kind: 'breach', text: `closed with ${code} ${reason}` });
    over(`closed with ${code} ${reason}`);
  });
  return {
    socket,
    close: () => { clearTimeout(timer); socket.removeAllListeners('close'); socket.terminate(); },
    pause: () => { paused = true; alive(); if (socket.readyState === WebSocket.OPEN) socket.pause(); },
    resume: () => { paused = false; alive(); if (socket.readyState === WebSocket.OPEN) socket.resume(); },
  };
}
