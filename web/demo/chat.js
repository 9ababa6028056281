// Chat: rooms with history, who is here, typing, read receipts. Each room is a channel of messages and a channel of announcements.

import { $, clock, make, me, nameField, newId, onReconnect, open, payloadText, printable, showShell, stored, tint } from '/demo/page.js';
import { Peers } from '/demo/peers.js';

const ROOMS = ['harbour', 'lighthouse', 'beach'];
const MESSAGES_MAX = 300;     // kept of a room
const HISTORY = 50;           // loaded of a room
const TYPING_FOR = 3000;      // milliseconds after the last key
const LINES_SHOWN = 30, CHARS_SHOWN = 3000;

const log = $('log'), box = $('text');
const client = open();
const rooms = new Map();
let room;                     // the one shown
let stuck = true, unseen = 0, typingUntil = 0, typingTimer;

// --- Rooms

class Room {
  constructor(name) {
    this.name = name;
    this.channel = `demo:chat:${name}`;
    this.items = [];          // messages and dividers, in order
    this.mine = new Map();    // id to a message of this window, until its publication arrives
    this.unread = 0;
    this.link = make('a', 'room');
    this.link.href = `#${encodeURIComponent(name)}`;
    this.badge = make('span', 'badge');
    this.link.append(make('bdi', '', name), this.badge);
    const subscription = client.subscribe(this.channel, { last: HISTORY }, (publication) => this.take(publication));
    subscription.on('subscribed', () => { if (this === room) countSessions(); });
    subscription.on('gap', () => {
      this.hasGap = true;
      this.divide('Messages may be missing here: the node could not prove that none is.');
    });
  }

  take(publication) {
    const message = read(publication);
    const own = this.mine.get(message.id);
    if (own) {                // it was shown when it was sent
      this.mine.delete(message.id);
      Object.assign(own, { at: message.at, status: 'sent' });
      own.node && showStatus(own);
      return this === room && receipts();
    }
    if (message.id && this.items.some((it) => it.id === message.id)) return;
    this.caughtUp += 1;
    this.add(message);
    if (this !== room || document.hidden) { this.unread += 1; showRooms(); }
  }

  add(item) {
    this.items.push(item);
    if (this.items.length > MESSAGES_MAX) this.items.shift()?.node?.remove();
    if (this === room) paint(item);
  }

  divide(text) {
    const item = { divider: text };
    this.add(item);
    return item;
  }

  /** The id of the newest message with one: what a window that shows the room has read. */
  newest() { return this.items.findLast((item) => item.id)?.id; }
}

function enter(name) {
  if (room?.name === name) return;
  if (!rooms.has(name)) {
    rooms.set(name, new Room(name));
    $('rooms').append(make('li'));
    $('rooms').lastElementChild.append(rooms.get(name).link);
  }
  room?.peers.close();
  room = rooms.get(name);
  room.unread = 0;
  room.peers = new Peers(client, `demo:live:chat:${name}`, () => ({ read: document.hidden ? undefined : room.newest(), typing: Date.now() < typingUntil }), showPeers);
  typingUntil = 0;
  log.replaceChildren();
  stuck = true;
  unseen = 0;
  for (const item of room.items) paint(item);
  $('current').textContent = name;
  document.title = `${name} · Tidegate`;
  showRooms();
  showPeers();
  showShell($('shell'), room.channel, '{"name":"Ada","text":"Hello from a shell"}');
}

function showRooms() {
  for (const it of rooms.values()) {
    if (it === room) it.link.setAttribute('aria-current', 'page'); else it.link.removeAttribute('aria-current');
    it.badge.textContent = it.unread || '';
    it.badge.hidden = !it.unread;
    it.badge.setAttribute('aria-label', `${it.unread} unread`);
  }
}

function faultOf(name) {
  if (!name) return 'A room needs a name.';
  if (new TextEncoder().encode(name).length > 200) return 'This name is longer than 200 bytes.';
  if (/[\p{White_Space}\p{Cc}\p{Cs}]/u.test(name)) return 'A name must not contain white space or control characters.';
  return '';
}

