// The inspector: one connection by a chosen transport and protocol, and each frame on it. Uses no client library.

import { $, bytesText, clock, make, printable, showShell, showState, socketUrl, token } from '/demo/page.js';

const ROWS_MAX = 500;
const CHARS_SHOWN = 2000;
const PINGS_MAX = 100;        // sent and not yet answered
const POLL_WAIT = '25s';

const CODES = [
  [1000, 'Closed by this page.'],
  [1002, 'Protocol violation. Do not retry unchanged.'],
  [1003, 'Not a JSON object, or a binary frame in the json protocol. Do not retry unchanged.'],
  [1006, 'No close frame: the connection was lost, the node is away, or it refused the upgrade (origin, limits). Reconnect with backoff.'],
  [1007, 'Invalid UTF-8. Do not retry unchanged.'],
  [1008, 'Policy: too many bad commands. Do not retry.'],
  [1009, 'The message is too large. Do not retry unchanged.'],
  [1011, 'A fault in the node. Reconnect with backoff.'],
  [1012, 'The node drains. Reconnect after after_ms, or a random 1 to 30 s.'],
  [1013, 'Over capacity, or a frame could not be handed to the broker. Reconnect with backoff.'],
  [4001, 'Token missing, invalid, expired or revoked. Get a new token.'],
  [4003, 'The channel is forbidden. Do not retry.'],
  [4008, 'Slow consumer: this client read too slowly. Reconnect and resume.'],
  [4009, 'No pong in time. Reconnect and resume.'],
  [4029, 'Rate limit. Reconnect with backoff.'],
];

const log = $('log');
const field = (id) => $(id).value.trim();
let connection = null;        // { send(text), close() } while connected
let counts = { in: 0, inBytes: 0, out: 0, outBytes: 0 };
let pings = new Map();        // what was sent, to when
let position = '', nextId = 1, isPaused = false, stuck = true;

// --- Addresses

const encoded = () => encodeURIComponent(field('channel')).replace(/%(?:3A|2F|40|2C)/g, decodeURIComponent);

function address() {
  const query = new URLSearchParams();
  const transport = $('transport').value, since = field('since');
  if (since && transport !== 'json') query.set(transport === 'sse' ? 'last_event_id' : 'since', since);
  if (transport === 'poll') query.set('wait', POLL_WAIT);
  if (field('token')) query.set('token', field('token'));
  const search = query.size ? `?${query}` : '';
  switch (transport) {
    case 'json': return socketUrl(`/ws${search}`);
    case 'plain': return socketUrl(`/ws/${encoded()}${search}`);
    default: return `${location.origin}/${transport}/${encoded()}${search}`;
  }
}

// --- Transports. Each returns { send, close } and calls opened, arrived and ended.

function webSocket() {
  const socket = new WebSocket(address());
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => opened();
  socket.onmessage = ({ data }) => arrived(typeof data === 'string' ? data : bytesText(new Uint8Array(data)), typeof data === 'string' ? undefined : data.byteLength);
  socket.onclose = ({ code, reason }) => ended(code, reason);
  return { send: (text) => { socket.send(text); return true; }, close: () => socket.close(1000) };
}

function eventSource() {
  const url = address(), source = new EventSource(url);
  source.onopen = () => opened();
  source.onerror = async () => {
    if (source.readyState === EventSource.CONNECTING) { note('The stream ended; the browser reconnects and sends Last-Event-ID.'); return showState('waiting'); }
    ended(0, await refusal(url));
  };
  for (const name of ['message', 'binary', 'gap', 'ended', 'reconnect']) {
    source.addEventListener(name, ({ data, lastEventId }) => {
      if (lastEventId) showPosition(lastEventId);
      arrived(`${name === 'message' ? '' : `event: ${name}\n`}${lastEventId ? `id: ${lastEventId}\n` : ''}data: ${data}`, undefined, data);
    });
  }
  return { send: post, close: () => { source.close(); ended(0, 'closed by this page'); } };
}

function longPoll() {
  const abort = new AbortController();
  const loop = async () => {
    opened();
    while (!abort.signal.aborted) {
      const answer = await fetch(address(), { signal: abort.signal, cache: 'no-store' });
      const text = await answer.text();
      arrived(`${answer.status}\n${text}`, undefined, text);
      if (!answer.ok) return ended(0, errorText(answer.status, text));
      const { position: next } = JSON.parse(text);
      if (next) { showPosition(next); $('since').value = next; showAddress(); }
    }
  };
  loop().catch((error) => ended(0, abort.signal.aborted ? 'closed by this page' : error.message));
  return { send: post, close: () => abort.abort() };
}

