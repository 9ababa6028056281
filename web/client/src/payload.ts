import type { Publication } from "./types.js";

/** A publication as it is on the wire. */
export type Wire = Record<string, any>;

const CHUNK = 8_192; // bytes: an argument list of a call is bounded

export function encodeBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(binary);
}

/** The publication for the application: `base64` becomes `bytes`. */
export function decode(channel: string, { type, base64, ...fields }: Wire): Publication {
  if (base64 != null) fields.bytes = decodeBase64(base64);
  return { ...fields, channel };
}

export const decodeBase64 = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

/** The publication for the wire again. */
export function encode({ bytes, ...fields }: Publication): Wire {
  return bytes ? { ...fields, base64: encodeBase64(bytes) } : fields;
}

/** Where a channel of a list begins: after a position, at `"first"`, with the last ones, or now. */
export const startOf = (start: string | { last: number } | null) => (typeof start == "string" ? { since: start } : { ...start });
