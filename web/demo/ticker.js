// Ticker: a channel with `latest` delivery for each name. One of the windows that are looked at makes the prices up.

import { $, eachFrame, fit, make, me, open, showShell, styleColour } from '/demo/page.js';
import { Peers } from '/demo/peers.js';

const NAMES = { TIDE: 120.4, WAVE: 48.15, REEF: 311.9, BUOY: 17.62, SALT: 64.3, FOAM: 9.87, KELP: 28.44, MOON: 205.1 };
const SHOWN_FOR = 10_000;     // milliseconds of a line
const POINTS_MAX = 600;       // of a line: one each 16 ms
const LATENCIES_MAX = 2000;
const TICK = 20;              // milliseconds between two rounds of the feed
const SETTLED = 500;          // figures change at most so often, so that they can be read

const client = open();
const channelOf = (name) => `demo:live:ticker:${name}`;
const rows = new Map();
let latencies = [], received = 0, skipped = 0, isPaused = false, shownAt = 0, lastAt = 0;

for (const [name, price] of Object.entries(NAMES)) {
  const line = $('prices').tBodies[0].insertRow(), canvas = make('canvas');
  const head = make('th', '', name), shown = make('td', 'number', '–'), change = make('td', 'number', '–'), cell = make('td');
  head.scope = 'row';
  canvas.ariaHidden = 'true';
  cell.append(canvas);
  line.append(head, shown, change, cell);
  fit(canvas);
  rows.set(name, { price, first: undefined, points: [], next: undefined, canvas, shown, change });
  client.subscribe(channelOf(name), ({ data }) => take(name, data));
}

function take(name, { price, at, seq, by } = {}) {
  if (typeof price !== 'number') return;
  const row = rows.get(name), now = performance.now();
  received += 1;
  lastAt = now;
  if (typeof at === 'number') latencies.push(Date.now() - at);
  if (latencies.length > LATENCIES_MAX) latencies.shift();
  if (row.by === by && seq > row.seq + 1) skipped += seq - row.seq - 1;
  Object.assign(row, { price, by, seq });
  row.first ??= price;
  const last = row.points.at(-1);
  if (last && now - last.now < SHOWN_FOR / POINTS_MAX) last.price = price;
  else row.points.push({ now, price });
  if (row.points.length > POINTS_MAX + 1) row.points.shift();
}

// --- What is shown

eachFrame((now) => {
  if (isPaused) return;
  const isDue = now - shownAt >= SETTLED;
  for (const row of rows.values()) {
    paint(row, now);
    if (!isDue || row.first === undefined) continue;
    const change = (row.price / row.first - 1) * 100;
    row.shown.textContent = row.price.toFixed(2);
    row.change.textContent = `${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(2)} %`;
    row.change.className = `number ${change < 0 ? 'down' : 'up'}`;
  }
  if (!isDue) return;
  const seconds = (now - shownAt) / 1000, ordered = latencies.toSorted((a, b) => a - b);
  const at = (share) => (ordered.length ? `${ordered[Math.floor((ordered.length - 1) * share)]} ms` : '–');
  $('rate').textContent = Math.round(received / seconds).toLocaleString('en');
  $('median').textContent = at(0.5);
  $('p99').textContent = at(0.99);
  $('skipped').textContent = skipped.toLocaleString('en');
  [received, latencies, shownAt] = [0, latencies.slice(-LATENCIES_MAX / 4), now];
  showSource(now);
});

function paint({ canvas, points }, now) {
  const context = canvas.getContext('2d'), { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  while (points.length && now - points[0].now > SHOWN_FOR) points.shift();
  if (points.length < 2) return;
  let low = Infinity, high = -Infinity;
  for (const { price } of points) { low = Math.min(low, price); high = Math.max(high, price); }
  const pad = 3 * devicePixelRatio, range = high - low || 1;
  context.beginPath();
  for (const { now: at, price } of points) context.lineTo(width * (1 - (now - at) / SHOWN_FOR), height - pad - (height - 2 * pad) * (price - low) / range);
  context.lineWidth = 1.5 * devicePixelRatio;
  context.lineJoin = 'round';
  context.strokeStyle = styleColour(points.at(-1).price < points[0].price ? 'bad' : 'good');
  context.stroke();
}

// --- The feed

const peers = new Peers(client, 'demo:live:ticker', () => ({ speed: Number($('speed').value) }), (state) => {
  if (state.speedSet) setSpeed(state.speed);
});
let seq = 0, credit = 0, isFeeding = false;

setInterval(() => {
  isFeeding = peers.leads && client.state === 'open';
  if (!isFeeding) return;
  credit = Math.min(credit + Number($('speed').value) * TICK / 1000, 200);
  for (const names = Object.keys(NAMES); credit >= 1; credit -= 1) {
    const name = names[seq % names.length], row = rows.get(name);
    row.next = (row.next ?? row.price) * (1 + (Math.random() - 0.5) * 0.002);
    client.publish(channelOf(name), { price: Number(row.next.toFixed(4)), at: Date.now(), by: me.id, seq: Math.floor(seq / names.length) }).catch(() => {});
    seq += 1;
  }
}, TICK);

function showSource(now) {
  const text = isFeeding ? 'This window makes the prices up.' : now - lastAt < 2000 ? 'Another window makes the prices up.' : 'Looking for a feed …';
  if ($('source').textContent !== text) $('source').textContent = text;
}
function setSpeed(speed) {
  if (!(speed >= 8 && speed <= 1600)) return;
  $('speed').value = speed;
  $('speed-value').textContent = speed;
}
$('speed').oninput = () => {
  setSpeed(Number($('speed').value));
  peers.announce({ speedSet: true });
};
$('pause').onclick = () => {
  isPaused = !isPaused;
  $('pause').setAttribute('aria-pressed', isPaused);
};
showShell($('shell'), channelOf('TIDE'), '{"price":123.45}');
