// What all demo pages share: the connection and its state, the window's name, and how to publish from a shell.

import { connect } from '/demo/tidegate.js';

const WORDS = { connecting: 'Connecting', open: 'Open', waiting: 'Reconnecting', closed: 'Closed', idle: 'Not connected' };

export const $ = (id) => document.getElementById(id);

/** An element with a class and a text. */
export function make(tag, className = '', text = '') {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== '') node.textContent = text;
  return node;
}

/** Reads a value of localStorage or sessionStorage; with `value`, writes it. Null where the browser refuses both. */
export function stored(area, key, value) {
  try { return value === undefined ? window[area].getItem(key) : window[area].setItem(key, value); } catch { return null; }
}

/** A random id, also on plain http, where `crypto.randomUUID` is missing. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, '0')).join('');
}

// --- The window's name and colour

// Names are assigned in turn, so that windows of one browser have different ones.
const ADJECTIVES = ['Calm', 'Brisk', 'Bright', 'Quiet', 'Merry', 'Swift', 'Gentle', 'Keen'];
const ANIMALS = ['Heron', 'Otter', 'Puffin', 'Seal', 'Curlew', 'Tern', 'Plover', 'Crab'];

function newName() {
  const names = ADJECTIVES.length * ANIMALS.length, last = Number.parseInt(stored('localStorage', 'tidegate.turn'), 10);
  const turn = ((Number.isNaN(last) ? Math.floor(Math.random() * names) : last) + 27) % names;   // 27 and 64 share no factor, so each name is used once before one repeats
  stored('localStorage', 'tidegate.turn', turn);
  return `${ADJECTIVES[turn % ADJECTIVES.length]} ${ANIMALS[Math.floor(turn / ADJECTIVES.length)]}`;
}

/** This window: its id, which changes with each load, and its name, which a reload keeps. */
export const me = { id: newId(), name: stored('sessionStorage', 'tidegate.name') || newName() };
stored('sessionStorage', 'tidegate.name', me.name);

/** Lets the field change the name; `changed` is called after each change. */
export function nameField(field, changed = () => {}) {
  field.value = me.name;
  field.oninput = () => {
    me.name = field.value.trim() || 'anonymous';
    stored('sessionStorage', 'tidegate.name', me.name);
    changed();
  };
}

/** 0 to 359 from a text: the same in all windows. */
export function hue(text) { return [...text].reduce((hash, char) => (hash * 31 + char.codePointAt(0)) % 360, 7); }

/** Colours an element by a name: --turn is a hue in the style sheet. */
export function tint(node, name) {
  node.classList.add('tinted');
  node.style.setProperty('--turn', hue(name));
  return node;
}

export const isDark = () => matchMedia('(prefers-color-scheme: dark)').matches;
export const isStill = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

/** A colour for a canvas, readable on the page's ground. */
export function colour(name) { return `oklch(${isDark() ? 78 : 52}% 0.13 ${hue(name)})`; }

// --- The connection

const query = new URLSearchParams(location.search);
if (query.has('token')) {   // removed from the address, so that a shared link does not contain it
  stored('sessionStorage', 'tidegate.token', query.get('token'));
  query.delete('token');
  history.replaceState(null, '', location.pathname + (query.size ? `?${query}` : '') + location.hash);
}
export const token = stored('sessionStorage', 'tidegate.token');

/** The address of a path of this node by WebSocket. */
export function socketUrl(path) { return `${location.origin.replace(/^http/, 'ws')}${path}`; }

const notice = make('p', 'notice');
notice.role = 'status';
document.querySelector('body > header').after(notice);

/** `why`: shown under the header while there is no connection. */
export function showState(state, why = '') {
  document.documentElement.dataset.state = state;
  $('state').textContent = WORDS[state];
  notice.textContent = why;
}

/** Why the client has no connection, for people. */
function reasonOf(state, { code, reason, delay }) {
  if (state !== 'waiting' && state !== 'closed') return '';
  const why = { 1012: 'The node is shutting down', 4001: 'This node needs a token: open the page with ?token=…', 4003: 'Access is forbidden' }[code] ?? (state === 'closed' ? 'The connection is closed' : 'The connection was lost');
  return `${why} (${code}${reason ? `: ${reason}` : ''}).${delay ? ` Trying again in ${Math.ceil(delay / 1000)} s.` : ''}`;
}

