import * as bounds from "./bounds.js";
import { fault } from "./fault.js";
import type { Wire } from "./payload.js";
import type { Connection } from "./connection.js";

interface Request {
  frame: string;
  resolve(answer: any): void;
  reject(error: Error): void;
  timer: any;
  /** The channel of a publication. Absent: the command reads, so it may be repeated at any time. */
  publishes?: string;
  /** When it was sent on this connection; 0: not yet. */
  sentAt: number;
  /** When it was first sent on a connection that was lost before the answer; 0: the node has not executed it. */
  uncertainSince: number;
  /** The user who sent it: a node recognises a repetition of the same user only. */
  user?: string | null;
}

export type Requests = ReturnType<typeof createRequests>;

/** The commands that the application waits for. They queue while there is no connection, and each settles in bounded time. */
export function createRequests(connection: () => Connection, timeout: number) {
  const pending = new Map<number, Request>();
  /** Channels that keep history: there, and only there, a node publishes the same idempotency key once. */
  const kept = new Set<string>();
  let user: string | null | undefined;
  let chars = 0;
  let lastId = 0;

  function settle(id: number, request: Request) {
    clearTimeout(request.timer);
    chars -= request.frame.length;
    pending.delete(id);
  }

  function fail(id: number, request: Request, code: string, message: string, temporary?: boolean) {
    settle(id, request);
    if (request.publishes && (request.sentAt || request.uncertainSince)) {
      code = "unknown_outcome";
      message = (message || "the connection was lost before the answer") + "; it may have been published";
    }
    request.reject(fault(code, message, temporary));
  }

  function sent(request: Request) {
    request.sentAt = Date.now();
    request.user = user;
  }

  function transmit(request: Request) {
    if (connection().state == "open" && connection().send(request.frame)) sent(request);
  }

  return {
    /** An id for a command without a promise. */
    nextId: () => ++lastId,

    keeps(channel: string, position: string | undefined) {
      if (!position) return;
      if (kept.size >= bounds.KEPT_MAX) kept.clear();
      kept.add(channel);
    },

    forgets: (channel: string) => void kept.delete(channel),

    /** `publishes`: the channel, for a command that must not be executed twice. */
    request(command: Wire, publishes?: string): Promise<any> {
      return new Promise((resolve, reject) => {
        const id = ++lastId;
        const frame = JSON.stringify({ ...command, id });
        if (connection().state == "closed") return reject(fault("closed", "the client is closed"));
        if (pending.size >= bounds.PENDING_MAX || chars + frame.length > bounds.PENDING_CHARS_MAX) {
          return reject(fault("queue_full", "too many commands are waiting for an answer", true));
        }
        const expire = () => fail(id, request, "timeout", connection().state == "open" ? "no answer in time" : "no connection in time", true);
        const timer = setTimeout(expire, timeout);
        const request: Request = { frame, resolve, reject, timer, publishes, sentAt: 0, uncertainSince: 0 };
        chars += frame.length;
        pending.set(id, request);
        transmit(request);
      });
    },

    /** Returns whether the message is the answer to a command from here. */
    answered(message: Wire): boolean {
      const request = pending.get(message.id);
      if (!request) return false;
      settle(message.id, request);
      if (message.type == "error") request.reject(fault(message.code, message.message, message.temporary));
      else request.resolve(message);
      return true;
    },

    sends(id: number): boolean {
      const request = pending.get(id);
      if (request) sent(request);
      return !!request;
    },

    /** Sends, in order, what has no answer yet. */
    opened(as: string | null | undefined) {
      user = as;
      pending.forEach((request, id) => {
        const { publishes, uncertainSince } = request;
        const expired = uncertainSince && Date.now() - uncertainSince > bounds.RESEND_WINDOW;
        if (publishes && uncertainSince && (expired || request.user !== user)) fail(id, request, "", "", true);
        else transmit(request);
      });
    },

    /** `unexecuted`: the node has not executed what it has not answered. */
    lost(unexecuted: boolean) {
      pending.forEach((request, id) => {
        if (!unexecuted) request.uncertainSince ||= request.sentAt;
        request.sentAt = 0;
        if (request.publishes && request.uncertainSince && !kept.has(request.publishes)) fail(id, request, "", "", true);
      });
    },

    /** Rejects the largest publication without an answer. Returns false if there is none. */
    tooLarge(): boolean {
      let largest: [number, Request] | undefined;
      for (const entry of pending) {
        if (entry[1].sentAt && entry[1].frame.length > (largest?.[1].frame.length ?? 0)) largest = entry;
      }
      if (!largest) return false;
      settle(...largest);
      largest[1].reject(fault("too_large", "larger than the node accepts"));
      return true;
    },

    closed(message: string) {
      pending.forEach((request, id) => fail(id, request, "closed", message));
    },
  };
}
