// The application of the tests, and its server.

import Server from 'pusher';

export const APP = { appId: '1', key: 'app-key', secret: 'app-secret-of-twenty' };
export const SETTINGS = {
  'pusher.apps': `[{ id = "${APP.appId}", key = "${APP.key}", secret = "${APP.secret}" }]`,
  'presence.grace': '0s', 'presence.ttl': '3s', 'drain.delay': '0s', 'drain.period': '1s',
};
const MASTER_KEY = Buffer.alloc(32, 7).toString('base64');

/** The server's library for a node: it signs, and sends requests. */
export const server = (port) => new Server({ ...APP, host: '127.0.0.1', port: String(port), useTLS: false, encryptionMasterKeyBase64: MASTER_KEY });
