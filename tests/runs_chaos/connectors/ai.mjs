// The AI SDK's doors: `GET /ai/{channel}/stream`, and the subprotocol `tidegate.v1.ai`. Both begin at the first publication each time.

import { EventReader, get } from './http.mjs';
import { openSocket } from './socket.mjs';

/** Milliseconds until a viewer asks again for a run that has not begun. */
const NOT_BEGUN = 120;

/** What the node says where the history is too short. */
const CUT = 'the beginning of the run is no longer kept';

/** What a chat is told where something is missing, and where the node cannot answer now: the viewer asks again. */
const MISSING = /publications may be missing/;
const UNAVAILABLE = /redis|broker|unavailable/;

/** Reads chunks in the order in which the SDK demands them. */
class Chunks {
  #state = 'before';

  constructor(channel, note) { Object.assign(this, { channel, note }); }

  get isOver() { return this.#state === 'over'; }

  read(chunk) {
    const { type, delta, data, errorText } = chunk;
    const expect = (...states) => { if (!states.includes(this.#state)) this.note({ kind: 'breach', channel: this.channel, text: `${JSON.stringify(chunk).slice(0, 200)} while ${this.#state}` }); };
    switch (type) {
      case 'start': expect('before'); this.#state = 'started'; break;
      case 'text-start': expect('started'); this.#state = 'in text'; break;
      case 'text-delta': expect('in text'); this.note({ kind: 'text', channel: this.channel, bytes: Buffer.from(delta) }); break;
      case 'text-end': expect('in text'); this.#state = 'started'; break;
      case 'data-binary': expect('started', 'in text'); this.note({ kind: 'text', channel: this.channel, bytes: Buffer.from(data, 'base64'), isBinary: true }); break;
      case 'finish': this.#end(expect, 'done'); break;
      case 'abort': this.#end(expect, 'stopped'); break;
      case 'error': this.#end(expect, errorText); break;
      default: this.note({ kind: 'breach', channel: this.channel, text: `a chunk ${type}` });
    }
  }

  #end(expect, reason) {
    expect('started');
    this.#state = 'over';
    this.note({ kind: 'ended', channel: this.channel, reason });
  }
}

export const ai = {
  resumes: false,
  connect({ url, starts, note, over, isCurrent }) {
    const [channel] = starts.keys();
    const chunks = new Chunks(channel, note);
    let isDone = false;
    const reader = new EventReader(({ data }) => {
      if (!isCurrent() || data === undefined) return;
      if (isDone) note({ kind: 'breach', channel, text: `${data} after [DONE]` });
      if (data === '[DONE]') isDone = true;
      else chunks.read(JSON.parse(data));
    });
    return get(`${url}/ai/${channel}/stream?ended=true`, {
      note, over,
      data: (text) => reader.read(text),
      ended: () => {
        if (isDone !== chunks.isOver || !isDone) note({ kind: 'breach', channel, text: 'the body is complete, and its stream is not' });
        if (!isDone) over('the stream ended');
      },
      refused: (status, text) => {
        if (status === 204) { over('there is no run', NOT_BEGUN); return true; }
        if (status !== 404 || !text.includes(CUT)) return false;
        // It gets nothing of this run any more, until it reloads.
        note({ kind: 'gap', channel, reason: 'cut' });
        return true;
      },
    });
  },
};

export const aiSocket = {
  resumes: false,
  connect({ url, starts, note, over, isCurrent }) {
    const [channel] = starts.keys();
    const chunks = new Chunks(channel, note);
    let sequence = 0;
    let isOver = false;
    const opened = (socket) => socket.send(JSON.stringify({ type: 'resume', requestId: 'r', id: channel, body: { ended: true } }));
    const message = (bytes) => {
      if (!isCurrent()) return;
      const { type, requestId, chunk, errorText, ...it } = JSON.parse(bytes);
      if (requestId !== 'r' || isOver) note({ kind: 'breach', channel, text: `${type} of ${requestId}${isOver ? ' after the end' : ''}` });
      if (type === 'chunk') {
        if (it.sequence !== sequence) note({ kind: 'breach', channel, text: `sequence ${it.sequence} in place of ${sequence}` });
        sequence += 1;
        chunks.read(chunk);
      } else if (type === 'end') {
        isOver = true;
        if (!chunks.isOver) note({ kind: 'breach', channel, text: 'an end before the last chunk' });
      } else if (type === 'no-active') over('there is no run', NOT_BEGUN);
      else if (type === 'error') {
        if (errorText.includes(CUT)) { note({ kind: 'gap', channel, reason: 'cut' }); return; }
        if (MISSING.test(errorText)) note({ kind: 'gap', channel, reason: errorText });
        else if (!UNAVAILABLE.test(errorText)) note({ kind: 'breach', channel, text: `error: ${errorText}` });
        over(errorText, NOT_BEGUN);
      } else if (type !== 'start') note({ kind: 'breach', channel, text: `a frame ${type}` });
    };
    return openSocket(`${url.replace('http', 'ws')}/ws`, { protocol: 'tidegate.v1.ai', note, over, opened, message });
  },
};
