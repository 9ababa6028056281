/** Requests to a node, and what its answers mean. */

import type { Wire } from "./payload.js";

/** How long a request may take, in milliseconds; a poll as much longer as it waits. */
export const REQUEST_TIMEOUT = 15_000;

/** A request was answered with an error, or not by a node. */
export class Refused extends Error {
  constructor(readonly status: number, readonly code: string | undefined, message: string) {
    super(message);
  }
}

/** The address of a channel's resource; parameters without a value are left out. */
export const path = (kind: string, channel: string, query: Wire = {}) => {
  const given = Object.entries(query).filter(([, value]) => value != null);
  return `/${kind}/${encodeURIComponent(channel)}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
};

export function createHttpRequests(base: string) {
  const running = new Set<AbortController>();

  /** One request, from its beginning until `read` has read the answer. `timeout` 0: as long as it takes. */
  async function request<T>(path: string, options: RequestInit, timeout: number, read: (response: Response) => Promise<T>, abort = new AbortController()): Promise<T> {
    const timer = timeout && setTimeout(() => abort.abort(), timeout);
    running.add(abort);
    try {
      let response: Response;
      let token: string | undefined;
      do {
        token = http.token;
        const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
        response = await fetch(base + path, { cache: "no-store", ...options, headers, signal: abort.signal });
        // Refused: it expired on the way, and there is another one by now.
      } while (response.status == 401 && http.token != token);
      if (response.ok) return await read(response);
      const { error } = await response.json().catch(() => ({}));
      // Not a node but a proxy before it, which may have passed the request on.
      if (!error && response.status >= 500) throw new Error(`answered with ${response.status}`);
      throw new Refused(response.status, error?.code, error?.message ?? `answered with ${response.status}`);
    } finally {
      clearTimeout(timer);
      running.delete(abort);
    }
  }

  const http = {
    /** Sent with each request from now on. */
    token: undefined as string | undefined,
    request,
    json: (path: string, timeout = REQUEST_TIMEOUT, abort?: AbortController) => request(path, {}, timeout, (response) => response.json() as Promise<Wire>, abort),
    /** Ends all requests. */
    abort: () => running.forEach((abort) => abort.abort()),
  };
  return http;
}
