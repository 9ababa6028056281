// Long polls: one request after another, each from the position of the answer before.

import { get } from './http.mjs';
import { bytesOf } from './json.mjs';

/** Seconds that a poll waits for news, and milliseconds for its answer. */
const WAIT = 1;
const ANSWER_TIME_MAX = 8000;

export const poll = {
  resumes: true,
  connect({ url, starts, note, over, isCurrent }) {
    const [[channel, from]] = starts;
    let current = null;
    let since = from;
    let hasEnded = false;
    const next = () => {
      let text = '';
      current = get(`${url}/poll/${channel}?wait=${WAIT}s&since=${since}`, {
        silenceMax: ANSWER_TIME_MAX, note, over, data: (more) => { text += more; },
        ended: () => {
          if (!isCurrent()) return;
          const { publications, position, recovered, ended } = JSON.parse(text);
          if (recovered === false) note({ kind: 'gap', channel, reason: 'not recovered' });
          for (const it of publications) note({ kind: 'text', channel, position: it.position, ...bytesOf(it) });
          note({ kind: 'moved', channel, position, isChecked: true });
          if (ended && !hasEnded) note({ kind: 'ended', channel, reason: ended.reason, position });
          since = position;
          // Another poll of an ended run is answered at once with nothing but its end.
          if (!ended || !hasEnded) next();
          hasEnded ||= Boolean(ended);
        },
      });
    };
    next();
    return { close: () => current.close(), pause: () => current.pause(), resume: () => current.resume() };
  },
};
