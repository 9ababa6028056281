/**
 * The json protocol without a WebSocket: publications come by Server-Sent Events or long poll, commands go by requests.
 * To the core it is a WebSocket, so that reconnecting, resuming and resending are the same.
 */

import { decodeBase64, startOf, type Wire } from "./payload.js";
import { beginningOf, isNew } from "./position.js";
import { createHttpRequests, path, Refused, REQUEST_TIMEOUT } from "./http-requests.js";
import { readEvents, type ServerSentEvent } from "./event-stream.js";
import type { WebSocketLike } from "./types.js";

/** How publications come. */
export type HttpTransport = "sse" | "poll";

/** How long the beginning of a stream may take. A proxy that buffers answers holds it back. */
const STREAM_TIMEOUT = 5_000;

/** The node sends a comment each `session.ping_interval`, which it tells at the beginning of a stream. 25 s is its default. */
const COMMENT_INTERVAL = 25_000;
const COMMENT_INTERVAL_TOLD = /^ping_interval_ms=(\d{1,9})$/;
/** A stream that is silent for so long beyond that interval is dead. */
const SILENCE_MAX = 10_000;

/** The core asks after so much silence. Longer than the time between two comments or two answers to polls. */
const PING_INTERVAL = 40_000;

/** Streams at a time. Each addition of channels opens one, because restarting one would cost channels without history a gap. */
const STREAMS_MAX = 3;

/** Polls at a time: a browser has six connections to a host, and commands need some. */
const POLLS_MAX = 4;

/** Publications on their way at a time, each of another channel. */
const POSTS_MAX = 2;

/** How long a poll waits, in seconds: where each channel has its own, and where channels take turns. */
const POLL_WAIT = 25;
const POLL_WAIT_IN_TURN = 1;

/** How long the address of a stream may be: a node takes 16 KiB of head. */
const ADDRESS_CHARS_MAX = 8_000;

/** Publications in one answer to `history`, and how many answers are read to catch up. What needs more gets a gap. */
const HISTORY_LIMIT = 1_000;
const HISTORY_PAGES_MAX = 100;

const CUT = 1006;
const FAULT = 1011;
const DRAINED = 1012;
const OVERLOADED = 1013;
const UNAUTHORIZED = 4001;

/** What a socket tells about its transport. */
export interface Observer {
  /** Publications can come this way. */
  works(): void;
  /** No request gets through. */
  unreachable(): void;
  /** A stream has ended before it was of use: a fault, or a proxy that holds it back until its end. */
  endedEarly(): void;
  /** Requests get through, but streams do not. */
  blocksStreams(): void;
  /** While polling: a stream gets through. */
  passesStreams(): void;
  /** How long to wait before the next look whether streams get through, in milliseconds. */
  nextLook(): number;
}

/** What this module adds to a WebSocket. */
export interface HttpSocket extends WebSocketLike {
  /**
   * Ends the socket for another one, once the publications on their way are answered; what is behind them was not sent. `act` is
   * called right before the end.
   */
  leave(reason: string, act?: () => void, after?: number, code?: number): void;
}

/** A channel while it is subscribed to. */
interface Subscribed {
  channel: string;
  id: number;
  /** What it wants of the past. */
  since?: string;
  last?: number;
  /** The last position that was delivered. */
  position?: string;
  /** Where the stream begins, as the node tells: what is before is read from the history. undefined: an older node, or a poll. */
  beginsAt?: string;
  /** The last position that a poll has brought. */
  polledTo?: string;
  /** The answer to `subscribe` has been sent. */
  answered?: boolean;
  /** Publications that come before it, or before the client's own are known. undefined: delivered at once. */
  held?: Wire[];
  keepsNone?: boolean;
  /** The positions of this client's own publications that have not come yet. Absent: it wants to get them. */
  own?: Set<string>;
}

interface Stream {
  channels: Subscribed[];
  abort: AbortController;
}

interface Poll {
  subscribed: Subscribed;
  abort: AbortController;
}

