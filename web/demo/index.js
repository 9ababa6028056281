// The index: whether the node can be reached, and how to publish from a shell.

import { $, open, showShell } from '/demo/page.js';

open();
showShell($('shell'), 'demo:chat:harbour', '{"name":"Ada","text":"Hello from a shell"}');
