// Devices: status in, commands out. The devices speak MQTT (sensors.js); the panel speaks json, and so do all windows with each other.

import { $, bearer, clock, loadFacts, make, me, newId, open, pathOf, payloadText, quoted, showLines, token } from '/demo/page.js';
import { Peers } from '/demo/peers.js';
import { commandsOf, connectMqtt, DEVICES, Devices, remember, statusOf } from '/demo/sensors.js';

const LOOK_EVERY = 500;                // milliseconds
const OFFLINE_AFTER = 3000;
const REPEAT_AFTER = 2000;             // without the device's confirmation
const REPEATS_MAX = 30;
const ROWS_MAX = 60;

const client = open();
const cards = new Map();               // id of a device to its card

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

/** Sends a command, with the settings of the one before if the device has not confirmed that. */
function command(device, set) {
  const card = cards.get(device), began = performance.now();
  card.waiting = { id: newId().slice(0, 8), set: { ...card.waiting?.set, ...set }, began, sent: began, repeats: 0 };
  card.pending.textContent = 'sent …';
  send(device, card);
}

async function send(device, card) {
  const { id, set } = card.waiting;
  try { await client.publish(commandsOf(device), { id, set, from: me.name }); } catch (error) {
    if (card.waiting?.id !== id) return;
    card.waiting = null;
    card.pending.textContent = `Not sent: ${error.message}`;
  }
}

/** MQTT's QoS 0 delivers at most once, so a command that the device has not confirmed is sent again. Executing it twice does no harm. */
function repeat(device, card, now) {
  const { waiting } = card;
  if (!waiting || client.state !== 'open' || now - waiting.sent < REPEAT_AFTER) return;
  waiting.sent = now;
  waiting.repeats += 1;
  if (waiting.repeats > REPEATS_MAX) {
    card.waiting = null;
    card.pending.textContent = 'The device did not answer.';
  } else {
    card.pending.textContent = 'no answer yet, sent again …';
    send(device, card);
  }
}

