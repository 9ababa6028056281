"""Reads a channel as Server-Sent Events with nothing but the standard library, and resumes where it was.

    python events.py [CHANNEL]           TIDEGATE=http://127.0.0.1:8080
"""

import os
import random
import sys
import time
import urllib.error
import urllib.request

TIDEGATE = os.environ.get("TIDEGATE", "http://127.0.0.1:8080")
IDLE_SECONDS_MAX = 60  # a node sends a comment every session.ping_interval, 25 s


def events(stream):
    """Each event of the stream, as a dict of its fields."""
    event = {}
    for line in stream:
        line = line.decode().rstrip("\r\n")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            yield event
            event = {}
        elif name == "data" and "data" in event:
            event["data"] += "\n" + value
        elif name:  # else it is a comment
            event[name] = value


def follow(channel):
    """Publications for ever, over as many connections as it takes."""
    last, retry = None, 1.0
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        request = urllib.request.Request(f"{TIDEGATE}/sse/{channel}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=IDLE_SECONDS_MAX) as stream:
                for event in events(stream):
                    last = event.get("id", last)
                    retry = int(event.get("retry", retry * 1000)) / 1000
                    kind = event.get("event", "message")
                    if kind == "message" and "data" in event:
                        yield event["data"]
                    elif kind == "gap":
                        print("publications may be missing", file=sys.stderr)
        except urllib.error.HTTPError as refused:
            if refused.code not in (429, 503):
                raise
        except OSError as error:
            print(f"disconnected: {error}", file=sys.stderr)
        time.sleep(retry + random.random())


for data in follow(sys.argv[1] if len(sys.argv) > 1 else "news"):
    print(data, flush=True)
