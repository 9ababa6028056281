// A web site of an origin of its own: an empty page, the built client below /client/, and answers of tests.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const CLIENT = new URL('../../../web/client/', import.meta.url).pathname;
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.map': 'application/json', '.json': 'application/json' };

export class Site {
  static async listen() {
    const site = new Site();
    await new Promise((listening) => site.server.listen(0, '127.0.0.1', listening));
    site.port = site.server.address().port;
    return site;
  }

  constructor() {
    /** Functions of a URL's search parameters that return the text of the answer, by path. */
    this.answers = {};
    this.server = http.createServer((request, response) => this.#answer(new URL(request.url, 'http://site'), response));
  }

  get origin() { return `http://127.0.0.1:${this.port}`; }

  close() { this.server.close(); this.server.closeAllConnections(); }

  #answer({ pathname, searchParams }, response) {
    response.setHeader('cache-control', 'no-store');
    if (this.answers[pathname]) {
      response.end(String(this.answers[pathname](searchParams)));
    } else if (pathname.startsWith('/client/')) {
      this.#file(path.join(CLIENT, path.normalize(pathname.slice('/client/'.length))), response);
    } else if (pathname === '/') {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.end('<!doctype html><title>A page of another origin</title>');
    } else {
      response.writeHead(404).end();
    }
  }

  #file(file, response) {
    if (!file.startsWith(CLIENT) || !fs.existsSync(file)) { response.writeHead(404).end(); return; }
    response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    fs.createReadStream(file).pipe(response);
  }
}
