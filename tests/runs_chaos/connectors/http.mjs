// Requests over HTTP, each on a connection of its own, whose answer can be read as it comes.

import http from 'node:http';

/** Milliseconds without anything, also a comment, after which a stream is dead. Nodes send a comment each second. */
const SILENCE_MAX = 8000;

/** Statuses after which a viewer tries again. */
const RETRIED = [429, 503];

/**
 * `answered(status, headers)` returns whether the body is wanted, `data(text)` gets it as it comes, and `ended()` is called at its end, if it is
 * complete. `refused(status)` returns whether it has dealt with another status.
 */
export function get(url, { headers = {}, silenceMax = SILENCE_MAX, note, over, data, ended, refused = () => false }) {
  let timer = null;
  let paused = false;
  let body = null;
  const request = http.get(url, { headers, agent: false });
  const alive = () => {
    clearTimeout(timer);
    timer = paused ? null : setTimeout(() => request.destroy(new Error('silent')), silenceMax);
  };
  alive();
  request.on('error', (error) => { clearTimeout(timer); over(error.message); });
  request.on('response', (response) => {
    alive();
    response.setEncoding('utf8');
    response.on('error', (error) => { clearTimeout(timer); over(error.message); });
    if (response.statusCode !== 200) {
      let text = '';
      response.on('data', (more) => { text += more; });
      response.on('end', () => {
        clearTimeout(timer);
        if (refused(response.statusCode, text)) return;
        if (!RETRIED.includes(response.statusCode)) note({ kind: 'breach', text: `answered with ${response.statusCode} ${text}` });
        over(`answered with ${response.statusCode}`);
      });
      return;
    }
    body = response;
    if (paused) response.pause();
    response.on('data', (text) => { alive(); data(text); });
    response.on('end', () => { clearTimeout(timer); ended(); });
  });
  return {
    close: () => { clearTimeout(timer); request.removeAllListeners('error'); request.on('error', () => {}); body?.removeAllListeners(); body?.on('error', () => {}); request.destroy(); },
    pause: () => { paused = true; alive(); body?.pause(); },
    resume: () => { paused = false; alive(); body?.resume(); },
  };
}

/** Reads Server-Sent Events as browsers do: `event({ type, data, id })` for each, also one without data. */
export class EventReader {
  #rest = '';

  constructor(event) { this.event = event; }

  read(text) {
    this.#rest += text;
    for (;;) {
      const end = this.#rest.indexOf('\n\n');
      if (end < 0) return;
      const lines = this.#rest.slice(0, end).split('\n');
      this.#rest = this.#rest.slice(end + 2);
      const found = { type: 'message', data: [] };
      for (const line of lines) {
        if (line.startsWith(':')) continue;
        const at = line.indexOf(':');
        const [name, value] = at < 0 ? [line, ''] : [line.slice(0, at), line.slice(line[at + 1] === ' ' ? at + 2 : at + 1)];
        if (name === 'data') found.data.push(value);
        else if (name === 'id') found.id = value;
        else if (name === 'event') found.type = value;
      }
      this.event({ ...found, data: found.data.length ? found.data.join('\n') : undefined });
    }
  }
}
