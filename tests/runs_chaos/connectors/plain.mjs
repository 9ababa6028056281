// The plain protocol: each frame is a piece. It has no positions for a client, so each connection begins at the first publication.

import { openSocket } from './socket.mjs';

export const plain = {
  resumes: false,
  connect({ url, starts, note, over }) {
    const [channel] = starts.keys();
    const message = (data, isBinary) => note({ kind: 'text', channel, bytes: data, isBinary });
    const closed = (code, reason) => {
      if (code === 1013) note({ kind: 'gap', channel, reason: String(reason) });
      if (code !== 1000) return false;
      note({ kind: 'ended', channel, reason: String(reason) });
      return true;
    };
    const upgraded = ({ headers }) => note({ kind: 'begun', channel, to: headers['tidegate-position'], recovered: { true: true, false: false }[headers['tidegate-recovered']] });
    return openSocket(`${url.replace('http', 'ws')}/ws/${channel}?since=first&gap=close`, { note, over, message, closed, upgraded });
  },
};
