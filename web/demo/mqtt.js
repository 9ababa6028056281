// MQTT 3.1.1 over a WebSocket, as much as a small device needs: publish and subscribe with QoS 0, pings, and a new connection
// when one is lost. Sections are those of the OASIS standard "MQTT Version 3.1.1".

const CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, SUBSCRIBE = 0x82, SUBACK = 0x90, PINGREQ = 0xc0, DISCONNECT = 0xe0;
const KEEP_ALIVE = 10;               // seconds
const PACKET_BYTES_MAX = 64 * 1024;  // of a packet that arrives
const RETRY_FIRST = 500, RETRY_MAX = 8000;   // milliseconds before a new connection, doubled with each failure
const REFUSALS = { 4: 'The token is invalid.', 5: 'This needs a token with the right channels.' };   // codes of CONNACK

const encoder = new TextEncoder(), decoder = new TextDecoder();

/** A string, with its length before it (section 1.5.3). */
function string(text) {
  const bytes = encoder.encode(text);
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
}

/** Type and flags, the length of the rest with seven bits in each byte, and the rest (section 2.2). */
function packet(first, rest = []) {
  const length = [];
  for (let left = rest.length; !length.length || left; left >>= 7) length.push((left & 127) | (left > 127 ? 128 : 0));
  return new Uint8Array([first, ...length, ...rest]);
}

/** The first packet in the bytes; null where they end before it does. */
function firstPacket(bytes) {
  let length = 0, at = 1;
  do {
    if (at >= bytes.length) return null;
    length |= (bytes[at] & 127) << (7 * (at - 1));
  } while (bytes[at++] > 127 && at < 5);
  if (length > PACKET_BYTES_MAX) throw new RangeError(`A packet has ${length} bytes.`);
  return bytes.length < at + length ? null : { type: bytes[0] & 0xf0, body: bytes.subarray(at, at + length), end: at + length };
}

export class Mqtt {
  #options; #socket; #bytes; #pinging; #retrying; #failures = 0; #heard = false;
  /** Whether the node has accepted the connection. */
  isOpen = false;

  /** Connects, and subscribes to `topics` on each connection. `message(topic, text)`: called for each publication; `state(isOpen, why)`: for each change. */
  constructor({ url, clientId, token, topics = [], message = () => {}, state = () => {} }) {
    this.#options = { url, clientId, token, topics, message, state };
    this.#connect();
  }

  /** Sends the publication. Without a connection it is dropped, and the answer is false. */
  publish(topic, text) {
    if (this.isOpen) this.#socket.send(packet(PUBLISH, [...string(topic), ...encoder.encode(text)]));
    return this.isOpen;
  }

  close() {
    if (this.isOpen) this.#socket.send(packet(DISCONNECT));
    this.#end();
    clearTimeout(this.#retrying);
  }

  #connect() {
    const { url, clientId, token } = this.#options, socket = new WebSocket(url, 'mqtt');
    const flags = token ? 0xc2 : 0x02;   // a clean session; user name and password
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => socket.send(packet(CONNECT, [...string('MQTT'), 4, flags, 0, KEEP_ALIVE, ...string(clientId), ...(token ? [...string('token'), ...string(token)] : [])]));
    socket.onmessage = ({ data }) => this.#receive(new Uint8Array(data));
    socket.onclose = ({ code, reason }) => this.#lost(`The connection was lost (${code}${reason ? `: ${reason}` : ''}).`);
    this.#bytes = new Uint8Array();
    this.#socket = socket;
    this.#heard = true;
    this.#pinging = setInterval(() => this.#ping(), KEEP_ALIVE * 1000);
  }

  /** A frame may hold a part of a packet, or several (section 6). */
  #receive(bytes) {
    this.#heard = true;
    this.#bytes = new Uint8Array([...this.#bytes, ...bytes]);
    try {
      for (let next = firstPacket(this.#bytes); next; next = firstPacket(this.#bytes)) {
        this.#bytes = this.#bytes.slice(next.end);
        this.#take(next);
      }
    } catch (error) { this.#lost(error.message); }
  }

  #take({ type, body }) {
    const { topics, message, state } = this.#options;
    if (type === CONNACK) {
      if (body[1]) throw new Error(REFUSALS[body[1]] ?? `Refused with ${body[1]}.`);
      this.isOpen = true;
      this.#failures = 0;
      if (topics.length) this.#socket.send(packet(SUBSCRIBE, [0, 1, ...topics.flatMap((topic) => [...string(topic), 0])]));
      state(true, '');
    } else if (type === SUBACK && body.subarray(2).includes(0x80)) {
      state(true, 'A subscription was refused.');
    } else if (type === PUBLISH) {
      const end = 2 + (body[0] << 8 | body[1]);
      message(decoder.decode(body.subarray(2, end)), decoder.decode(body.subarray(end)));
    }
  }

  #ping() {
    if (!this.#heard) return this.#lost('The node does not answer.');
    this.#heard = false;
    if (this.isOpen) this.#socket.send(packet(PINGREQ));
  }

  #lost(why) {
    this.#end();
    const wait = Math.min(RETRY_MAX, RETRY_FIRST * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#retrying = setTimeout(() => this.#connect(), wait);
    this.#options.state(false, why);
  }

  #end() {
    this.isOpen = false;
    clearInterval(this.#pinging);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}