function followHash() {
  let name = location.hash.slice(1);
  try { name = decodeURIComponent(name); } catch { /* typed by hand: take it as it is */ }
  if (faultOf(name)) history.replaceState(null, '', `#${name = ROOMS[0]}`);
  enter(name);
}

$('join').onsubmit = (event) => {
  event.preventDefault();
  const name = $('room').value.trim(), fault = faultOf(name);
  $('fault').textContent = fault;
  if (fault) return $('room').focus();
  $('room').value = '';
  location.hash = encodeURIComponent(name);
  box.focus();
};
addEventListener('hashchange', followHash);

// --- Messages

/** A publication as a message. Services may publish anything: only this form is a chat message. */
function read(publication) {
  const at = publication.time ?? Date.now();
  const { data } = publication;
  if (typeof data === 'object' && data !== null && typeof data.text === 'string' && typeof (data.name ?? '') === 'string') {
    const id = typeof data.id === 'string' ? data.id : publication.position;
    return { id, name: publication.user ?? printable((data.name ?? '').slice(0, 64)), text: data.text, at };
  }
  const isText = typeof data === 'string' || publication.text !== undefined;
  return { id: publication.position, name: '', text: payloadText(publication), raw: !isText, at };
}

function send(text) {
  const message = { id: newId(), name: me.name, text, at: Date.now(), mine: true, status: 'sending' };
  const to = room;
  to.mine.set(message.id, message);
  to.add(message);
  typingUntil = 0;
  publish(to, message);
}

async function publish(to, message) {
  try {
    await client.publish(to.channel, { id: message.id, name: message.name, text: message.text });
    if (message.status === 'sending') message.status = 'sent';
  } catch (error) {
    if (message.status === 'sent') return;   // it arrived, although its answer was lost
    message.status = error.code === 'unknown_outcome' ? 'perhaps not sent: the connection was lost before the answer' : `not sent: ${error.message}`;
  }
  if (message.node) showStatus(message);
}

$('composer').onsubmit = (event) => {
  event.preventDefault();
  const text = box.value.trimEnd();
  if (!text.trim()) return;
  box.value = '';
  stuck = true;
  send(text);
  box.focus();
};
box.onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('composer').requestSubmit();
};
box.oninput = () => {
  const was = Date.now() < typingUntil;
  typingUntil = box.value ? Date.now() + TYPING_FOR : 0;
  if (!was && box.value) room.peers.announce();
  clearTimeout(typingTimer);
  typingTimer = setTimeout(() => room.peers.announce(), TYPING_FOR);
};

// --- The log

function paint(item) {
  item.node = item.divider ? make('div', 'divider') : row(item);
  if (item.divider) item.node.append(make('span', '', item.divider));
  log.append(item.node);
  unseen += 1;
  settle();
  if (!item.divider) seen();
}

function row(item) {
  const node = make('article', item.mine ? 'msg mine' : 'msg'), head = make('div', 'head');
  const name = item.name ? tint(make('bdi', 'who', item.name), item.name) : make('span', 'who soft', 'a service');
  const time = make('time', '', clock(item.at));
  time.dateTime = new Date(item.at).toISOString();
  head.append(name, ...(item.mine ? [make('small', '', 'you')] : []), time);
  const short = item.text.split('\n', LINES_SHOWN).join('\n').slice(0, CHARS_SHOWN);
  const body = make('div', item.raw ? 'body raw' : 'body', printable(short));
  node.append(head, body);
  if (short.length < item.text.length) {
    const more = make('button', 'small', `Show all ${item.text.length.toLocaleString('en')} characters`);
    more.onclick = () => { body.textContent = printable(item.text); more.remove(); log.focus(); };
    node.append(more);
  }
  item.status && showStatus({ ...item, node });
  return node;
}

/** Under a message of this window: sending, sent, or not sent with a button that tries again. */
function showStatus(message) {
  message.node.querySelector('.status')?.remove();
  const status = make('p', 'status', message.status === 'sent' ? '' : message.status);
  const failed = message.status.includes('not sent');
  status.classList.toggle('error', failed);
  if (failed) {
    const again = make('button', 'small', 'Send again');
    again.onclick = () => { message.status = 'sending'; showStatus(message); publish(room, message); };
    status.append(' ', again);
  }
  message.node.append(status);
  receipts();
}