/** Publishes over HTTP, for the transports that only receive. */
async function post(text) {
  const sentAt = performance.now();
  const headers = field('token') ? { authorization: `Bearer ${field('token')}` } : {};
  const answer = await fetch(`/publish/${encoded()}`, { method: 'POST', body: text, headers });
  const body = await answer.text();
  row('note', `POST /publish/${encoded()}: ${answer.status} after ${(performance.now() - sentAt).toFixed(1)} ms\n${body}`);
  return answer.ok;
}

/** Why the node refuses a stream: a browser does not tell, so ask again. */
async function refusal(url) {
  const abort = new AbortController();
  try {
    const answer = await fetch(url, { signal: abort.signal });
    return answer.ok ? 'the stream ended' : errorText(answer.status, await answer.text());
  } catch { return 'the node cannot be reached'; } finally { abort.abort(); }
}

function errorText(status, text) {
  try { const { error } = JSON.parse(text); return `${status} ${error.code}: ${error.message}`; } catch { return `status ${status}`; }
}

// --- The connection's life

function connect() {
  counts = { in: 0, inBytes: 0, out: 0, outBytes: 0 };
  pings = new Map();
  nextId = 1;
  showCounts();
  $('latency').textContent = $('position').textContent = '–';
  markCode();
  $('why').textContent = '';
  showState('connecting');
  row('note', `connecting to ${hidden(address())}`);
  try {
    connection = { json: webSocket, plain: webSocket, sse: eventSource, poll: longPoll }[$('transport').value]();
  } catch (error) { return ended(0, error.message); }
  showToggle();
}

function opened() {
  showState('open');
  note('open');
  if ($('transport').value === 'json') fill('subscribe');
}

function ended(code, reason) {
  if (!connection) return;
  connection = null;
  showState('closed');
  showToggle();
  const meaning = CODES.find(([known]) => known === code)?.[1] ?? '';
  row('note', code ? `closed with ${code}${reason ? `: ${reason}` : ''}\n${meaning}` : `ended: ${reason}`);
  $('why').textContent = code ? `Closed with ${code}.` : reason;
  markCode(code);
}

function arrived(shown, length, payload = shown) {
  counts.in += 1;
  counts.inBytes += length ?? new TextEncoder().encode(payload).length;
  readMessage(payload);
  row('in', shown);
  showCounts();
}

/** The position in a json message, and the answer to a command of this page. */
function readMessage(payload) {
  let message = null;
  try { message = JSON.parse(payload); } catch { /* a plain payload */ }
  const isJson = $('transport').value === 'json';
  if (isJson && message?.position) showPosition(message.position);
  const key = isJson ? message?.id : payload;
  if (key === undefined || !pings.has(key)) return;
  $('latency').textContent = `${(performance.now() - pings.get(key)).toFixed(1)} ms`;
  pings.delete(key);
}

async function send(text) {
  let key = text;
  if ($('transport').value === 'json') { try { key = JSON.parse(text).id; } catch { /* the node will say so */ } }
  pings.set(key, performance.now());
  if (pings.size > PINGS_MAX) pings.delete(pings.keys().next().value);
  row('out', text);
  counts.out += 1;
  counts.outBytes += new TextEncoder().encode(text).length;
  showCounts();
  try { await connection.send(text); } catch (error) { note(`not sent: ${error.message}`); }
}

// --- Commands of the json protocol, to fill in

const COMMANDS = {
  subscribe: () => ({ type: 'subscribe', id: nextId, channel: field('channel'), ...(field('since') && { since: field('since') }) }),
  publish: () => ({ type: 'publish', id: nextId, channel: field('channel'), data: { hello: 'world' } }),
  presence: () => ({ type: 'presence', id: nextId, channel: field('channel') }),
  history: () => ({ type: 'history', id: nextId, channel: field('channel'), limit: 10 }),
  unsubscribe: () => ({ type: 'unsubscribe', id: nextId, channel: field('channel') }),
  ping: () => ({ type: 'ping', id: nextId }),
};

function fill(name) { $('text').value = JSON.stringify(COMMANDS[name]()); }

for (const name of Object.keys(COMMANDS)) {
  const button = make('button', 'small', name);
  button.type = 'button';
  button.onclick = () => { fill(name); $('text').focus(); };
  $('commands').append(button);
}