/** `base`: the address of the node without `/ws`. */
export function createHttpSocket(base: string, transport: HttpTransport, observer: Observer): HttpSocket {
  const channels = new Map<string, Subscribed>();
  const http = createHttpRequests(base);
  let streams: Stream[] = [];
  let added: Subscribed[] = [];
  const polls = new Set<Poll>();
  let pollers = 0;
  let turn: Subscribed[] = [];
  let greeted = false;
  let over = false;
  /** Called once no publication is on its way. What waits behind them is left to the next socket. */
  let leaving: (() => void) | undefined;
  let lookTimer: any;
  /** Publications of a channel go one after the other, so that they keep their order. */
  let unsent: Wire[] = [];
  /** The channels of those that are on their way. */
  const posting = new Set<string>();

  /** Not unsubscribed, and not replaced. */
  const isCurrent = (subscribed: Subscribed) => channels.get(subscribed.channel) == subscribed;

  const receive = (frame: Wire) => over || socket.onmessage?.({ data: JSON.stringify(frame) });

  function end() {
    over = true;
    clearTimeout(lookTimer);
    http.abort();
  }

  function lose(code: number, reason: unknown) {
    if (over) return;
    end();
    socket.onclose?.({ code, reason: String((reason as Error)?.message ?? reason) });
  }

  /** Nothing was sent on this socket that is not sent again: the next one may follow at once. */
  function moveOn(reason: string) {
    receive({ type: "reconnect", after_ms: 0 });
    lose(CUT, reason);
  }

  /** A request failed: what that means for the connection. */
  function failed(error: unknown) {
    if (over) return;
    const status = error instanceof Refused ? error.status : 0;
    if (!status && !greeted) observer.unreachable();
    lose(status == 401 ? UNAUTHORIZED : status == 429 || status == 503 ? OVERLOADED : status ? FAULT : CUT, error);
  }

  function greet() {
    if (greeted || over) return;
    greeted = true;
    observer.works();
    receive({ type: "welcome", node: transport, session: "", ping_interval_ms: PING_INTERVAL });
    if (http.token) authenticated();
  }

  function authenticated() {
    receive({ type: "authenticated", id: 0, ...claims(http.token!) });
  }

  /** Whether requests get through: a node refuses a stream without channels, in its own words. */
  const check = (timeout?: number) => http.json("/sse", timeout).catch((error) => {
    if (!(error instanceof Refused) || !error.code) throw error;
  });

  /** Begins with the channels that were added since the last turn of the event loop. */
  function begin() {
    const list = added;
    added = [];
    if (over) return;
    if (!list.length) {
      if (!greeted) check().then(greet, failed);
    } else if (transport == "sse") {
      stream(list);
    } else {
      Promise.all(list.map((each) => catchUp(each))).then(() => {
        if (over) return;
        greet();
        turn.push(...list.filter(isCurrent));
        startPolls();
        lookForStreams();
      }, failed);
    }
  }

  async function stream(list: Subscribed[]) {
    const last = streams[STREAMS_MAX - 1];
    // Only a restart has room for them: its channels catch up like new ones.
    if (last) {
      last.abort.abort();
      streams = streams.filter((each) => each != last);
      for (const each of last.channels.filter(isCurrent)) {
        if (each.keepsNone) receive({ type: "gap", channel: each.channel, reason: "reconnected" });
        // Another object, so that a `catchUp` of the last stream that is not done yet ends. It has not moved the position.
        const again = { ...each, since: each.position ?? each.since, held: [], answered: false, beginsAt: undefined };
        channels.set(each.channel, again);
        list = [...list, again];
      }
    }
    const address = `/sse?subscribed=true&${list.map(({ channel }) => `channel=${encodeURIComponent(channel)}`).join("&")}`;
    if (address.length > ADDRESS_CHARS_MAX) {
      return list.forEach((each) => refuse(each, "limit_reached", "the names of the channels are too long for one stream"));
    }
    const own: Stream = { channels: list, abort: new AbortController() };
    streams.push(own);
    let arrived = false;
    let begun = false;
    let interval = COMMENT_INTERVAL;
    let timer = setTimeout(isHeldBack, STREAM_TIMEOUT);
    async function isHeldBack() {
      try {
        await check(STREAM_TIMEOUT);
      } catch (error) {
        // Nothing else gets through either.
        return failed(error);
      }
      if (over || arrived || own.abort.signal.aborted) return;
      observer.blocksStreams();
      if (greeted) lose(CUT, "a proxy holds the stream back");
      else moveOn("a proxy holds the stream back");
    }
    try {
      const read = (event: ServerSentEvent | undefined, comment: string) => {
        interval = Number(COMMENT_INTERVAL_TOLD.exec(comment)?.[1] ?? interval);
        clearTimeout(timer);
        // Each stream by itself: it may be the only one that is dead.
        timer = setTimeout(() => lose(CUT, "the stream is silent"), interval + SILENCE_MAX);
        arrived = true;
        const message = event && JSON.parse(event.data);
        const begins = event?.name == "subscribed" && list.find(({ channel }) => channel == message.channel);
        if (begins) begins.beginsAt = message.position;
        if (!begun && !comment && (!begins || begins == list.at(-1))) {
          // All channels are subscribed to now: what is older is read from the history.
          begun = true;
          Promise.all(list.map((each) => catchUp(each))).then(greet, failed);
        }
        // A comment shows the core that the connection lives, as a pong does.
        if (event && !begins) push(own, event.name, message);
        else receive({ type: "pong" });
      };
      await http.request(address, {}, 0, ({ body }) => readEvents(body!, read), own.abort);
      if (!greeted) observer.endedEarly();
      lose(CUT, "the stream has ended");
    } catch (error) {
      if (own.abort.signal.aborted) return;
      const status = error instanceof Refused ? error.status : 0;
      if (status == 403) return await refuseForbidden(own, error as Refused);
      // Something on the way knows no streams.
      if (!status || [401, 429, 503].includes(status)) return failed(error);
      observer.blocksStreams();
      if (greeted) failed(error);
      else moveOn(String(error));
    } finally {
      clearTimeout(timer);
    }
  }

  /** One of the stream's channels is not allowed: finds out which, and begins again without. */
  async function refuseForbidden(own: Stream, error: Refused) {
    streams = streams.filter((each) => each != own);
    try {
      const allowed = await Promise.all(own.channels.filter(isCurrent).map(async (each) => {
        try {
          await http.json(path("presence", each.channel));
        } catch (reason) {
          if (!(reason instanceof Refused)) throw reason;
          if (reason.status == 403) return refuse(each, reason.code!, reason.message), undefined;
        }
        return each;
      }));
      const list = allowed.filter((each) => each != null);
      if (list.length == own.channels.length) throw error;
      if (list.some(isCurrent)) stream(list.filter(isCurrent));
      else greet();
    } catch (reason) {
      failed(reason);
    }
  }

  function refuse(subscribed: Subscribed, code: string, message: string) {
    if (!isCurrent(subscribed)) return;
    const { channel, id } = subscribed;
    channels.delete(channel);
    receive({ type: "error", id, channel, code, message, temporary: false });
  }

  function push(stream: Stream, name: string, message: Wire) {
    if (name == "reconnect") return leave(message.reason, undefined, message.after_ms, DRAINED);
    const subscribed = channels.get(message.channel);
    // The channel may have moved to a younger stream.
    if (!subscribed || !stream.channels.includes(subscribed)) return;
    arrive(subscribed, message);
  }

  function arrive(subscribed: Subscribed, message: Wire) {
    if (subscribed.held) subscribed.held.push(message);
    else deliver(subscribed, message);
  }

  function deliver(subscribed: Subscribed, message: Wire, mixed?: boolean) {
    const { position } = message;
    if (message.type == "publication" && position) {
      if (subscribed.position && !isNew(position, subscribed.position, mixed)) return;
      subscribed.position = position;
      // The positions of the client's own publications are in order, so none before it is still to come.
      if (subscribed.own?.delete(position)) return;
    }
    if (message.type == "ended") channels.delete(message.channel);
    receive(message);
  }

  /** The publications that `since` or `last` asks for, in as many requests as it takes; their position only without both. */
  async function readPast(channel: string, since?: string, last?: number): Promise<Wire> {
    const read = (query: Wire) => http.json(path("history", channel, query));
    const isFirst = since == "first";
    if (!since || isFirst) {
      const answer = await read({ limit: last ?? 1 });
      if (!isFirst) return answer;
      since = beginningOf(answer.position);
      if (since == answer.position) return { ...answer, recovered: true };
    }
    let answer = await read({ since, limit: HISTORY_LIMIT });
    for (let pages = 1; answer.more && (isFirst || answer.recovered); pages++) {
      const next = await read({ since: answer.position, limit: HISTORY_LIMIT });
      const isBroken = !next.recovered || pages >= HISTORY_PAGES_MAX;
      // What was trimmed meanwhile is missing behind the earlier pages.
      const publications = isBroken ? next.publications : [...answer.publications, ...next.publications];
      answer = { ...next, publications, recovered: answer.recovered && !isBroken, more: next.more && pages < HISTORY_PAGES_MAX };
    }
    return answer;
  }

  /** Answers `subscribe`, delivers what the client wants of the past, and then what came meanwhile. */
  async function catchUp(subscribed: Subscribed) {
    const { channel, id, last, since } = subscribed;
    const isFirst = since == "first";
    subscribed.held ??= [];
    let past: Wire[] = [];
    let answer: Wire | undefined;
    try {
      if (!subscribed.keepsNone) {
        answer = await readPast(channel, since, last);
        past = since || last ? answer.publications : [];
      }
    } catch (error) {
      if (!(error instanceof Refused) || ![403, 404].includes(error.status)) throw error;
      if (error.status == 403) return refuse(subscribed, error.code!, error.message);
      // `not_found`: the channel keeps no history.
      subscribed.keepsNone = true;
    }
    if (!isCurrent(subscribed)) return;
    const { beginsAt } = subscribed;
    // What is behind the beginning of the stream comes with the stream, perhaps joined with what is before it in the history.
    if (beginsAt && answer && isNew(answer.position, beginsAt, true)) {
      past = past.filter(({ position }) => !isNew(position, beginsAt, true));
      answer = { ...answer, position: beginsAt };
    }
    const recovered = since ? answer?.recovered !== false && !subscribed.keepsNone : undefined;
    // Like a node: from a position, all of the past or nothing.
    if (recovered === false && !isFirst) past = [];
    subscribed.position = past.length ? (isFirst ? undefined : since) : answer?.position;
    receive({ type: "subscribed", id, channel, position: answer?.position, recovered });
    for (const each of past) deliver(subscribed, { type: "publication", channel, ...each });
    subscribed.answered = true;
    release(subscribed);
  }

  function release(subscribed: Subscribed) {
    if (!subscribed.answered || (subscribed.own && posting.has(subscribed.channel))) return;
    const held = subscribed.held;
    subscribed.held = undefined;
    held?.forEach((message) => deliver(subscribed, message, true));
  }

  function startPolls() {
    while (pollers < POLLS_MAX && turn.length) poll();
    // Polls that wait long would keep the rest waiting as long. From a position, a poll can begin again.
    if (turn.length) polls.forEach(({ subscribed, abort }) => subscribed.keepsNone || abort.abort());
  }

  /** Polls one channel after the other, beside the other polls. */
  async function poll() {
    pollers++;
    try {
      for (let next; !over && (next = turn.shift()); ) {
        const { channel, polledTo = next.position, keepsNone } = next;
        if (!isCurrent(next)) continue;
        // What is published between two polls of a channel without history is lost: it gets a poll of its own, where there are enough.
        const without = [...channels.values()].filter((each) => each.keepsNone).length;
        const stays = keepsNone && without < POLLS_MAX;
        const isCrowded = channels.size > POLLS_MAX && !stays;
        if (keepsNone) receive({ type: "gap", channel, reason: "poll" });
        const answer = await pollOnce(next, polledTo, isCrowded ? POLL_WAIT_IN_TURN : POLL_WAIT);
        if (!isCurrent(next)) continue;
        if (answer?.recovered === false) arrive(next, { type: "gap", channel, reason: "not_recovered" });
        for (const each of answer?.publications ?? []) arrive(next, { type: "publication", channel, ...each });
        next.polledTo = answer?.position ?? polledTo;
        if (answer?.ended) {
          arrive(next, { type: "ended", channel, position: answer.position, ...answer.ended });
          continue;
        }
        if (answer) receive({ type: "pong" });
        if (stays) turn.unshift(next);
        else turn.push(next);
      }
    } catch (error) {
      failed(error);
    }
    pollers--;
  }

  /** Returns nothing where the poll was aborted, or the token expired while it waited and there is another one by now. */
  async function pollOnce(subscribed: Subscribed, since: string | undefined, wait: number): Promise<Wire | undefined> {
    const { token } = http;
    const own: Poll = { subscribed, abort: new AbortController() };
    polls.add(own);
    let late = false;
    const timer = setTimeout(() => (late = true, own.abort.abort()), REQUEST_TIMEOUT + wait * 1_000);
    try {
      return await http.json(path("poll", subscribed.channel, { since, wait: `${wait}s` }), 0, own.abort);
    } catch (error) {
      const isRenewed = error instanceof Refused && error.status == 401 && http.token != token;
      if (late || !(own.abort.signal.aborted || isRenewed)) throw error;
    } finally {
      clearTimeout(timer);
      polls.delete(own);
    }
  }

  /** Reads the beginning of a stream beside the polls, again and again, until one gets through. */
  function lookForStreams() {
    if (over) return;
    clearTimeout(lookTimer);
    lookTimer = setTimeout(async () => {
      const [channel] = channels.keys();
      const abort = new AbortController();
      let passes = false;
      const isBegun = () => { passes = true; abort.abort(); };
      if (channel) await http.request(path("sse", channel), {}, STREAM_TIMEOUT, ({ body }) => readEvents(body!, isBegun), abort).catch(() => {});
      if (over || leaving) return;
      if (passes) leave("streams get through", observer.passesStreams);
      else lookForStreams();
    }, observer.nextLook());
  }

  async function publish({ id, channel, data, text, base64, idempotency_key, traceparent }: Wire) {
    const [type, body] =
      base64 != null ? ["application/octet-stream", decodeBase64(base64)] : text != null ? ["text/plain", text] : ["application/json", JSON.stringify(data)];
    const headers = { "content-type": type, "idempotency-key": idempotency_key, ...(traceparent && { traceparent }) };
    const post = { method: "POST", headers, body: body as BodyInit };
    const { position } = await http.request(path("publish", channel), post, REQUEST_TIMEOUT, (response) => response.json().catch(() => ({})));
    if (position) channels.get(channel)?.own?.add(position);
    receive({ type: "published", id, position });
  }

  /** Answers with what the request gives; an error of the node is an answer, no answer is the end of the connection. */
  async function answer(id: number, work: Promise<unknown>) {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof Refused) || !error.code || error.status == 401) return failed(error);
      const { code, message, status } = error;
      receive({ type: "error", id, code, message, temporary: status == 429 || status == 503 });
    }
  }

  function post() {
    if (over) return;
    if (leaving) return posting.size ? undefined : leaving();
    for (let next; posting.size < POSTS_MAX && (next = unsent.find(({ channel }) => !posting.has(channel))); ) {
      const { id, channel } = next;
      unsent = unsent.filter((each) => each != next);
      // Its time is over: the application knows that it was not published.
      if (socket.onsend && !socket.onsend(id)) continue;
      posting.add(channel);
      const subscribed = channels.get(channel);
      // Until the answer tells which publication is the client's own.
      if (subscribed?.own) subscribed.held ??= [];
      answer(id, publish(next)).finally(() => {
        posting.delete(channel);
        const now = channels.get(channel);
        if (now) release(now);
        post();
      });
    }
  }

  function leave(reason: string, act = () => {}, after = 0, code = CUT) {
    leaving ??= () => {
      act();
      receive({ type: "reconnect", after_ms: after, reason });
      lose(code, reason);
    };
    post();
  }

  /** false: the command is queued. */
  const commands: Record<string, (command: Wire) => unknown> = {
    auth(command) {
      http.token = command.token;
      if (greeted) authenticated();
    },
    ping() {
      check().then(() => receive({ type: "pong" }), failed);
    },
    subscribe({ id, channel, channels: several, since, last, echo }) {
      const all: [string, Wire][] = channel != null ? [[channel, { since, last }]] : Object.entries(several).map(([name, start]) => [name, startOf(start as any)]);
      if (!added.length) setTimeout(begin);
      for (const [name, start] of all) {
        const subscribed = { id, channel: name, ...start, own: echo === false ? new Set<string>() : undefined };
        channels.set(name, subscribed);
        added.push(subscribed);
      }
    },
    unsubscribe({ id, channel }) {
      channels.delete(channel);
      added = added.filter((each) => each.channel != channel);
      for (const each of streams) {
        if (!each.channels.some(isCurrent)) each.abort.abort();
      }
      streams = streams.filter((each) => !each.abort.signal.aborted);
      polls.forEach(({ subscribed, abort }) => isCurrent(subscribed) || abort.abort());
      receive({ type: "unsubscribed", id, channel });
    },
    publish(command) {
      unsent.push(command);
      post();
      return false;
    },
    presence: ({ id, channel }) =>
      void answer(id, http.json(path("presence", channel)).then((fields) => receive({ ...fields, type: "presence", id, channel }))),
    history: ({ id, channel, since, limit }) =>
      void answer(id, http.json(path("history", channel, { since, limit })).then((fields) => receive({ ...fields, type: "history", id, channel }))),
  };

  const socket: HttpSocket = {
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    send(frame) {
      const command = JSON.parse(frame);
      return commands[command.type]?.(command);
    },
    close: end,
    leave,
  };
  setTimeout(() => {
    if (over) return;
    // The core sends the token and its subscriptions now.
    socket.onopen?.({});
    if (!added.length) begin();
  });
  return socket;
}

/** The user and the remaining time, as the token says; whether it is valid, the node says. */
function claims(token: string): Wire {
  try {
    const base64 = token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    const { sub, exp } = JSON.parse(new TextDecoder().decode(decodeBase64(base64)));
    return { user: sub, expires_in_ms: exp && exp * 1_000 - Date.now() };
  } catch {
    return {};
  }
}
