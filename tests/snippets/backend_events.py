"""Runs the programs of docs/EVENTS.md: the two consumers of a group and the webhooks, beside clients of a node, on a Redis.

The programs name ports, so all of them run in a network namespace of their own: this file, as a program, is what runs there.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import services
import shell

PAGE = "docs/EVENTS.md"
LINES_MAX = 30
WEBHOOK_LINES_MAX = 12
SECONDS_MAX = 120

# File and language of each program, in the order of the page.
PROGRAMS = (("consumer.py", "python"), ("consumer.mjs", "js"), ("webhooks.py", "python"))


def take(binary, blocks):
    """The fault or None, and the reason of being skipped or None."""
    isolated = shell.isolation() if shutil.which("unshare") else None
    programs = [block for block in blocks if block.language in ("python", "js")]
    for block, (name, language) in zip(programs, PROGRAMS, strict=True):
        assert block.language == language, f"{block} should be {name}"
        most = WEBHOOK_LINES_MAX if name == "webhooks.py" else LINES_MAX
        lines = [line for line in block.text.splitlines() if line.strip()]
        assert len(lines) <= most, f"{block} has {len(lines)} lines, more than {most}"
    if not isolated:
        return None, "no network namespace can be made here"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "tidegate").symlink_to(binary)
        settings = next(block.text for block in blocks if block.language == "toml")
        (folder / "tidegate.toml").write_text(settings)
        for block, (name, _) in zip(programs, PROGRAMS, strict=True):
            (folder / name).write_text(block.text)
        (folder / "node_modules").symlink_to(services.MODULES / "node_modules")
        done = subprocess.run([*isolated, sys.executable, __file__, scratch], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS_MAX, check=False)
        return (done.stdout if done.returncode else None), None


class Hooks(BaseHTTPRequestHandler):
    """Keeps what the webhooks send; refuses the first, which has to come again."""

    kept, refused = [], []

    def do_POST(self):  # noqa: N802, the name is the library's
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kept = Hooks.kept if Hooks.refused else Hooks.refused
        kept.append((self.headers["Idempotency-Key"], body))
        self.send_response(204 if kept is Hooks.kept else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


def event_lines(lines, kind):
    return [line for line in lines if line.startswith(f"{kind} ")]


def inside(folder):
    """In the namespace: each program sees the channel of a client come and go."""
    subprocess.run(["bash", "-c", shell.LOOPBACK_UP], check=True)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    services.start_servers(folder)
    hooks = HTTPServer(("127.0.0.1", 8000), Hooks)
    threading.Thread(target=hooks.serve_forever, daemon=True).start()
    python = services.LANGUAGES["python"][1][0]

    def start(command):
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    consumers = [start([python, "consumer.py"]), start(["node", "consumer.mjs"])]
    lines = [services.Lines(consumer.stdout) for consumer in consumers]

    def printed(kind):
        return [line for one in lines for line in event_lines(one.lines, kind)]

    services.until("both consumers wait for entries", lambda: "blocked_clients:2" in services.redis("INFO", "clients"))
    channels = [f"chat:{number}" for number in range(20)]
    clients = [urllib.request.urlopen(f"http://127.0.0.1:8080/sse/{channel}") for channel in channels]
    services.until("the consumers print all", lambda: len(printed("occupied")) >= len(channels) and len(printed("join")) >= len(channels))
    assert sorted(printed("occupied")) == sorted(f"occupied {channel}" for channel in channels), printed("occupied")
    for client in clients:
        client.close()
    services.until("the channels are vacated", lambda: len(printed("vacated")) == len(channels))
    # A program goes on after bytes that are no text.
    for _ in consumers:
        services.publish_bytes("http://127.0.0.1:8080/publish/order:1")
    services.until("the publications are printed", lambda: len(printed("published")) == len(consumers))
    services.until("no entry is pending", lambda: services.redis("XPENDING", "tidegate:events", "backend").split()[0] == "0")

    # The endpoint fails once: the program ends, and its supervisor starts it again.
    assert start([python, "webhooks.py"]).wait(30) != 0
    start([python, "webhooks.py"])
    count = int(services.redis("XLEN", "tidegate:events"))
    services.until("all events are posted", lambda: len(Hooks.kept) == count)
    assert Hooks.kept[0] == Hooks.refused[0]
    assert all(key == body["id"] for key, body in Hooks.kept), Hooks.kept
    os._exit(0)


if __name__ == "__main__":
    inside(*sys.argv[1:])
