// The console of a page in a real browser, for tests that paste code into it as a reader of the documentation does:
//
//   node tests/browser/console.mjs http://127.0.0.1:8080/ SOCKET      (an HTTP server at this Unix socket)
//
// POST /paste evaluates the body as DevTools does: 200, or 500 with the exception. POST /prints waits until the console has printed
// a line that matches the body, a regular expression: 200 with the line, or 504 with all lines. A line answers one request only.

import http from 'node:http';
import { launch, TIMEOUT } from './pages.mjs';

const [url, socket] = process.argv.slice(2);
if (!socket) { console.error('usage: node console.mjs URL SOCKET'); process.exit(1); }

const { open } = await launch();
const printed = [];
const page = await open(url, async (page) => {
  page.on('console', (line) => { printed.push(line.text()); console.log(`console: ${line.text()}`); });
});
const devtools = await page.context().newCDPSession(page);

async function paste(expression) {
  const { exceptionDetails: fault } = await devtools.send('Runtime.evaluate', { expression, replMode: true, awaitPromise: true });
  return fault ? [500, fault.exception?.description ?? fault.text] : [200, ''];
}

async function prints(pattern) {
  const deadline = performance.now() + 3 * TIMEOUT; // a client may wait before it reconnects
  for (;;) {
    const at = printed.findIndex((line) => new RegExp(pattern).test(line));
    if (at >= 0) return [200, printed.splice(at, 1)[0]];
    if (performance.now() > deadline) return [504, `the console did not print ${pattern}, but ${JSON.stringify(printed)}`];
    await new Promise((done) => setTimeout(done, 20));
  }
}

http.createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString();
  const [status, answer] = await (request.url === '/paste' ? paste(body) : prints(body.trim())).catch((error) => [500, error.stack]);
  response.writeHead(status).end(`${answer}\n`);
}).listen(socket, () => console.log('the console is open'));
