// Signed tokens for nodes with `auth.keys=[{alg="HS256",secret=SECRET}]`.

import { createHmac } from 'node:crypto';

export const SECRET = 'a secret of the browser tests, 32 bytes';

/** Settings of a node that accepts these tokens and takes `exp` literally. */
export const AUTH_SETTINGS = { 'auth.keys': `[{alg="HS256",secret="${SECRET}"}]`, 'auth.leeway': '0s' };

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token of this user for `seconds`; other claims as given. */
export function sign(user, { seconds = 3600, ...claims } = {}) {
  const now = Date.now() / 1000;
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: user, exp: now + seconds, iat: Math.floor(now), ...claims })}`;
  return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
}
