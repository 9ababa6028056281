// Notes: one text in several windows. Yjs merges the changes; the node carries and keeps them.
//
// Updates are binary publications on one channel. A snapshot on another one holds the whole document, and the position of the
// last update in it, so that a window that comes later reads one snapshot and a few updates.

import { $, make, me, nameField, open, tint } from '/demo/page.js';
import { Peers } from '/demo/peers.js';

const SNAPSHOT_AFTER = 25;             // updates
const SNAPSHOT_BYTES_MAX = 45_000;     // in base64 it has to fit into a publication of 64 KiB
const SEND_EVERY = 100;                // milliseconds, so that a fast typist's changes travel together

const box = $('text');
const name = decodeURIComponent(location.hash.slice(1)).replace(/[^\p{L}\p{N}._-]/gu, '').slice(0, 60) || 'main';
const UPDATES = `demo:notes:${name}`, SNAPSHOTS = `demo:snapshots:notes:${name}`, LIVE = `demo:live:notes:${name}`;
$('document').textContent = name;
addEventListener('hashchange', () => location.reload());

const client = open();
const Y = await import('/demo/yjs.js').catch(() => null);
if (Y) await start();
else {
  $('missing').hidden = false;
  box.hidden = true;
  $('saved').textContent = '';
}

async function start() {
  const document = new Y.Doc(), text = document.getText('text');
  let subscription, sinceSnapshot = 0, waiting = [], timer, isBehind = false, inFlight = 0;

  // --- The channel

  /** Loads the newest snapshot and what follows it. */
  async function load() {
    const { publications } = await client.history(SNAPSHOTS, { limit: 1 }).catch(() => ({ publications: [] }));
    const snapshot = publications.at(-1)?.data;
    if (typeof snapshot?.state === 'string') apply(Uint8Array.from(atob(snapshot.state), (char) => char.charCodeAt(0)));
    subscription?.unsubscribe();
    sinceSnapshot = 0;
    subscription = client.subscribe(UPDATES, { since: snapshot?.position ?? 'first' }, take);
    subscription.on('gap', resynchronise);
  }

  function take({ bytes }) {
    if (!bytes) return;                // not an update: anyone may publish here
    sinceSnapshot += 1;
    apply(bytes);
    if (sinceSnapshot >= SNAPSHOT_AFTER && peers.leads) publishSnapshot();
    showFigures();
  }
  function apply(update) {
    try { Y.applyUpdate(document, update, 'channel'); } catch { /* bytes that are no update change nothing */ }
  }

  document.on('update', (update, origin) => {
    if (origin === 'channel') return;
    waiting.push(update);
    timer ??= setTimeout(send, SEND_EVERY);
    showSaved();
  });
  async function send() {
    timer = undefined;
    const update = isBehind ? Y.encodeStateAsUpdate(document) : Y.mergeUpdates(waiting);
    isBehind = false;
    waiting = [];
    inFlight += 1;
    showSaved();
    try { await client.publish(UPDATES, update); } catch {   // its content goes with the whole document next time
      isBehind = true;
      timer ??= setTimeout(send, 2000);
    }
    inFlight -= 1;
    showSaved();
  }
  /** Updates may be missing here, and this window's at others: applying one twice is harmless, so send all. */
  async function resynchronise() {
    isBehind = true;
    timer ??= setTimeout(send, SEND_EVERY);
    const { publications } = await client.history(SNAPSHOTS, { limit: 1 }).catch(() => ({ publications: [] }));
    const state = publications.at(-1)?.data?.state;
    if (typeof state === 'string') apply(Uint8Array.from(atob(state), (char) => char.charCodeAt(0)));
  }

  let isPublishing = false;
  async function publishSnapshot() {
    const state = Y.encodeStateAsUpdate(document), position = subscription?.position;
    $('size').textContent = `${state.length.toLocaleString('en')} bytes`;
    if (isPublishing || !position || state.length > SNAPSHOT_BYTES_MAX) return;
    isPublishing = true;
    try {
      await client.publish(SNAPSHOTS, { state: btoa(Array.from(state, (byte) => String.fromCharCode(byte)).join('')), position });
    } catch { /* the next update tries again */ }
    isPublishing = false;
  }
  client.subscribe(SNAPSHOTS, ({ data }) => {
    if (data?.position) sinceSnapshot = 0;
    showFigures();
  });

  // --- The field

  let last = '';
  box.oninput = () => {
    const value = box.value, isHigh = (at) => (value.charCodeAt(at) & 0xfc00) === 0xd800;
    let start = 0, end = 0;
    const most = Math.min(value.length, last.length);
    while (start < most && value[start] === last[start]) start += 1;
    if (start > 0 && isHigh(start - 1)) start -= 1;          // not within a pair of surrogates
    while (end < most - start && value.at(-1 - end) === last.at(-1 - end)) end += 1;
    if (end > 0 && isHigh(value.length - end - 1)) end -= 1;
    document.transact(() => {
      if (last.length - end > start) text.delete(start, last.length - end - start);
      if (value.length - end > start) text.insert(start, value.slice(start, value.length - end));
    });
    last = value;
    showFigures();
    peers.soon(400);
  };
  text.observe((event, transaction) => {
    if (transaction.local) return;
    let [from, to] = [box.selectionStart, box.selectionEnd], at = 0;
    for (const { retain = 0, insert = '', delete: removed = 0 } of event.delta) {
      at += retain;
      const moved = (place) => (place <= at ? place : Math.max(at, place - removed) + insert.length);
      [from, to] = [moved(from), moved(to)];
      at += insert.length;
    }
    last = text.toString();
    const top = box.scrollTop;
    box.value = last;
    box.setSelectionRange(from, to);
    box.scrollTop = top;
    showFigures();
  });
  box.onselect = box.onkeyup = box.onpointerup = () => peers.soon(400);

  // --- The page

  const lineOf = () => box.value.slice(0, box.selectionStart).split('\n').length;
  const peers = new Peers(client, LIVE, () => ({ line: lineOf() }), showHere);
  function showHere() {
    const entry = (who, note) => {
      const item = make('li');
      item.append(tint(make('bdi', 'who', who), who), make('span', 'soft', note));
      return item;
    };
    $('here').replaceChildren(entry(me.name, 'you'), ...[...peers.others.values()].map((it) => entry(it.name, Number.isInteger(it.line) ? `line ${it.line}` : '')));
  }
  function showSaved() {
    const shown = waiting.length || inFlight || isBehind ? (client.state === 'open' ? 'saving …' : 'kept here until the connection is back') : 'saved';
    if ($('saved').textContent !== shown) $('saved').textContent = shown;
  }
  function showFigures() {
    $('characters').textContent = text.length.toLocaleString('en');
    $('updates').textContent = sinceSnapshot;
  }
  client.on('state', showSaved);
  nameField($('name'), () => { showHere(); peers.soon(300); });
  showHere();
  await load();
  last = box.value = text.toString();
  box.disabled = false;
  showSaved();
  showFigures();
}
