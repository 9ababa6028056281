// Board: finished strokes on a channel with history; cursors, and strokes in the making, on a `latest` channel.

import { $, colour, eachFrame, fit, make, me, nameField, newId, open, showShell, styleColour, tint } from '/demo/page.js';
import { Peers } from '/demo/peers.js';

const WIDTH = 1200, HEIGHT = 900;      // of the board, whatever the window's size
const POINTS_MAX = 200;                // of one stroke; a longer one is continued by another
const STROKES_MAX = 500;               // what the channel keeps
const CURSOR_EVERY = 50;               // milliseconds
const STEP = 15;                       // of the arrow keys
const IDLE_AFTER = 5000;               // a cursor that has not moved fades

const COLOURS = { ink: 'Ink', tide: 'Tide', bad: 'Red', wait: 'Amber', good: 'Green' };
const CHANNEL = 'demo:board:main', LIVE = 'demo:live:board:main';

const client = open();
const canvas = $('canvas');
const strokes = [];
let current = null, at = null, pen = 'ink', isDirty = true, announcements = 0;

// --- Strokes

function take({ data }) {
  if (data?.clear) strokes.length = 0;
  else if (isStroke(data) && !strokes.some(({ id }) => id === data.id)) strokes.push(data);
  while (strokes.length > STROKES_MAX) strokes.shift();
  $('strokes').textContent = strokes.length;
  isDirty = true;
}
function isStroke(data) {
  return typeof data?.id === 'string' && Object.hasOwn(COLOURS, data.pen) && data.width > 0 && data.width <= 100 &&
    Array.isArray(data.points) && data.points.every((point) => Array.isArray(point) && point.every(Number.isFinite));
}
client.subscribe(CHANNEL, { last: STROKES_MAX }, take);

function begin(point) {
  current = { id: newId(), pen, width: Number($('width').value), points: [point] };
  moved(point);
}
function moved(point) {
  at = point;
  if (current) {
    const last = current.points.at(-1);
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= 2) current.points.push(point);
    if (current.points.length >= POINTS_MAX) { end(); begin(point); }
  }
  isDirty = true;
  peers.soon(CURSOR_EVERY);
}
function end() {
  if (!current) return;
  const done = current;
  current = null;
  strokes.push(done);                  // its publication is recognised by its id
  $('strokes').textContent = strokes.length;
  client.publish(CHANNEL, done).catch(() => {
    strokes.splice(strokes.indexOf(done), 1);
    isDirty = true;
  });
  peers.soon(CURSOR_EVERY);
}

// --- Pointer and keys

function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  return [Math.round((event.clientX - box.left) / box.width * WIDTH), Math.round((event.clientY - box.top) / box.height * HEIGHT)];
}
canvas.onpointerdown = (event) => {
  if (event.button) return;
  canvas.setPointerCapture(event.pointerId);
  begin(pointOf(event));
};
canvas.onpointermove = (event) => {
  const all = event.getCoalescedEvents?.() ?? [];
  for (const each of all.length ? all : [event]) moved(pointOf(each));
};
canvas.onpointerup = canvas.onpointercancel = end;
canvas.onpointerleave = () => {
  if (current) return;
  at = null;
  peers.soon(CURSOR_EVERY);
};
const STEPS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
canvas.onkeydown = (event) => {
  if (event.key === ' ') {
    event.preventDefault();
    if (current) end(); else begin(at ?? [WIDTH / 2, HEIGHT / 2]);
    isDirty = true;
    return;
  }
  const step = STEPS[event.key];
  if (!step) return;
  event.preventDefault();
  const [x, y] = at ?? [WIDTH / 2, HEIGHT / 2];
  moved([Math.min(WIDTH, Math.max(0, x + step[0])), Math.min(HEIGHT, Math.max(0, y + step[1]))]);
};
canvas.onblur = end;

for (const [key, name] of Object.entries(COLOURS)) {
  const label = make('label', 'swatch'), input = make('input');
  Object.assign(input, { type: 'radio', name: 'pen', value: key, checked: key === pen, ariaLabel: name });
  input.onchange = () => { pen = key; };
  label.append(input, make('span', `dot ${key}`));
  label.title = name;
  $('colours').append(label);
}
$('clear').onclick = () => client.publish(CHANNEL, { clear: true, name: me.name }).catch(() => {});

// --- Other windows

const peers = new Peers(client, LIVE, () => ({ at, drawing: current }), () => { announcements += 1; isDirty = true; showHere(); });
const labels = new Map();
let shownNames = '';

function showHere() {
  const names = [me.name, ...[...peers.others.values()].map(({ name }) => name)];
  if (shownNames === names.join('\n')) return;
  shownNames = names.join('\n');
  $('here').replaceChildren(...names.map((name, index) => {
    const item = make('li');
    item.append(tint(make('bdi', 'who', name), name), make('span', 'soft', index ? '' : 'you'));
    return item;
  }));
}
function showCursors() {
  for (const [id, label] of labels) if (!peers.others.has(id)) { label.remove(); labels.delete(id); }
  for (const [id, { name, at: point, seen }] of peers.others) {
    let label = labels.get(id);
    if (!label) {
      label = tint(make('span', 'cursor'), name);
      $('cursors').append(label);
      labels.set(id, label);
    }
    const isShown = Array.isArray(point) && point.every(Number.isFinite);
    label.hidden = !isShown;
    if (!isShown) continue;
    label.textContent = name;
    label.classList.toggle('idle', Date.now() - seen > IDLE_AFTER);
    label.style.left = `${point[0] / WIDTH * 100}%`;
    label.style.top = `${point[1] / HEIGHT * 100}%`;
  }
}

// --- Painting

fit(canvas, () => { isDirty = true; });
matchMedia('(prefers-color-scheme: dark)').onchange = () => { isDirty = true; };
eachFrame(() => {
  showCursors();
  if (!isDirty) return;
  isDirty = false;
  const context = canvas.getContext('2d'), scale = canvas.width / WIDTH;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  context.lineCap = context.lineJoin = 'round';
  const making = [...peers.others.values()].map(({ drawing }) => drawing).filter(isStroke);
  for (const stroke of [...strokes, ...making, ...(current ? [current] : [])]) paint(context, stroke);
  if (at && document.activeElement === canvas && !canvas.matches(':hover')) paintOwn(context);
});
function paint(context, { pen: name, width, points }) {
  context.beginPath();
  const [first, ...rest] = points;
  context.moveTo(...first);
  if (!rest.length) context.lineTo(first[0] + 0.1, first[1]);
  rest.forEach((point, index) => {     // through the middles, so that corners are round
    const next = rest[index + 1];
    if (next) context.quadraticCurveTo(...point, (point[0] + next[0]) / 2, (point[1] + next[1]) / 2);
    else context.lineTo(...point);
  });
  context.lineWidth = width;
  context.strokeStyle = styleColour(name);
  context.stroke();
}
/** The keyboard's cursor. */
function paintOwn(context) {
  context.beginPath();
  context.arc(...at, 14, 0, 2 * Math.PI);
  context.lineWidth = 3;
  context.strokeStyle = colour(me.name);
  context.stroke();
}

setInterval(() => {
  $('rate').textContent = announcements;
  announcements = 0;
}, 1000);
nameField($('name'), () => { showHere(); peers.soon(CURSOR_EVERY); });
showHere();
showShell($('shell'), CHANNEL, '{"id":"shell","pen":"tide","width":12,"points":[[100,450],[400,250],[800,650],[1100,450]]}');
