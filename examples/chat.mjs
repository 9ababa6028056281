// A chat in the terminal, over the plain protocol: each line that you type is a publication, and each publication is a line.
//
//   node chat.mjs [ROOM] [NAME]          TIDEGATE=ws://127.0.0.1:8080

import readline from 'node:readline';
import WebSocket from 'ws'; // Node 22 and browsers have their own

const node = process.env.TIDEGATE ?? 'ws://127.0.0.1:8080';
const [room = 'lobby', name = 'guest'] = process.argv.slice(2);

const socket = new WebSocket(`${node}/ws/chat:${encodeURIComponent(room)}`);

socket.onopen = () => {
  console.log(`connected to chat:${room}`);
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => socket.send(`${name}: ${line}`));
  lines.on('close', () => socket.close());
};
socket.onmessage = (event) => console.log(event.data);
socket.onclose = (event) => {
  console.log(`closed: ${event.code} ${event.reason}`);
  process.exit(event.code === 1005 ? 0 : 1);
};
socket.onerror = (event) => console.error(event.message);