// --- The page

function note(text) { row('note', text); }

const MARKS = { in: ['↓', 'received'], out: ['↑', 'sent'], note: ['·', 'note'] };

function row(kind, text) {
  if (isPaused) return;
  const node = make('div', `frame ${kind}`), body = make('div', 'body raw', printable(text.slice(0, CHARS_SHOWN)) + (text.length > CHARS_SHOWN ? ` … (${text.length} characters)` : ''));
  const mark = make('span', 'mark', MARKS[kind][0]), at = new Date();
  mark.role = 'img';
  mark.ariaLabel = MARKS[kind][1];
  const time = make('time', '', `${clock(at)}.${String(at.getMilliseconds()).padStart(3, '0')}`);
  node.append(mark, body, time);
  log.append(node);
  while (log.childElementCount > ROWS_MAX) log.firstElementChild.remove();
  if (stuck) log.scrollTop = log.scrollHeight;
}
log.onscroll = () => { stuck = log.scrollHeight - log.scrollTop - log.clientHeight < 40; };

function hidden(url) { return url.replace(/([?&]token=)[^&]*/, '$1…'); }

function showCounts() {
  const text = (count, bytes) => `${count.toLocaleString('en')} (${bytes.toLocaleString('en')} bytes)`;
  $('in').textContent = text(counts.in, counts.inBytes);
  $('out').textContent = text(counts.out, counts.outBytes);
}
function showPosition(value) { position = value; $('position').textContent = position; }
function showAddress() { $('address').textContent = hidden(address()); }
function showToggle() {
  const isOn = connection !== null;
  $('toggle').textContent = isOn ? 'Disconnect' : 'Connect';
  $('send').setAttribute('aria-disabled', !isOn);
  for (const id of ['transport', 'channel', 'token']) $(id).disabled = isOn;
}
/** Scrolls the box, where it scrolls. `scrollIntoView` would move the page too, away from the frames. */
function showIn(box, line) {
  const [outer, inner] = [box, line].map((it) => it.getBoundingClientRect());
  box.scrollTop += Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom);
}
function markCode(code) {
  for (const line of $('codes').tBodies[0].rows) {
    const isIt = line.cells[0].textContent === String(code);
    line.classList.toggle('now', isIt);
    if (isIt) showIn(line.closest('aside'), line);
  }
}
for (const [code, meaning] of CODES) {
  const line = $('codes').tBodies[0].insertRow(), head = make('th', '', code);
  head.scope = 'row';
  line.append(head, make('td', '', meaning));
}

function follow() {
  const transport = $('transport').value;
  $('commands').hidden = transport !== 'json';
  $('text-label').textContent = { json: 'Frame to send', plain: 'Frame to send' }[transport] ?? 'Payload to publish';
  $('hint').textContent = {
    json: 'Ctrl+Enter sends. A command with an id is answered with the same id.',
    plain: 'Ctrl+Enter sends. A frame is published as it is, and comes back as an echo.',
  }[transport] ?? `Ctrl+Enter publishes by POST /publish/${field('channel')}.`;
  showAddress();
}

function followHash() {
  let name = location.hash.slice(1);
  try { name = decodeURIComponent(name); } catch { /* typed by hand: take it as it is */ }
  $('channel').value = name || 'demo:inspector';
  named();
}
function named() {
  follow();
  showShell($('shell'), field('channel'), 'hello');
}

$('connection').onsubmit = (event) => { event.preventDefault(); if (connection) connection.close(); else connect(); };
$('connection').oninput = follow;
$('transport').onchange = () => { $('text').value = ''; follow(); };
$('channel').onchange = () => { history.replaceState(null, '', `#${encoded()}`); named(); };
$('composer').onsubmit = (event) => {
  event.preventDefault();
  if (!connection) return $('toggle').focus();
  send($('text').value);
  nextId += 1;
  if ($('transport').value === 'json') $('text').value = $('text').value.replace(/"id":\d+/, `"id":${nextId}`);
};
$('text').onkeydown = (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  $('composer').requestSubmit();
};
$('pause').onclick = () => {
  isPaused = !isPaused;
  $('pause').setAttribute('aria-pressed', isPaused);
};
$('clear').onclick = () => log.replaceChildren();
addEventListener('hashchange', () => connection || followHash());
if (token) $('token').value = token;
showState('idle');
showToggle();
followHash();
