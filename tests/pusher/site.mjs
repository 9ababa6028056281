// A web site of an origin of its own: a page that loads pusher-js with a script tag, and the backend's endpoints that sign.

import fs from 'node:fs';
import http from 'node:http';
import { server } from './application.mjs';

/** The build of pusher-js for browsers. */
const SCRIPT = new URL('node_modules/pusher-js/dist/web/pusher-with-encryption.min.js', import.meta.url);

const PAGE = '<!doctype html><meta charset="utf-8"><title>A page of another origin</title><script src="/pusher.js"></script>';

/** The most bytes of a form that the backend reads. */
const FORM_BYTES_MAX = 16 * 1024;

export class Site {
  static async listen() {
    const site = new Site();
    await new Promise((listening) => site.server.listen(0, '127.0.0.1', listening));
    site.port = site.server.address().port;
    return site;
  }

  constructor() {
    this.signer = server(1);
    this.server = http.createServer((request, response) => this.#answer(request, response));
  }

  close() { this.server.close(); this.server.closeAllConnections(); }

  async #answer(request, response) {
    const signed = { '/pusher/auth': (form) => this.#channel(form), '/pusher/user-auth': (form) => this.#user(form) }[request.url];
    if (signed && request.method === 'POST') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(signed(await formOf(request))));
    } else if (request.url === '/pusher.js') {
      response.setHeader('content-type', 'text/javascript');
      response.end(fs.readFileSync(SCRIPT));
    } else if (request.url === '/') {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.end(PAGE);
    } else {
      response.writeHead(404).end();
    }
  }

  /** As the library's documentation has it. A real backend takes the user from its session. */
  #channel(form) {
    const [socketId, channel, user] = ['socket_id', 'channel_name', 'user'].map((it) => form.get(it));
    const member = channel.startsWith('presence-') ? { user_id: user, user_info: { name: user.toUpperCase() } } : undefined;
    return this.signer.authorizeChannel(socketId, channel, member);
  }

  #user(form) {
    return this.signer.authenticateUser(form.get('socket_id'), { id: form.get('user'), user_info: { name: form.get('user') } });
  }
}

async function formOf(request) {
  let text = '';
  for await (const part of request) {
    text += part;
    if (text.length > FORM_BYTES_MAX) throw new Error(`a form has more than ${FORM_BYTES_MAX} bytes`);
  }
  return new URLSearchParams(text);
}
