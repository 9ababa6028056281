import { RFC6455_NORMAL, WebSocket, address, params, parsed } from './tidegate.js';

/** A client of the plain protocol: each message is published unchanged. Has the callbacks of a `Client` without `stays`. */
export class PlainClient {
  constructor({ channels: [channel], index = 0, echo = true }, on) {
    const socket = new WebSocket(`${address(index)}/ws/${encodeURIComponent(channel)}${echo ? '' : '?echo=false'}`, null, params);
    Object.assign(this, { socket, on });
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.readyAt = Date.now();
      on.ready();
    };
    socket.onmessage = ({ data }) => {
      const payload = parsed(data);
      if (payload) on.publication(payload, channel);
    };
    socket.onerror = (event) => this.end(`socket: ${event.error}`);
    socket.onclose = (event) => this.end(`closed with ${event.code} ${event.reason || ''}`.trim());
  }

  publish(channel, payload) {
    this.socket.send(JSON.stringify(payload));
  }

  close() {
    this.closing = true;
    this.socket.close(RFC6455_NORMAL);
  }

  end(reason) {
    if (this.ended) return;
    this.ended = true;
    if (!this.closing) this.on.failed(reason);
    this.on.closed(this.closing === true);
  }
}
