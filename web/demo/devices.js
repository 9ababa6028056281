// Devices: status in, commands out. One of the windows that are looked at plays the devices.

import { $, clock, make, me, newId, open, showShell } from '/demo/page.js';
import { Peers } from '/demo/peers.js';

const STATUS = 'demo:live:devices', COMMANDS = 'demo:devices:commands';
const STATUS_EVERY = 500;              // milliseconds
const OFFLINE_AFTER = 3000;
const ROWS_MAX = 60;
const COMMANDS_KEPT = 50;

/** What the panel shows of each device: its settings, and a reading that the device makes of them. */
const DEVICES = {
  gate: { title: 'Tide gate', settings: { open: { label: 'Opening', unit: '%', min: 0, max: 100, step: 5, start: 40 } }, reading: { label: 'Flow', unit: 'm³/s' } },
  pump: { title: 'Pump', settings: { on: { label: 'Running', start: true }, speed: { label: 'Speed', unit: 'rpm', min: 300, max: 1500, step: 50, start: 900 } }, reading: { label: 'Pressure', unit: 'bar' } },
  boiler: { title: 'Boiler', settings: { target: { label: 'Target', unit: '°C', min: 30, max: 80, step: 1, start: 55 } }, reading: { label: 'Temperature', unit: '°C' } },
  lamp: { title: 'Harbour lamp', settings: { on: { label: 'Lit', start: true }, bright: { label: 'Brightness', unit: '%', min: 5, max: 100, step: 5, start: 80 } }, reading: { label: 'Power', unit: 'W' } },
};

const client = open();
const cards = new Map();               // id of a device to its card
const sent = new Map();                // id of a command to when it was sent

// --- The panel

for (const [id, device] of Object.entries(DEVICES)) {
  const card = make('section', 'sheet device'), head = make('div', 'row'), mark = make('span', 'mark', 'not heard of yet');
  const title = make('h2', 'grow', device.title), value = make('p', 'reading', '–');
  title.id = `device-${id}`;
  card.setAttribute('aria-labelledby', title.id);
  head.append(title, mark);
  card.append(head, make('p', 'soft', device.reading.label), value);
  const inputs = new Map();
  for (const [key, setting] of Object.entries(device.settings)) {
    const input = make('input'), label = make('label'), shown = make('b');
    input.id = `${id}-${key}`;
    label.htmlFor = input.id;
    if (setting.unit) {
      Object.assign(input, { type: 'range', min: setting.min, max: setting.max, step: setting.step, value: setting.start });
      label.append(`${setting.label}: `, shown);
      card.append(label, input);
    } else {
      input.type = 'checkbox';
      const line = make('div', 'row');
      label.append(setting.label);
      line.append(input, label);
      card.append(line);
    }
    input.oninput = () => { shown.textContent = `${input.value} ${setting.unit}`; };
    input.onchange = () => command(id, { [key]: setting.unit ? Number(input.value) : input.checked });
    inputs.set(key, { input, shown, setting });
  }
  const pending = make('p', 'soft pending');
  pending.role = 'status';
  card.append(pending);
  $('panel').append(card);
  cards.set(id, { mark, value, inputs, pending, seen: 0, waiting: null });
}

async function command(device, set) {
  const id = newId(), card = cards.get(device);
  sent.set(id, performance.now());
  if (sent.size > ROWS_MAX) sent.delete(sent.keys().next().value);
  card.waiting = id;
  card.pending.textContent = 'sent …';
  try { await client.publish(COMMANDS, { id, device, set, from: me.name }); } catch (error) {
    card.waiting = null;
    card.pending.textContent = `Not sent: ${error.message}`;
  }
}

function showStatus({ device, set = {}, reading, done = [] }) {
  const card = cards.get(device);
  if (!card) return;
  card.seen = performance.now();
  card.value.textContent = `${Number(reading).toFixed(1)} ${DEVICES[device].reading.unit}`;
  if (card.waiting && done.includes(card.waiting)) {
    const took = performance.now() - sent.get(card.waiting);
    $('latency').textContent = `${took.toFixed(0)} ms`;
    card.pending.textContent = `done after ${took.toFixed(0)} ms`;
    card.waiting = null;
  }
  if (card.waiting) return;            // the status may be older than the command
  for (const [key, { input, shown, setting }] of card.inputs) {
    if (!(key in set) || input.matches(':active')) continue;
    if (!setting.unit) input.checked = Boolean(set[key]);
    else {
      input.value = set[key];
      shown.textContent = `${input.value} ${setting.unit}`;
    }
  }
}