/** The page's connection, its state shown in the header. */
export function open() {
  // Before `connect`, whose own listener closes the connection.
  addEventListener('pagehide', () => { for (const listener of leaving) listener(); }, true);
  const client = connect(socketUrl('/ws'), token ? { token: async () => token } : {});
  const { subscribe } = client;
  client.subscribe = (channel, ...more) => {
    const subscription = subscribe(channel, ...more);
    subscription.on('error', (error) => {
      if (client.state === 'open') notice.textContent = `No access to ${channel}: ${error.message}. A token has to list demo:** (open the page with ?token=…).`;
    });
    return subscription;
  };
  let lostAt = 0;
  showState('connecting');
  client.on('state', (state, detail) => {
    showState(state, reasonOf(state, detail));
    if (state === 'waiting' && !lostAt) lostAt = Date.now();
    if (state === 'open' && lostAt) {
      const seconds = (Date.now() - lostAt) / 1000;
      lostAt = 0;
      for (const listener of reconnected) listener(seconds);
    }
  });
  return client;
}

const reconnected = [], leaving = new Set();

/** Calls back when the page is left, while it can still publish. Returns a function that ends it. */
export function onLeave(listener) {
  leaving.add(listener);
  return () => leaving.delete(listener);
}

/** Calls back after each reconnect, with the seconds without a connection. */
export function onReconnect(listener) { reconnected.push(listener); }

/** The payload of a publication as text, for people. */
export function payloadText(publication) {
  if (publication.bytes) return bytesText(publication.bytes);
  if (publication.text !== undefined) return publication.text;
  return typeof publication.data === 'string' ? publication.data : JSON.stringify(publication.data);
}

export function bytesText(bytes) {
  const hex = Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `binary, ${bytes.length.toLocaleString('en')} byte${bytes.length === 1 ? '' : 's'}${hex && `: ${hex}`}${bytes.length > 16 ? ' …' : ''}`;
}

/** Shows control characters as their Unicode pictures. */
export function printable(text) {
  return text.replaceAll('\r\n', '\n').replace(/[\0-\x08\x0b-\x1f\x7f]/g, (char) => String.fromCharCode(char === '\x7f' ? 0x2421 : 0x2400 + char.charCodeAt(0)));
}

export function clock(time) { return new Date(time).toTimeString().slice(0, 8); }

// --- From a shell

let facts;
/** How programs reach this node: see `Publishing` in the source of the node. */
export const loadFacts = () => (facts ??= fetch('/demo/facts.json').then((answer) => answer.json()));

/** The channel in a path of this node. */
export const pathOf = (channel) => encodeURIComponent(channel).replaceAll('%3A', ':');

/** An option of curl for the token of this page, where it has one. */
export const bearer = () => (token ? ' -H "Authorization: Bearer $TOKEN"' : '');

/** Fills a section with the commands that publish `payload` to the channel through this node. */
export async function showShell(section, channel, payload) {
  const { command, prefix, api, needs_key: needsKey } = await loadFacts();
  const path = pathOf(channel), key = needsKey ? ' -H "Authorization: Bearer $API_KEY"' : '';
  const lines = [
    ['As a client of this node:', `curl${bearer()} -d ${quoted(payload)} ${quoted(`${location.origin}/publish/${path}`)}`],
    ['As a service on the node’s own host:', `curl${key} -d ${quoted(payload)} ${quoted(`${api}api/publish/${path}`)}`],
  ];
  // A plain PUBLISH is not kept.
  if (command) lines.push(['As a service, through Redis:', `redis-cli${command === 'SPUBLISH' ? ' -c' : ''} FCALL tidegate_publish 1 ${quoted(prefix + channel)} ${quoted(payload)}`]);
  showLines(section, 'From a shell', lines);
}

/** Fills a section with commands, each below what it does. */
export function showLines(section, title, lines) {
  section.replaceChildren(make('h2', '', title));
  for (const [text, line] of lines) {
    const box = make('pre'), copy = make('button', 'small', 'Copy'), done = make('span', 'soft');
    done.role = 'status';
    box.append(make('code', '', line));
    box.tabIndex = 0;
    box.setAttribute('aria-label', 'Command');
    copy.type = 'button';
    copy.onclick = async () => {
      done.textContent = await copied(line, box) ? 'Copied.' : 'Selected: copy it with your keyboard.';
      setTimeout(() => { done.textContent = ''; }, 3000);
    };
    const row = make('p', 'row');
    row.append(copy, done);
    section.append(make('p', 'soft', text), box, row);
  }
}

async function copied(text, box) {
  try { await navigator.clipboard.writeText(text); return true; } catch {   // no clipboard on plain http
    getSelection().selectAllChildren(box);
    return document.execCommand('copy');
  }
}

export function quoted(word) { return /^[\w.:/@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`; }

// --- Canvas

/** Keeps a canvas as large as its box, in the screen's own pixels. Calls `resized` after each change. */
export function fit(canvas, resized = () => {}) {
  new ResizeObserver(() => {
    const scale = devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    resized();
  }).observe(canvas);
}

/** The value of a colour of the style sheet. */
export function styleColour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

/** Calls back for each frame, and not in a hidden tab. */
export function eachFrame(paint) {
  const next = (now) => { paint(now); requestAnimationFrame(next); };
  requestAnimationFrame(next);
}
