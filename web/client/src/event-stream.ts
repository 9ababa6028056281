/** Reads Server-Sent Events from a response: https://html.spec.whatwg.org/multipage/server-sent-events.html */

export interface ServerSentEvent {
  /** Empty for an event without a name. */
  name: string;
  data: string;
}

/** A block larger than this is not the node's. Its payloads are at most 16 MiB. */
const BLOCK_CHARS_MAX = 32 * 1_024 * 1_024;

/** Calls `block` for each block, also for one without data, which has no event and may have a comment. */
export async function readEvents(body: ReadableStream<Uint8Array>, block: (event: ServerSentEvent | undefined, comment: string) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  /** So far in `rest` there is no end of a block. */
  let searched = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    for (let end; (end = rest.indexOf("\n\n", searched)) >= 0; searched = 0) {
      const text = rest.slice(0, end);
      block(parse(text), text[0] == ":" ? text.slice(1).trim() : "");
      rest = rest.slice(end + 2);
    }
    searched = Math.max(0, rest.length - 1);
    if (rest.length > BLOCK_CHARS_MAX) throw new Error("an event of the stream is too large");
  }
}

/** The node ends each line with a line feed alone. */
function parse(text: string): ServerSentEvent | undefined {
  let name = "";
  const data: string[] = [];
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (line.startsWith("data:")) data.push(value);
    if (line.startsWith("event:")) name = value;
  }
  return data.length ? { name, data: data.join("\n") } : undefined;
}
