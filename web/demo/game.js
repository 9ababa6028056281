// Game: each boat's position 20 times a second. One of the windows that are looked at also sails the boats without a player.

import { $, colour, eachFrame, fit, isStill, make, me, nameField, open, showShell, styleColour, tint } from '/demo/page.js';
import { Peers } from '/demo/peers.js';

const WIDTH = 1200, HEIGHT = 900;
const SEND_EVERY = 50;                 // milliseconds
const FORGET_AFTER = 2500;
const SPEED = 150, TURN = 2.6;         // units and radians a second
const REACH = 32;                      // of a buoy
const BOATS_MAX = 300;                 // shown; a service may publish any number
const SCORES_SHOWN = 10;
const BOT_NAMES = ['Anna', 'Bora', 'Cleo', 'Dora', 'Elsa', 'Fram', 'Greta', 'Hai', 'Ilse', 'Juno', 'Kora', 'Lena', 'Maja', 'Nora', 'Olga', 'Pia', 'Quest', 'Rosa', 'Saga', 'Tove'];

const CHANNEL = 'demo:live:game';
const client = open();
const canvas = $('canvas');
const boats = new Map();               // id to { name, x, y, angle, score, seen }
const keys = new Set();
let pointer = null, buoy = 0, received = 0, bots = [];

const own = { id: me.id, name: me.name, x: 200 + Math.random() * 800, y: 200 + Math.random() * 500, angle: Math.random() * 6.28, score: 0, moving: false };

// --- The buoy: its number decides its place, so that all windows have it at the same one

function buoyAt(number) {
  const mixed = Math.imul(number + 1, 2654435761) >>> 0;
  return [80 + mixed % 1040, 80 + (mixed >>> 12) % 740];
}

// --- Other boats

client.subscribe(CHANNEL, ({ data }) => {
  if (typeof data?.id !== 'string' || ![data.x, data.y, data.angle].every(Number.isFinite)) return;
  received += 1;
  if (Number.isSafeInteger(data.buoy) && data.buoy > buoy) buoy = data.buoy;
  if (data.id === me.id) {
    if (data.sent) roundTrip = performance.now() - data.sent;
    return;
  }
  const known = boats.get(data.id);
  if (!known && boats.size >= BOATS_MAX) return;
  boats.set(data.id, { ...known ?? { shownX: data.x, shownY: data.y }, ...data, name: String(data.name ?? '').slice(0, 40), score: Number(data.score) || 0, seen: performance.now() });
});
let roundTrip;

// --- Sailing

function sail(boat, turn, seconds) {
  boat.angle += turn * TURN * seconds;
  boat.x = (boat.x + Math.cos(boat.angle) * SPEED * seconds + WIDTH) % WIDTH;
  boat.y = (boat.y + Math.sin(boat.angle) * SPEED * seconds + HEIGHT) % HEIGHT;
  const [x, y] = buoyAt(buoy);
  if (Math.hypot(boat.x - x, boat.y - y) > REACH) return;
  buoy += 1;
  boat.score += 1;
}

/** −1 to 1: which way the boat has to turn to point there. */
function turnTo(boat, [x, y]) {
  const off = Math.atan2(y - boat.y, x - boat.x) - boat.angle;
  return Math.max(-1, Math.min(1, Math.atan2(Math.sin(off), Math.cos(off)) * 2));
}

function steer(seconds) {
  const turn = (keys.has('ArrowRight') ? 1 : 0) - (keys.has('ArrowLeft') ? 1 : 0);
  own.moving = keys.size > 0 || pointer !== null;
  if (own.moving) sail(own, pointer ? turnTo(own, pointer) : turn, seconds);
}

/** Each bot heads for the buoy with an error of its own, which wanders. */
function steerBot(bot, seconds) {
  bot.error = bot.error * 0.98 + (Math.random() - 0.5) * 30;
  const [x, y] = buoyAt(buoy);
  sail(bot, turnTo(bot, [x + bot.error * bot.skill, y - bot.error * bot.skill]) * 0.8, seconds);
}

const KEYS = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'];
canvas.onkeydown = (event) => { if (KEYS.includes(event.key)) { event.preventDefault(); keys.add(event.key); } };
canvas.onkeyup = (event) => keys.delete(event.key);
canvas.onblur = () => { keys.clear(); pointer = null; };
function point(event) {
  const box = canvas.getBoundingClientRect();
  pointer = [(event.clientX - box.left) / box.width * WIDTH, (event.clientY - box.top) / box.height * HEIGHT];
}
canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); point(event); };
canvas.onpointermove = (event) => { if (pointer) point(event); };
canvas.onpointerup = canvas.onpointercancel = () => { pointer = null; };

// --- Sending

const peers = new Peers(client, 'demo:live:game:windows', () => ({ bots: Number($('bots').value) }), (state) => { if (state.botsSet) setBots(state.bots); });
let sentAt = performance.now(), idleSince = 0;

function send(boat, more = {}) {
  const { id, name, x, y, angle, score } = boat;
  client.publish(CHANNEL, { id, name, x: Math.round(x), y: Math.round(y), angle: Number(angle.toFixed(2)), score, buoy, ...more }).catch(() => {});
}

