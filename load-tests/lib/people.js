// People in rooms, and what they say.
import { metrics } from './run.js';

const SAYINGS = [
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
 * At random all over the run, as people do, but always the same number of them: so everyone knows how many
 * messages to expect, and the last one lost is noticed like any other.
 */
export function momentsToSpeak(run, messages) {
  return Array.from({ length: messages }, () => run.start + Math.random() * (run.end - run.start)).sort((a, b) => a - b);
}

/** Lets `client` say something at each of the moments. */
export function say(client, { run, me, channel, moments }) {
  let said = 0;
  let timer;

  function wait() {
    if (said < moments.length) timer = setTimeout(speak, Math.max(0, moments[said] - Date.now()));
  }

  function speak() {
    client.publish(channel, { run: run.id, from: me, seq: said, sent: Date.now(), text: SAYINGS[said % SAYINGS.length] });
    metrics.published.add(1);
    said += 1;
    wait();
  }

  wait();
  return { stop: () => clearTimeout(timer) };
}
