"""Publishes from a service, in the three ways that there are.

    python publish.py                    REDIS=redis://127.0.0.1:6379 API=http://127.0.0.1:9090
"""

import json
import os
import urllib.request

import redis

REDIS = os.environ.get("REDIS", "redis://127.0.0.1:6379")
API = os.environ.get("API", "http://127.0.0.1:9090")  # the internal listener of any node


def publish(server, channel, payload):
    """To the clients that are connected now. It is delivered at most once, and kept in no history."""
    server.publish(f"tidegate:{channel}", payload)


def publish_into_history(server, channel, payload, key):
    """Into the channel's history too. Repeated with the same key, it is published once. Returns the position."""
    header = json.dumps({"id": key})
    return server.fcall("tidegate_publish", 1, f"tidegate:{channel}", payload, header).decode()


def publish_over_http(channel, payload):
    """The same through a node, for services without Redis."""
    request = urllib.request.Request(f"{API}/api/publish/{channel}", data=payload.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


server = redis.Redis.from_url(REDIS)
publish(server, "news", "the tide is in")
position = publish_into_history(server, "news", json.dumps({"level": 3.2}), key="gauge-1-noon")
again = publish_into_history(server, "news", json.dumps({"level": 3.2}), key="gauge-1-noon")
print(f"published at {position}, and the repetition changed nothing: {again == position}")
publish_over_http("news", json.dumps({"level": 3.4}))
