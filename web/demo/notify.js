// Notifications: a channel for each user, with notifications and what of them was read. Each window is a device of the user.

import { $, clock, make, me, nameField, newId, open, payloadText, printable, showShell, tint } from '/demo/page.js';
import { Peers } from '/demo/peers.js';

const KEPT = 500;
const SHOWN_MAX = 100;
const USERS = [...$('user').options].map(({ value }) => value);

const client = open();
const title = document.title;
let user, peers, subscription, notes = new Map(), read = new Set();

const channelOf = (name) => `demo:notify:${name}`;

function signIn(name) {
  subscription?.unsubscribe();
  peers?.close();
  user = name;
  [notes, read] = [new Map(), new Set()];
  $('user').value = $('to').value = name;
  $('who').textContent = $('owner').textContent = name;
  show();
  peers = new Peers(client, `demo:live:notify:${name}`, () => ({}), showDevices);
  showDevices();
  showShell($('shell'), channelOf(name), '{"text":"The tide turns at noon."}');
  subscription = client.subscribe(channelOf(name), { last: KEPT }, take);
}

/** A notification, or `{ read: [ids] }`. A service may publish any text. */
function take(publication) {
  const { data, position, time } = publication;
  if (Array.isArray(data?.read)) for (const id of data.read) read.add(String(id));
  else {
    const id = String(data?.id ?? position ?? newId());
    const text = typeof data?.text === 'string' ? data.text : payloadText(publication);
    if (!notes.has(id)) notes.set(id, { id, text: printable(text.slice(0, 500)), from: String(data?.from ?? 'a service').slice(0, 40), at: time ?? Date.now() });
  }
  requestShow();
}

let showing;
function requestShow() { showing ??= requestAnimationFrame(show); }

function show() {
  showing = undefined;
  const unread = [...notes.values()].filter(({ id }) => !read.has(id));
  const text = unread.length ? `${unread.length} unread` : 'nothing unread';
  if ($('unread').textContent !== text) $('unread').textContent = text;
  document.title = `${unread.length ? `(${unread.length}) ` : ''}${title}`;
  $('none').hidden = notes.size > 0;
  $('all').disabled = !unread.length;
  const newest = [...notes.values()].slice(-SHOWN_MAX).reverse();
  const rows = new Map([...$('list').children].map((row) => [row.dataset.id, row]));
  let before = $('list').firstElementChild;
  for (const note of newest) {         // rows stay where they are, so that the focus does too
    const row = rows.get(note.id) ?? newRow(note);
    rows.delete(note.id);
    if (row !== before) $('list').insertBefore(row, before); else before = row.nextElementSibling;
    const isRead = read.has(note.id);
    row.classList.toggle('unread', !isRead);
    row.querySelector('button').hidden = isRead;
    row.querySelector('.mark').textContent = isRead ? 'read' : 'new';
  }
  for (const row of rows.values()) row.remove();
}

function newRow({ id, text, from, at }) {
  const row = make('li', 'note'), head = make('p', 'row'), time = make('time', '', clock(at)), button = make('button', 'small', 'Mark as read');
  row.dataset.id = id;
  time.dateTime = new Date(at).toISOString();
  head.append(make('span', 'mark'), make('span', 'soft grow', `from ${from}`), time);
  button.type = 'button';
  button.onclick = () => { markRead([id]); $('list').querySelector('.unread button')?.focus(); };
  const body = make('div', 'row');
  body.append(make('p', 'grow text', text), button);
  row.append(head, body);
  return row;
}

function markRead(ids) {
  for (const id of ids) read.add(id);  // shown at once; the other devices learn it
  show();
  client.publish(channelOf(user), { read: ids }).catch((error) => { $('sent').textContent = `Not sent: ${error.message}`; });
}
$('all').onclick = () => markRead([...notes.keys()].filter((id) => !read.has(id)));

$('composer').onsubmit = async (event) => {
  event.preventDefault();
  const text = $('text').value.trim(), to = $('to').value;
  if (!text) return $('text').focus();
  $('sent').textContent = 'Sending …';   // until there is a connection
  try {
    await client.publish(channelOf(to), { id: newId(), text, from: user });
    $('sent').textContent = `Sent to ${to}.`;
  } catch (error) { $('sent').textContent = `Not sent: ${error.message}`; }
  setTimeout(() => { $('sent').textContent = ''; }, 3000);
};

let shownDevices = '';
function showDevices() {
  const names = [me.name, ...[...peers.others.values()].map(({ name }) => name).sort()];
  if (names.join('\n') === shownDevices) return;
  shownDevices = names.join('\n');
  $('here').replaceChildren(...names.map((name, index) => {
    const item = make('li');
    item.append(tint(make('bdi', 'who', name), name), make('span', 'soft', index ? '' : 'this one'));
    return item;
  }));
}

function followHash() {
  const name = location.hash.slice(1);
  if (!USERS.includes(name)) history.replaceState(null, '', `#${USERS[0]}`);
  if (name !== user || !user) signIn(USERS.includes(name) ? name : USERS[0]);
}
$('user').onchange = () => { location.hash = $('user').value; };
addEventListener('hashchange', followHash);
followHash();
nameField($('name'), () => { showDevices(); peers.soon(300); });