function showStatus(device, { set = {}, reading, done = [] }) {
  const card = cards.get(device), { waiting } = card;
  card.seen = performance.now();
  card.value.textContent = `${Number(reading).toFixed(1)} ${DEVICES[device].reading.unit}`;
  remember(device, set);
  if (waiting && done.includes(waiting.id)) {
    const took = `${(performance.now() - waiting.began).toFixed(0)} ms`;
    $('latency').textContent = took;
    card.pending.textContent = `done after ${took}`;
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

// --- Messages

const log = $('log');
let lastStatusShown = 0;
const shownDone = new Map();           // a device's command that was last shown as done
function row(kind, channel, data) {
  const line = make('div', `frame ${kind}`), mark = make('span', 'mark', kind === 'out' ? '→' : '←');
  mark.role = 'img';
  mark.ariaLabel = kind === 'out' ? 'command' : 'status';
  const body = make('div', 'body raw', `${channel.split(':').at(-1)} ${JSON.stringify(data).slice(0, 300)}`);
  line.title = channel;
  line.append(mark, body, make('time', '', clock(Date.now())));
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  while (log.childElementCount > ROWS_MAX) log.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

for (const id of Object.keys(DEVICES)) {
  client.subscribe(commandsOf(id), ({ data }) => { if (data?.set) row('out', commandsOf(id), data); });
  client.subscribe(statusOf(id), (publication) => {
    const { data } = publication;
    if (typeof data?.reading !== 'number') return;
    showStatus(id, data);
    if (id === watched) showReader('json', payloadText(publication));
    const now = performance.now(), done = Array.isArray(data.done) ? data.done.at(-1) : undefined;
    const isAnswer = done !== undefined && shownDone.get(id) !== done;
    if (now - lastStatusShown < 900 && !isAnswer) return;   // not each one: there are eight a second
    row('in', statusOf(id), data);
    lastStatusShown = now;
    if (isAnswer) shownDone.set(id, done);
  });
}

// --- One publication, every protocol

let watched, readers = [], shown = {};

function showReader(name, text) {
  shown[name] = text;
  $(`by-${name}`).textContent = text;
  const { mqtt, json, sse } = shown;
  if (mqtt && mqtt === json && json === sse) $('same').textContent = `Publication ${JSON.parse(text).n} is the same in all three.`;
}

/** Reads the watched device's status by MQTT and by Server-Sent Events, beside the panel's json. Not in a hidden window: a browser has few streams to a host. */
function watch() {
  for (const reader of readers) reader.close();
  readers = [];
  if (document.hidden || client.state !== 'open') return;
  const channel = statusOf(watched), query = token ? `?token=${encodeURIComponent(token)}` : '';
  const source = new EventSource(`/sse/${pathOf(channel)}${query}`);
  source.onmessage = ({ data }) => showReader('sse', data);
  readers = [source, connectMqtt('panel', { topics: [channel], message: (_, text) => showReader('mqtt', text) })];
}

function choose() {
  watched = $('watched').value;
  shown = {};
  for (const name of ['mqtt', 'json', 'sse']) $(`by-${name}`).textContent = '–';
  $('same').textContent = '';
  $('topic').textContent = statusOf(watched);
  watch();
  showCommands();
}

/** The commands that read and switch the watched device from a shell, by each way into this node. */
async function showCommands() {
  const { command, prefix, mqtt } = await loadFacts();
  const status = statusOf(watched), commands = commandsOf(watched), payload = JSON.stringify({ set: DEVICES[watched].example });
  const password = token ? ' -u token -P "$TOKEN"' : '', redis = `redis-cli${command === 'SPUBLISH' ? ' -c' : ''}`;
  const { hostname, port, protocol } = location;
  const viaWebSocket = (verb) => `npx mqtt ${verb} -l ${protocol === 'https:' ? 'wss' : 'ws'} -h ${hostname} -p ${port || (protocol === 'https:' ? 443 : 80)} --path /ws${password}`;
  const [subscribe, publish, how] = mqtt
    ? [`mosquitto_sub${password} -L ${quoted(mqtt + status)}`, `mosquitto_pub${password} -L ${quoted(mqtt + commands)} -m ${quoted(payload)}`, 'MQTT over TCP:']
    : [`${viaWebSocket('sub')} -t ${quoted(status)}`, `${viaWebSocket('pub')} -t ${quoted(commands)} -m ${quoted(payload)}`, 'MQTT over a WebSocket:'];
  showLines($('reading'), 'Read it from a shell', [
    [how, subscribe],
    ['Server-Sent Events:', `curl -N${bearer()} ${quoted(`${location.origin}/sse/${pathOf(status)}`)}`],
    ...(command ? [['Redis:', `${redis} ${command === 'SPUBLISH' ? 'SSUBSCRIBE' : 'SUBSCRIBE'} ${quoted(prefix + status)}`]] : []),
  ]);
  showLines($('shell'), 'Switch it from a shell', [
    [how, publish],
    ['HTTP:', `curl${bearer()} -d ${quoted(payload)} ${quoted(`${location.origin}/publish/${pathOf(commands)}`)}`],
    ...(command ? [['Redis:', `${redis} ${command} ${quoted(prefix + commands)} ${quoted(payload)}`]] : []),
  ]);
  if (!mqtt) $('shell').append(make('p', 'soft', 'Start the node with --set mqtt.listen=127.0.0.1:1883 to use mosquitto_sub and mosquitto_pub.'));
}

for (const [id, { title }] of Object.entries(DEVICES)) $('watched').append(new Option(title, id, id === 'lamp', id === 'lamp'));
$('watched').onchange = choose;
document.addEventListener('visibilitychange', watch);
client.on('state', watch);
choose();

// --- The devices themselves

const peers = new Peers(client, 'demo:live:devices:windows', () => ({}), () => {});
const devices = new Devices();
let problem = '';                      // of the connection that changed last

function showSource() {
  const heard = [...cards.values()].some(({ seen }) => performance.now() - seen < OFFLINE_AFTER);
  const text = devices.arePlayed ? `This window plays the devices: ${devices.connected} of ${cards.size} are connected by MQTT.${devices.connected < cards.size ? problem : ''}`
    : heard ? 'Another window plays the devices, by MQTT.' : 'Looking for devices …';
  if ($('source').textContent !== text) $('source').textContent = text;
}

setInterval(() => {
  if (!peers.leads) devices.stop();
  else if (!devices.arePlayed && client.state === 'open') devices.play((isOpen, why) => { problem = isOpen ? '' : ` ${why}`; showSource(); });
  showSource();
  const now = performance.now();
  for (const [id, card] of cards) {
    const text = !card.seen ? 'not heard of yet' : now - card.seen > OFFLINE_AFTER ? 'offline' : 'online';
    if (card.mark.textContent !== text) card.mark.textContent = text;
    card.mark.classList.toggle('on', text === 'online');
    repeat(id, card, now);
  }
}, LOOK_EVERY);
