// Assistant: questions on one channel, and a run for each answer, which a worker publishes and ends. Every window shows all of them,
// and each may stop an answer.

import { $, clock, make, me, nameField, newId, open, payloadText, printable, showShell, tint } from '/demo/page.js';

const QUESTIONS = 'demo:assistant';
const SHOWN_MAX = 20;
const RUN = /^[a-z0-9]{1,40}$/;
const ENDS = { done: 'answered', stopped: 'stopped', abandoned: 'abandoned: the worker is gone' };

const client = open();
const shown = new Map();   // run -> { row, subscription }

const channelOf = (run) => `demo:run:${run}`;

/** A question is `{ run, text, from }`. A service may publish anything. */
function take({ data, time }) {
  if (typeof data?.text !== 'string' || !RUN.test(data.run) || shown.has(data.run)) return;
  shown.set(data.run, show(data, time ?? Date.now()));
  $('none').hidden = true;
  for (const [run, { row, subscription }] of [...shown].slice(0, -SHOWN_MAX)) {
    subscription.unsubscribe();
    row.remove();
    shown.delete(run);
  }
}

function show({ run, text, from }, at) {
  const row = make('li', 'note'), head = make('p', 'row'), when = make('time', '', clock(at)), name = String(from ?? 'a service').slice(0, 40);
  when.dateTime = new Date(at).toISOString();
  head.append(tint(make('bdi', 'who', name), name), make('span', 'grow', printable(text.slice(0, 500))), when);
  const answer = make('p', 'text answer'), foot = make('p', 'row'), status = make('span', 'soft grow status', 'waiting for a worker'), stop = make('button', 'small', 'Stop');
  status.role = 'status';
  stop.type = 'button';
  stop.setAttribute('aria-label', `Stop the answer to: ${text.slice(0, 80)}`);
  stop.onclick = async () => {
    stop.disabled = true;
    try { await client.publish(channelOf(run), { type: 'stop' }); } catch (error) {
      stop.disabled = false;
      status.textContent = `Not stopped: ${error.message}`;
    }
  };
  foot.append(status, stop);
  row.append(head, answer, foot);
  $('list').prepend(row);
  // From the first publication on, also after a reload; the node joins what is there.
  const subscription = client.subscribe(channelOf(run), { since: 'first' }, (publication) => {
    answer.append(printable(payloadText(publication)));
    status.textContent = 'answering';
  });
  subscription.on('gap', () => answer.append(' [a part is missing here] '));
  subscription.on('ended', ({ reason }) => {
    status.textContent = ENDS[reason] ?? `ended: ${reason}`;
    row.dataset.ended = reason;
    stop.hidden = true;
  });
  return { row, subscription };
}

$('composer').onsubmit = async (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  if (!text) return $('text').focus();
  $('fault').textContent = '';
  try {
    await client.publish(QUESTIONS, { run: newId(), text, from: me.name });
    $('text').select();
  } catch (error) { $('fault').textContent = `Not asked: ${error.message}`; }
};

client.subscribe(QUESTIONS, { last: SHOWN_MAX }, take);
nameField($('name'));
$('worker').textContent = `(cd examples && npm install && node assistant.mjs ${location.origin})`;
showShell($('shell'), QUESTIONS, '{"run":"shell1","text":"Is it high tide?"}');