setInterval(() => {
  const now = performance.now(), seconds = Math.min((now - sentAt) / 1000, 0.2);
  sentAt = now;
  if (client.state !== 'open') return;
  steer(seconds);
  own.name = me.name;
  if (own.moving || now - idleSince > 1000) {   // an idle boat says once a second that it is there
    send(own, { sent: now });
    idleSince = now;
  }
  const count = peers.leads ? Number($('bots').value) : 0;
  while (bots.length < count) bots.push(newBot(bots.length));
  bots.length = count;
  for (const bot of bots) { steerBot(bot, seconds); send(bot); }
}, SEND_EVERY);

/** Goes on with the boat of a window that has left. */
function newBot(index) {
  const id = `bot-${index}`, name = BOT_NAMES[index % BOT_NAMES.length] + (index < BOT_NAMES.length ? '' : ` ${Math.floor(index / BOT_NAMES.length) + 1}`);
  const known = boats.get(id) ?? { x: Math.random() * WIDTH, y: Math.random() * HEIGHT, angle: Math.random() * 6.28, score: 0 };
  return { ...known, id, name, error: 0, skill: 0.6 + Math.random() * 4 };
}
function setBots(count) {
  if (!(count >= 0 && count <= 60)) return;
  $('bots').value = count;
  $('bots-value').textContent = count;
}
$('bots').oninput = () => {
  setBots(Number($('bots').value));
  peers.announce({ botsSet: true });
};

// --- Painting

fit(canvas);
let paintedAt = performance.now(), zoom = 1;   // boats stay large enough to be seen on a phone
eachFrame((now) => {
  const seconds = Math.min((now - paintedAt) / 1000, 0.1);
  paintedAt = now;
  const context = canvas.getContext('2d'), scale = canvas.width / WIDTH;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  zoom = Math.max(1, 0.6 * WIDTH / canvas.clientWidth);
  paintBuoy(context, now);
  for (const [id, boat] of boats) {
    if (now - boat.seen > FORGET_AFTER) { boats.delete(id); continue; }
    approach(boat, seconds);
    paintBoat(context, boat.shownX, boat.shownY, boat.angle, boat.name, id.startsWith('bot-') ? '' : boat.name);
  }
  paintBoat(context, own.x, own.y, own.angle, me.name, me.name, true);
});

/** The shown place follows the last one received; across the edge it jumps. */
function approach(boat, seconds) {
  const [dx, dy] = [boat.x - boat.shownX, boat.y - boat.shownY], share = Math.min(1, seconds * 14);
  const isFar = Math.abs(dx) > WIDTH / 3 || Math.abs(dy) > HEIGHT / 3;
  boat.shownX = isFar ? boat.x : boat.shownX + dx * share;
  boat.shownY = isFar ? boat.y : boat.shownY + dy * share;
}

function paintBoat(context, x, y, angle, name, label, isOwn = false) {
  context.save();
  context.translate(x, y);
  context.rotate(angle);
  context.scale(zoom, zoom);
  context.beginPath();
  context.moveTo(20, 0);
  context.quadraticCurveTo(4, 11, -15, 8);
  context.lineTo(-15, -8);
  context.quadraticCurveTo(4, -11, 20, 0);
  context.fillStyle = colour(name);
  context.fill();
  if (isOwn) {
    context.lineWidth = 3;
    context.strokeStyle = styleColour('ink');
    context.stroke();
  }
  context.restore();
  if (!label) return;
  context.font = `600 ${Math.max(20, 12.5 * WIDTH / canvas.clientWidth)}px system-ui, sans-serif`;
  context.textAlign = 'center';
  context.fillStyle = styleColour('ink');
  context.fillText(isOwn ? `${label} (you)` : label, x, y - 22 * zoom);
}

function paintBuoy(context, now) {
  const [x, y] = buoyAt(buoy);
  context.beginPath();
  context.arc(x, y, REACH + (isStill() ? 0 : Math.sin(now / 300) * 4), 0, 2 * Math.PI);
  context.lineWidth = 3;
  context.strokeStyle = styleColour('wait');
  context.stroke();
  context.beginPath();
  context.arc(x, y, 11, 0, 2 * Math.PI);
  context.fillStyle = styleColour('wait');
  context.fill();
}

// --- Figures

setInterval(() => {
  const all = [...boats.values(), { ...own, name: me.name }].filter(({ name }) => name);
  $('boats').textContent = boats.size + 1;
  $('rate').textContent = received;
  received = 0;
  $('latency').textContent = roundTrip === undefined ? '–' : `${roundTrip.toFixed(0)} ms`;
  all.sort((a, b) => b.score - a.score || a.name.localeCompare(b.name));
  $('scores').replaceChildren(...all.slice(0, SCORES_SHOWN).map(({ id, name, score }) => {
    const item = make('li');
    item.append(tint(make('bdi', 'who', name), name), make('span', 'soft', id === me.id ? `you, ${score}` : score));
    return item;
  }));
}, 1000);

nameField($('name'));
showShell($('shell'), CHANNEL, '{"id":"shell","name":"Shell","x":600,"y":450,"angle":0}');
