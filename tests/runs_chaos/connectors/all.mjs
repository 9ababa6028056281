// How each kind of viewer connects.
//
// A connector has `connect({ url, starts, viewer, note, over, isCurrent })`: `starts` maps channels to 'first' or a position; `note(entry)` adds to
// the journal; `over(why)` says that the connection is over and another one is wanted; `isCurrent()` is false once there is another one. It returns
// `close`, and `pause` and `resume` of reading where it can.
// `resumes`: it continues from a position; others begin at the first publication each time. `beginsNext`: its first connection begins
// with what is published next.

import { ai, aiSocket } from './ai.mjs';
import { client, clientPoll, clientSse } from './client.mjs';
import { json } from './json.mjs';
import { plain } from './plain.mjs';
import { poll } from './poll.mjs';
import { sse, sseMany } from './sse.mjs';

export const CONNECTORS = { json, jsonMany: json, plain, sse, sseMany, poll, ai, aiSocket, client, clientSse, clientPoll };
