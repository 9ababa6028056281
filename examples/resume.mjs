// Follows a channel with history over the json protocol, and misses nothing: after each disconnect it connects again, to any
// node, and resumes from its last position.
//
//   node resume.mjs [CHANNEL]            TIDEGATE=ws://127.0.0.1:8080,ws://127.0.0.1:8081

import WebSocket from 'ws'; // Node 22 and browsers have their own

const nodes = (process.env.TIDEGATE ?? 'ws://127.0.0.1:8080').split(',');
const channel = process.argv[2] ?? 'news';

/** A retry does not help: the client is wrong, or may not use the channel. */
const FINAL = [1002, 1003, 1007, 1008, 1009, 4003];

let position; // of the last publication
let failures = 0;

/** A random part of 1 s, 2 s, 4 s … 30 s, so that many clients do not come back together. */
const backoff = () => Math.random() * Math.min(30_000, 1000 * 2 ** failures++);

function connect() {
  const socket = new WebSocket(`${nodes[Math.floor(Math.random() * nodes.length)]}/ws`, ['tidegate.v1.json']);
  let after; // milliseconds, if the node asks to reconnect

  socket.onopen = () => socket.send(JSON.stringify({ type: 'subscribe', id: 1, channel, since: position }));

  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    switch (message.type) {
      case 'subscribed':
        failures = 0;
        if (message.recovered === false) reload();
        // With recovered: true, the publications after the old position follow.
        if (!message.recovered) position = message.position;
        console.log(`subscribed at ${position}`);
        break;
      case 'publication':
        position = message.position ?? position;
        console.log(message.data ?? message.text ?? message.base64);
        break;
      case 'gap':
        reload();
        break;
      case 'reconnect':
        after = message.after_ms;
        break;
      case 'error':
        console.error(`${message.code}: ${message.message}`);
        if (!message.temporary) process.exit(1);
        socket.close();
    }
  };

  socket.onerror = () => {}; // `close` follows
  socket.onclose = ({ code, reason }) => {
    console.log(`closed: ${code} ${reason}`);
    if (FINAL.includes(code)) process.exit(1);
    setTimeout(connect, after ?? backoff());
  };
}

/** Publications may be missing: an application would read its state again from its own backend. */
function reload() {
  console.log('reloading');
}

connect();
