"""A backend that signs tokens: POST /token answers one for the user who asks.

    python token_backend.py [PORT]       TIDEGATE_SECRET='an example's secret, of 32 bytes or more'

A browser then connects with it: new WebSocket(url, ["tidegate.v1.json", "bearer." + token]).
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY_ID = "2026-11"  # auth.keys of the nodes names the same
SECRET = os.environ.get("TIDEGATE_SECRET", "an example's secret, of 32 bytes or more").encode()
SECONDS = 15 * 60


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(user):
    """A JWT, signed with HS256. The user may read the user's inbox, and is subscribed to it at connect."""
    header = {"alg": "HS256", "typ": "JWT", "kid": KEY_ID}
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + SECONDS, "channels": [f"inbox:{user}"]}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return signed + "." + base64url(hmac.digest(SECRET, signed.encode(), hashlib.sha256))


def logged_in_user(headers):
    """Stands for your own login: an application looks up the session of a cookie here."""
    return headers.get("X-Example-User")


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        user = logged_in_user(self.headers)
        if self.path != "/token" or not user:
            self.send_error(404 if self.path != "/token" else 401)
            return
        body = json.dumps({"token": token(user), "expires_in": SECONDS}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
print(f"http://127.0.0.1:{port}/token", flush=True)
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
