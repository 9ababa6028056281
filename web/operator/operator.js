// The operator's page of one node: reads /metrics, /readyz and /api of the listener that served it.

const INTERVAL = 2000;         // milliseconds between two readings
const SAMPLES_MAX = 31;        // readings kept: a minute
const TIMEOUT = 5000;          // milliseconds until a request counts as unanswered
const TOP_LIMIT = 10;          // channels in the list
const KEY = 'tidegate.internal.api_key';

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, notation: 'compact' });
const percent = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 0 });

const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };

function element(name, content, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}

function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(count, 1)) / 10)));
  const value = count / 1024 ** step;
  return `${value >= 100 || step === 0 ? whole.format(value) : value.toPrecision(3)} ${units[step]}`;
}

function seconds(value) {
  if (value < 1e-3) return `${whole.format(value * 1e6)} µs`;
  return value < 1 ? `${(value * 1e3).toPrecision(value < 0.1 ? 2 : 3)} ms` : `${value.toPrecision(3)} s`;
}

function duration(value) {
  const [days, hours, minutes] = [value / 86400, value / 3600 % 24, value / 60 % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(value)} s`;
}

// ---- Requests

let key = sessionStorage.getItem(KEY);
/** The listener has answered 401. No request needs the key again until another one is given: each refusal is counted. */
let refused = false;

class Refusal extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function request(path, options = {}) {
  const response = await fetch(path, { ...options, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT) });
  return { status: response.status, body: await response.text() };
}

/** A request to /api. Rejects with the message of the node where it refuses. */
async function api(path, options = {}) {
  if (refused) throw new Refusal(401, 'The API key is missing: enter it above.');
  const { status, body } = await request(`api/${path}`, { ...options, headers: key ? { Authorization: `Bearer ${key}` } : {} });
  let answer = {};
  try { answer = JSON.parse(body); } catch { /* Not from the node: the status says enough. */ }
  if (status < 300) return answer;
  if (status === 401) askForKey(key ? 'The node refuses this API key (401).' : '');
  throw new Refusal(status, answer.error?.message ?? `HTTP status ${status}`);
}

function askForKey(why) {
  refused = true;
  key = null;
  sessionStorage.removeItem(KEY);
  text('key-error', why);
  $('key').hidden = false;
}

$('key').addEventListener('submit', (event) => {
  event.preventDefault();
  key = $('key-value').value.trim();
  sessionStorage.setItem(KEY, key);
  $('key-value').value = '';
  $('key').hidden = true;
  refused = false;
  refreshTop();
});

// ---- Metrics

/** The samples of a text exposition, by name; each with its labels. */
function parse(exposition) {
  const samples = new Map();
  for (const line of exposition.split('\n')) {
    const [, name, labels, value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (!name) continue;
    const pairs = [...(labels ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, it]) => [label, it]);
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({ labels: Object.fromEntries(pairs), value: Number(value) });
  }
  return samples;
}

const sum = (samples, name) => (samples.get(name) ?? []).reduce((total, it) => total + it.value, 0);

/** What a reading is kept as: the figures whose course is shown, or that are compared with earlier ones. */
function reading(samples) {
  const buckets = (name) => new Map((samples.get(`${name}_bucket`) ?? []).map((it) => [it.labels.le, it.value]));
  return {
    at: performance.now() / 1000,
    started: sum(samples, 'process_start_time_seconds'),
    connections: sum(samples, 'tidegate_connections'),
    received: sum(samples, 'tidegate_publications_received_total'),
    delivered: sum(samples, 'tidegate_publications_delivered_total'),
    sent: sum(samples, 'tidegate_sent_bytes_total'),
    read: sum(samples, 'tidegate_received_bytes_total'),
    cpu: sum(samples, 'process_cpu_seconds_total'),
    memory: sum(samples, 'process_resident_memory_bytes'),
    delivery: buckets('tidegate_delivery_duration_seconds'),
    probe: buckets('tidegate_broker_probe_rtt_seconds'),
    endings: endings(samples),
  };
}

function endings(samples) {
  const of = (name, what) => (samples.get(name) ?? []).map((it) => [`${what}: ${it.labels.reason.replaceAll('_', ' ')}`, it.value]);
  return new Map([...of('tidegate_connections_closed_total', 'closed'), ...of('tidegate_rejected_total', 'refused')]);
}

/** The quantile of what a histogram counted between two readings, interpolated within its bucket. Null: nothing. */
function quantile(before, after, share) {
  const bounds = [...after].map(([le, count]) => [le === '+Inf' ? Infinity : Number(le), count - (before?.get(le) ?? 0)]);
  bounds.sort(([a], [b]) => a - b);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const at = bounds.findIndex(([, count]) => count >= total * share);
  const [lower, below] = at > 0 ? bounds[at - 1] : [0, 0];
  const [upper, count] = bounds[at];
  return upper === Infinity ? lower : lower + (upper - lower) * (total * share - below) / (count - below);
}

/** The readings of the last minute. */
let readings = [];

function rates(figure) {
  return readings.slice(1).map((it, index) => (it[figure] - readings[index][figure]) / (it.at - readings[index].at));
}

/** Draws the values as an area from zero; the last minute is the width. */
function spark(id, values) {
  const max = Math.max(...values, 1e-9);
  const step = 100 / (SAMPLES_MAX - 2);
  const points = values.map((value, index) => `${(100 - (values.length - 1 - index) * step).toFixed(2)},${(29 - 27 * value / max).toFixed(2)}`);
  const svg = $(id);
  svg.setAttribute('viewBox', '0 0 100 30');
  if (points.length < 2) return svg.replaceChildren();
  const path = (kind, d) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    made.setAttribute('class', kind);
    made.setAttribute('d', d);
    return made;
  };
  const line = `M${points.join('L')}`;
  svg.replaceChildren(path('area', `${line}V30H${points[0].split(',')[0]}Z`), path('edge', line));
}

function show(samples) {
  const [first, last] = [readings[0], readings.at(-1)];
  const byProtocol = (samples.get('tidegate_connections') ?? []).filter((it) => it.value > 0);
  text('connections', whole.format(last.connections));
  text('connections-detail', byProtocol.map((it) => `${it.labels.protocol} ${whole.format(it.value)}`).join(', ') || 'none open');
  spark('connections-spark', readings.map((it) => it.connections));
  for (const [figure, format] of [['received', short.format], ['delivered', short.format], ['sent', bytes]]) {
    const course = rates(figure);
    text(figure, course.length ? format(course.at(-1)) : '–');
    text(`${figure}-detail`, `${format(last[figure])} in all`);
    spark(`${figure}-spark`, course);
  }
  const p99 = quantile(first.delivery, last.delivery, .99);
  const p50 = quantile(first.delivery, last.delivery, .5);
  text('latency', p99 === null ? '–' : seconds(p99));
  text('latency-detail', p99 === null ? 'no deliveries last minute' : `p50 ${seconds(p50)}, last minute`);
  spark('latency-spark', readings.slice(1).map((it, index) => quantile(readings[index].delivery, it.delivery, .99) ?? 0));
  const max = sum(samples, 'tidegate_memory_max_bytes');
  text('memory', last.memory ? bytes(last.memory) : '–');
  text('memory-detail', max ? `of ${bytes(max)}` : '');
  spark('memory-spark', readings.map((it) => it.memory));
  showFleet(samples, first, last);
  showProcess(samples, first, last);
  showEndings(first, last);
  showDrain(samples, last);
}

function list(id, rows) {
  $(id).replaceChildren(...rows.filter(Boolean).flatMap(([term, value, fails]) =>
    [element('dt', term), element('dd', value, { className: fails ? 'fails' : '' })]));
}

function showFleet(samples, first, last) {
  const probe = (share) => quantile(first.probe, last.probe, share) ?? quantile(null, last.probe, share);
  const nodes = sum(samples, 'tidegate_fleet_nodes');
  const unconfirmed = sum(samples, 'tidegate_subscriptions_wanted') - sum(samples, 'tidegate_subscriptions_confirmed');
  const mismatch = sum(samples, 'tidegate_rules_mismatch') > 0;
  const isUp = sum(samples, 'tidegate_broker_up') > 0;
  list('fleet', [
    ['Broker', `${brokerKind ?? ''} ${isUp ? 'works' : 'does not work'}`.trim(), !isUp],
    probe(.99) !== null && ['Round trip p50, p99', `${seconds(probe(.5))}, ${seconds(probe(.99))}`],
    ['Reconnects', whole.format(sum(samples, 'tidegate_broker_reconnects_total'))],
    ['Nodes in the fleet', whole.format(Math.max(nodes, 1))],
    ['Connections of the fleet', whole.format(Math.max(sum(samples, 'tidegate_fleet_connections'), last.connections))],
    ['Channels here', whole.format(sum(samples, 'tidegate_channels'))],
    ['Subscriptions here', whole.format(sum(samples, 'tidegate_subscriptions'))],
    unconfirmed > 0 && ['Channels not confirmed yet', whole.format(unconfirmed)],
    ['Rules', mismatch ? 'differ from other nodes' : 'as on all nodes', mismatch],
  ]);
}

function showProcess(samples, first, last) {
  const cpus = sum(samples, 'tidegate_cpus') || 1;
  // Whole seconds, so only the difference over many readings is a figure.
  const load = (last.cpu - first.cpu) / Math.max(last.at - first.at, 1) / cpus;
  const version = samples.get('tidegate_build_info')?.[0]?.labels.version ?? '';
  const [files, filesMax] = [sum(samples, 'process_open_fds'), sum(samples, 'process_max_fds')];
  const panics = sum(samples, 'tidegate_panics_total');
  const isRefused = sum(samples, 'tidegate_config_refused') > 0;
  list('process', [
    ['Version', version],
    ['Running for', last.started ? duration(Date.now() / 1000 - last.started) : '–'],
    ['CPU, last minute', `${percent.format(load)} of ${cpus} ${cpus === 1 ? 'core' : 'cores'}`],
    ['Read from clients', bytes(last.read)],
    ['Queued for sockets', bytes(sum(samples, 'tidegate_outbound_queue_bytes'))],
    filesMax > 0 && ['Open files', `${whole.format(files)} of ${whole.format(filesMax)}`, files > filesMax * .9],
    ['Slow consumers closed', whole.format(sum(samples, 'tidegate_slow_consumers_total'))],
    ['Configuration', isRefused ? 'the file is refused' : 'in force', isRefused],
    panics > 0 && ['Panics', whole.format(panics), true],
  ]);
}

function showEndings(first, last) {
  const rows = [...last.endings].filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a).map(([reason, count]) =>
    element('tr', [element('td', reason), element('td', whole.format(count)), element('td', whole.format(count - (first.endings.get(reason) ?? 0)))]));
  $('endings').replaceChildren(...rows.length ? rows : [element('tr', element('td', 'none so far', { colSpan: 3 }))]);
}

// ---- Readiness

let brokerKind;

function showReadiness({ ready, checks }) {
  $('state').dataset.state = ready ? 'ready' : 'unready';
  text('state', ready ? 'Ready' : 'Not ready');
  brokerKind = checks.broker?.kind;
  const figures = {
    drain: (it) => it.phase,
    broker: (it) => it.kind ?? 'works',
    memory: (it) => `${bytes(it.used_bytes)} of ${it.max_bytes ? bytes(it.max_bytes) : 'no limit'}`,
    lag: (it) => `${it.lag_ms} ms late, ${it.max_ms} ms allowed`,
  };
  const order = ['broker', 'memory', 'lag', 'drain'];
  const names = Object.keys(checks).sort((a, b) => order.indexOf(a) - order.indexOf(b));
  $('checks').replaceChildren(...names.map((name) =>
    element('li', [element('b', name), element('span', checks[name].why ?? figures[name]?.(checks[name]) ?? '')], { className: checks[name].ok ? '' : 'fails' })));
}

// ---- Busiest channels

async function refreshTop() {
  const by = $('top-by').value;
  try {
    showTop(by, await api(`top?by=${by}&limit=${TOP_LIMIT}`));
  } catch (error) {
    $('top').replaceChildren(element('tr', element('td', error.message, { colSpan: 3 })));
    text('top-detail', '');
  }
}

function showTop(by, { channels, seconds: covered, total }) {
  const each = (count) => by === 'subscribers' ? whole.format(count) : by === 'bytes' ? bytes(count / covered) : short.format(count / covered);
  text('top-unit', by === 'subscribers' ? 'Subscribers' : 'a second');
  const rows = channels.map(({ channel, count }) => element('tr', [
    element('td', element('button', channel, { className: 'link', type: 'button', title: 'Take this channel into the forms', onclick: () => choose(channel) })),
    element('td', each(count)),
    element('td', [element('meter', '', { max: Math.max(total, 1), value: count, ariaLabel: 'Share' }), element('span', percent.format(count / Math.max(total, 1)), { className: 'share' })]),
  ]));
  $('top').replaceChildren(...rows.length ? rows : [element('tr', element('td', 'no channel has subscribers here', { colSpan: 3 }))]);
  text('top-detail', covered ? `Within the last ${Math.round(covered)} s, on this node.` : 'Now, on this node.');
}

function choose(channel) {
  $('publish-channel').value = $('presence-channel').value = channel;
  $('presence').requestSubmit();
}

$('top-by').addEventListener('change', refreshTop);

// ---- Forms

function answered(id, message, fails = false) {
  text(id, message);
  $(id).classList.toggle('fails', fails);
}

$('publish').addEventListener('submit', async (event) => {
  event.preventDefault();
  answered('publish-answer', 'Publishing');
  try {
    const { position } = await api(`publish/${encodeURIComponent($('publish-channel').value)}`, { method: 'POST', body: $('publish-payload').value });
    answered('publish-answer', position ? `Published and kept, position ${position}.` : 'Published. The channel keeps no history.');
  } catch (error) {
    answered('publish-answer', error.message, true);
  }
});

$('presence').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('members').replaceChildren();
  answered('presence-answer', 'Looking up');
  try {
    const { members, truncated } = await api(`presence/${encodeURIComponent($('presence-channel').value)}`);
    const sessions = members.reduce((total, it) => total + it.sessions, 0);
    answered('presence-answer', `${whole.format(members.length)} ${members.length === 1 ? 'member' : 'members'}, ${whole.format(sessions)} ${sessions === 1 ? 'session' : 'sessions'}, on all nodes${truncated ? '; the list is cut off' : ''}.`);
    $('members').replaceChildren(...members.map(({ user, sessions: count, info }) =>
      element('li', [user ?? 'without a user', element('small', ` × ${count}`)], { title: info ? JSON.stringify(info) : '' })));
  } catch (error) {
    answered('presence-answer', error.message, true);
  }
});

// ---- Drain

/** The connections when this page's drain began, and the node's last phase. */
let drainFrom = null;
let drainPhase = 0;

function ask(title, question, yes) {
  text('ask-title', title);
  text('ask-text', question);
  text('ask-yes', yes);
  $('ask').returnValue = 'no';
  $('ask').showModal();
  return new Promise((done) => $('ask').addEventListener('close', () => done($('ask').returnValue === 'yes'), { once: true }));
}

$('drain').addEventListener('click', async () => {
  const { connections } = readings.at(-1) ?? { connections: 0 };
  const nodes = Number($('fleet').dataset.nodes);
  if (!await ask('Drain this node?', `Its ${whole.format(connections)} connections are asked to reconnect, and then the process exits. It does not come back by itself.`, 'Continue')) return;
  const others = nodes > 1 ? `${whole.format(nodes - 1)} other ${nodes === 2 ? 'node takes' : 'nodes take'} the clients.` : 'This node knows of no other node that could take its clients.';
  if (!await ask('Drain it now?', `${others} A drain cannot be stopped.`, 'Drain now')) return;
  try {
    const begun = await api('drain', { method: 'POST' });
    drainFrom = begun.connections;
    answered('drain-text', `Draining: ${whole.format(begun.connections)} connections within ${duration((begun.delay_ms + begun.period_ms) / 1000)}.`);
    refresh();
  } catch (error) {
    answered('drain-text', error.message, true);
  }
});

function showDrain(samples, { connections }) {
  $('fleet').dataset.nodes = sum(samples, 'tidegate_fleet_nodes');
  drainPhase = sum(samples, 'tidegate_drain_phase');
  $('drain').disabled = drainPhase > 0;
  if (!drainPhase) return;
  drainFrom ??= connections;
  $('drain-progress').hidden = false;
  $('drain-progress').value = drainFrom ? 1 - connections / drainFrom : 1;
  const phase = drainPhase === 1 ? 'Not ready, and closing connections in a moment' : 'Closing connections';
  answered('drain-text', `${phase}: ${whole.format(connections)} of ${whole.format(drainFrom)} are left.`);
}

// ---- The loop

let timer = null;
let lostSince = null;

async function refresh() {
  clearTimeout(timer);
  try {
    const [metrics, readiness] = await Promise.all([request('metrics'), request('readyz')]);
    const samples = parse(metrics.body);
    const now = reading(samples);
    if (readings.length && (now.started !== readings.at(-1).started || now.delivered < readings.at(-1).delivered)) readings = [];   // another process
    readings = [...readings, now].slice(-SAMPLES_MAX);
    lostSince = null;
    $('lost').hidden = true;
    showReadiness(JSON.parse(readiness.body));
    show(samples);
    if (!refused) await refreshTop();
  } catch (error) {
    lost(error);
  }
  if (!document.hidden) timer = setTimeout(refresh, readings.length < 2 ? INTERVAL / 2 : INTERVAL);
}

function lost(error) {
  lostSince ??= new Date();
  $('lost').hidden = false;
  $('state').dataset.state = 'unready';
  if (drainPhase) {
    text('state', 'Exited');
    text('lost', 'The node has drained and exited.');
    $('drain-progress').value = 1;
    answered('drain-text', 'The node has drained and exited.');
    return;
  }
  text('state', 'No answer');
  text('lost', `The node has not answered since ${lostSince.toLocaleTimeString()} (${error.message}). Trying again every 2 s.`);
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
text('address', location.host);
refresh();
