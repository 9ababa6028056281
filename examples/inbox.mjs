// Reads the user's inbox: asks token_backend.py for a token, sends it with the connection, and renews it before it expires.
//
//   node inbox.mjs USER                  TIDEGATE=ws://127.0.0.1:8080 BACKEND=http://127.0.0.1:8000

import WebSocket from 'ws'; // Node 22 and browsers have their own

const node = process.env.TIDEGATE ?? 'ws://127.0.0.1:8080';
const backend = process.env.BACKEND ?? 'http://127.0.0.1:8000';
const user = process.argv[2] ?? 'ada';

async function fetchToken() {
  const answer = await fetch(`${backend}/token`, { method: 'POST', headers: { 'X-Example-User': user } });
  if (!answer.ok) throw new Error(`the backend answered ${answer.status}`);
  return answer.json();
}

const first = await fetchToken();
const socket = new WebSocket(`${node}/ws`, ['tidegate.v1.json', `bearer.${first.token}`]);

/** A minute before the token expires, the connection gets a new one. */
function renewAfter(seconds) {
  setTimeout(async () => {
    const next = await fetchToken();
    socket.send(JSON.stringify({ type: 'auth', id: 1, token: next.token }));
    renewAfter(next.expires_in);
  }, (seconds - 60) * 1000);
}
renewAfter(first.expires_in);

socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === 'subscribed') console.log(`reading ${message.channel}`);
  if (message.type === 'publication') console.log(message.data ?? message.text);
};
socket.onclose = ({ code, reason }) => {
  console.log(`closed: ${code} ${reason}`);
  process.exit(1);
};
socket.onerror = ({ message }) => console.error(message);