function settle() {
  if (stuck) { log.scrollTop = log.scrollHeight; unseen = 0; }
  $('jump').hidden = stuck || !unseen;
  $('jump').textContent = `${unseen} new ↓`;
  $('empty').hidden = log.childElementCount > 0;
}
log.onscroll = () => { stuck = log.scrollHeight - log.scrollTop - log.clientHeight < 40; settle(); };
new ResizeObserver(settle).observe(log);
$('jump').onclick = () => { stuck = true; settle(); box.focus(); };

// --- Other windows: who is here, who types, who has read what

let announcing;
/** Announces once for all messages that arrive together that this window has shown them. */
function seen() { if (!document.hidden) announcing ??= setTimeout(() => { announcing = undefined; room.peers.announce(); }, 150); }

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  room.unread = 0;
  showRooms();
  room.peers.announce();
});

let shownOthers, counting;
function showPeers() {
  if (!room?.peers) return;
  const others = [...room.peers.others.values()].sort((a, b) => a.name.localeCompare(b.name));
  const entry = (name, note) => {
    const item = make('li');
    item.append(tint(make('bdi', 'who', name), name), make('span', 'soft', note));
    return item;
  };
  if (others.length !== shownOthers) {
    shownOthers = others.length;
    clearTimeout(counting);
    counting = setTimeout(countSessions, 300);
  }
  $('here').replaceChildren(entry(me.name, 'you'), ...others.map((it) => entry(it.name, it.typing ? 'types …' : '')));
  const typing = others.filter((it) => it.typing).map((it) => it.name);
  $('typing').textContent = !typing.length ? '' : typing.length === 1 ? `${typing[0]} is typing …` : `${typing.slice(0, 3).join(', ')} are typing …`;
  receipts();
}

/** “Read by …” stands under the last message that each other window has read, if this window sent it or a later one of its own follows none. */
function receipts() {
  if (!room?.peers) return;
  const at = new Map(room.items.map((item, index) => [item.id, index]));
  const readers = new Map();
  const own = room.items.map((item, index) => (item.mine ? index : -1)).filter((index) => index >= 0);
  for (const { name, read } of room.peers.others.values()) {
    const last = own.findLast((index) => index <= (at.get(read) ?? -1));
    if (last !== undefined) readers.set(last, [...(readers.get(last) ?? []), name]);
  }
  for (const index of own) {
    const { node, status } = room.items[index];
    const line = node?.querySelector('.status');
    if (!line || status !== 'sent') continue;
    const names = readers.get(index);
    const text = names ? `read by ${names.sort().join(', ')}` : index === own.at(-1) ? 'sent' : '';
    if (line.textContent !== text) line.textContent = text;
  }
}

async function countSessions() {
  try {
    const { members } = await client.presence(room.channel);
    const sessions = members.reduce((sum, { sessions: each }) => sum + each, 0);
    const users = members.filter(({ user }) => user !== null).map(({ user, info }) => info?.name ?? user);
    $('sessions').textContent = `By the node’s presence: ${sessions} session${sessions === 1 ? '' : 's'}${users.length ? `, of ${users.join(', ')}` : ''}.`;
  } catch (error) {
    $('sessions').textContent = error.code === 'not_found' ? 'The node keeps no presence of this channel: its rules say so.' : '';
  }
}
setInterval(() => document.hidden || countSessions(), 5000);

onReconnect(async (gone) => {
  for (const it of rooms.values()) [it.caughtUp, it.hasGap] = [0, false];
  const divider = room.divide(`Reconnected after ${gone.toFixed(1)} s`);
  const { caughtUp, hasGap } = await client.presence(room.channel).then(() => room, () => room);   // answered after what was missed
  if (!divider.node || hasGap && !caughtUp) return;
  divider.node.firstElementChild.textContent += caughtUp ? `, ${caughtUp} missed message${caughtUp === 1 ? '' : 's'} caught up` : ', nothing missed';
});

nameField($('name'), () => { showPeers(); seen(); });
for (const name of ROOMS) enter(name);
followHash();
countSessions();
