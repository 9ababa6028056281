"""Pusher's server library for Python against a node: prints what it was answered as one JSON object.

python server.py PORT APP_ID KEY SECRET CHANNEL ROOM [SOCKET_ID]: triggers events on CHANNEL, one of them not for SOCKET_ID, and asks
for channels and for the users of ROOM.
"""

import json
import sys

import pusher
from pusher.errors import PusherBadAuth


def main():
    port, app_id, key, secret, channel, room, *excluded = sys.argv[1:]
    client = pusher.Pusher(app_id, key, secret, ssl=False, host="127.0.0.1", port=int(port))
    answers = {
        "trigger": client.trigger(channel, "order", {"by": "python"}),
        "excluded": client.trigger([channel], "order", {"by": "python, to others"}, *excluded),
        "batch": client.trigger_batch([{"channel": channel, "name": "order", "data": n} for n in (1, 2)]),
        "channels": client.channels_info("presence-", ["user_count"]),
        "channel": client.channel_info(room, ["user_count"]),
        "users": client.users_info(room),
        "auth": client.authenticate(room, "1.1", {"user_id": "u"}),
    }
    forger = pusher.Pusher(app_id, key, "another secret", ssl=False, host="127.0.0.1", port=int(port))
    try:
        forger.trigger(channel, "order", {})
    except PusherBadAuth as error:
        answers["forged"] = str(error)
    print(json.dumps(answers))


main()
