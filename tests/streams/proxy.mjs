// A balancer that gives each request to the next of its nodes, so that no two requests of a client in a row reach the same one.

import http from 'node:http';

export async function alternating(urls) {
  const agent = new http.Agent({ keepAlive: false });
  let next = 0;
  const server = http.createServer((request, response) => {
    const target = new URL(urls[next++ % urls.length]);
    const { method, url: path, headers } = request;
    // The node says whether it wants the body. Otherwise its answer to one that is too large would be lost with the connection.
    const hasBody = 'transfer-encoding' in headers || Number(headers['content-length']) > 0;
    if (hasBody) headers.expect = '100-continue';
    const toNode = http.request({ agent, host: target.hostname, port: target.port, method, path, headers }, (answer) => {
      const send = () => {
        response.writeHead(answer.statusCode, { ...answer.headers, connection: 'keep-alive' });
        response.flushHeaders();
        answer.pipe(response);
      };
      answer.on('error', () => response.destroy());
      // An answer before the end of the body would end the connection under a client that still sends.
      if (hasBody && !request.complete) request.on('end', send).resume();
      else send();
    });
    toNode.on('error', () => response.destroy());
    response.on('close', () => toNode.destroy());
    if (hasBody) toNode.on('continue', () => request.pipe(toNode)).flushHeaders();
    else toNode.end();
  });
  // A test keeps its process busy for longer than the default of 5 s, and then uses a connection that is closed.
  server.keepAliveTimeout = 120_000;
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } };
}
