// People in chat rooms, and their messages.
import { metrics } from './run.js';

const TEXTS = [
  'hello',
  'Has anyone seen the tide table for tomorrow?',
  'Low water is at 06:12. 🌊',
  'Grüße aus dem Watt, bis später!',
  'I will be there, but not before the ferry: it is late again, they say, because of the fog out at the sands.',
];

export function roomOf(person, roomSize) {
  return Math.floor(person / roomSize);
}

/** All in the room of one of `people` persons; the last room may be smaller. */
export function membersOf(person, roomSize, people) {
  const first = roomOf(person, roomSize) * roomSize;
  return Array.from({ length: Math.min(roomSize, people - first) }, (_, index) => first + index);
}

/**
 * Random moments over the whole run, but always the same number of them, so that every subscriber knows how many
 * messages to expect and detects a lost last message as well.
 */
export function messageTimes(run, messages) {
  return Array.from({ length: messages }, () => run.start + Math.random() * (run.end - run.start)).sort((a, b) => a - b);
}

/** Publishes a message through `client` at each of the moments. */
export function publishAt(client, { run, me, channel, moments }) {
  let sent = 0;
  let timer;

  function wait() {
    if (sent < moments.length) timer = setTimeout(publishNext, Math.max(0, moments[sent] - Date.now()));
  }

  function publishNext() {
    client.publish(channel, { run: run.id, from: me, seq: sent, sent: Date.now(), text: TEXTS[sent % TEXTS.length] });
    metrics.published.add(1);
    sent += 1;
    wait();
  }

  wait();
  return { stop: () => clearTimeout(timer) };
}