setInterval(() => {
  for (const { mark, seen } of cards.values()) {
    const text = !seen ? 'not heard of yet' : performance.now() - seen > OFFLINE_AFTER ? 'offline' : 'online';
    if (mark.textContent !== text) mark.textContent = text;
    mark.classList.toggle('on', text === 'online');
  }
}, 500);

// --- Messages

const log = $('log');
let lastStatusShown = 0;
const shownDone = new Set();           // ids of commands, at most as many as `sent`
function row(kind, channel, data) {
  const line = make('div', `frame ${kind}`), mark = make('span', 'mark', kind === 'out' ? '→' : '←');
  mark.role = 'img';
  mark.ariaLabel = kind === 'out' ? 'command' : 'status';
  const body = make('div', 'body raw', JSON.stringify(data).slice(0, 300));
  line.title = channel;
  line.append(mark, body, make('time', '', clock(Date.now())));
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  while (log.childElementCount > ROWS_MAX) log.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

client.subscribe(STATUS, ({ data }) => {
  if (typeof data?.device !== 'string') return;
  showStatus(data);
  const now = performance.now(), done = data.done?.at(-1);
  const isAnswer = sent.has(done) && !shownDone.has(done);
  if (now - lastStatusShown < 900 && !isAnswer) return;   // not each one: there are eight a second
  row('in', STATUS, data);
  lastStatusShown = now;
  if (isAnswer) shownDone.add(done);
});

// --- The devices themselves

const played = new Map(Object.entries(DEVICES).map(([id, { settings }]) => [id, {
  set: Object.fromEntries(Object.entries(settings).map(([key, { start }]) => [key, start])), reading: undefined, done: [],
}]));

const READINGS = {
  gate: ({ open: opening }) => opening * 0.42,
  pump: ({ on, speed }) => (on ? speed / 300 : 0.2),
  boiler: ({ target }, last = 45) => last + (target - last) * 0.06,
  lamp: ({ on, bright }) => (on ? bright * 1.2 : 0),
};

/** Every window executes the commands, so that any of them can go on playing the devices. */
client.subscribe(COMMANDS, { last: COMMANDS_KEPT }, ({ data }) => {
  const device = played.get(data?.device);
  if (!device || typeof data.set !== 'object' || data.set === null) return;
  row('out', COMMANDS, data);
  for (const [key, value] of Object.entries(data.set)) {
    const setting = DEVICES[data.device].settings[key];
    if (!setting) continue;
    if (!setting.unit) device.set[key] = Boolean(value);
    else if (Number.isFinite(Number(value))) device.set[key] = Math.min(setting.max, Math.max(setting.min, Number(value)));
  }
  device.done = [...device.done, data.id].slice(-5);
  if (peers.leads) report(data.device, device);
});

const peers = new Peers(client, 'demo:live:devices:windows', () => ({}), () => {});

function report(id, device) {
  const exact = READINGS[id](device.set, device.reading);
  device.reading = exact;
  client.publish(STATUS, { device: id, set: device.set, reading: Number((exact * (1 + (Math.random() - 0.5) * 0.02)).toFixed(2)), done: device.done }).catch(() => {});
}

setInterval(() => {
  const plays = peers.leads && client.state === 'open';
  if (plays) for (const [id, device] of played) report(id, device);
  const heard = [...cards.values()].some(({ seen }) => performance.now() - seen < OFFLINE_AFTER);
  const text = plays ? 'This window plays the devices.' : heard ? 'Another window plays the devices.' : 'Looking for devices …';
  if ($('source').textContent !== text) $('source').textContent = text;
}, STATUS_EVERY);

showShell($('shell'), COMMANDS, '{"device":"lamp","set":{"on":false}}');
