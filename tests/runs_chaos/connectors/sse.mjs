// Server-Sent Events: of one channel, whose data are pieces, and of several, whose data are publications of the json protocol.

import { EventReader, get } from './http.mjs';
import { bytesOf } from './json.mjs';

/** What both have: gaps, ends, and the notice that the node closes the stream, which then ends. */
function other({ type, data, id }, note) {
  const { channel, reason, position } = JSON.parse(data);
  if (type === 'gap') note({ kind: 'gap', channel, reason });
  else if (type === 'ended') note({ kind: 'ended', channel, reason, position, id });
  else if (type !== 'reconnect') note({ kind: 'breach', text: `an event ${type}` });
}

export const sse = {
  resumes: true,
  /** `query` says where a stream without a position begins, if not at the first publication of a run. */
  connect({ url, starts, note, over, isCurrent, query = '' }) {
    const [[channel, from]] = starts;
    const reader = new EventReader((event) => {
      const { type, data, id } = event;
      if (!isCurrent()) return;
      if (data === undefined) {
        if (id) note({ kind: 'moved', channel, position: id });
      } else if (type === 'message' || type === 'binary') {
        note({ kind: 'text', channel, position: id, bytes: Buffer.from(data, type === 'binary' ? 'base64' : 'utf8'), isBinary: type === 'binary' });
      } else other(event, note);
    });
    const headers = from === 'first' ? {} : { 'last-event-id': from };
    return get(`${url}/sse/${channel}${query}`, { headers, note, over, data: (text) => reader.read(text), ended: () => over('the stream ended') });
  },
};

export const sseMany = {
  resumes: true,
  beginsNext: true,
  connect({ url, starts, note, over, viewer, isCurrent }) {
    const reader = new EventReader((event) => {
      const { type, data, id } = event;
      if (!isCurrent()) return;
      if (id) viewer.resumePoint = id;
      if (data === undefined) return;
      if (type === 'message') {
        const it = JSON.parse(data);
        note({ kind: 'text', channel: it.channel, position: it.position, ...bytesOf(it) });
      } else other(event, note);
    });
    const headers = viewer.resumePoint ? { 'last-event-id': viewer.resumePoint } : {};
    const query = [...starts.keys()].map((it) => `channel=${it}`).join('&');
    return get(`${url}/sse?${query}`, { headers, note, over, data: (text) => reader.read(text), ended: () => over('the stream ended') });
  },
};
