"""Paho's client over WebSockets: publishes and subscribes, and prints what arrived as JSON.

    python tests/mqtt/client.py 3|5 READER_PORT WRITER_PORT TOPIC
"""

import json
import queue
import sys
from typing import Any

import paho.mqtt.client as paho

SECONDS = 10


class Client:
    """A connected client, and the messages that it gets."""

    def __init__(self, version: str, port: int) -> None:
        protocol = paho.MQTTv5 if version == "5" else paho.MQTTv311
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.answers: queue.Queue[str] = queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=protocol, transport="websockets")
        self.client.ws_set_options(path="/ws")
        self.client.on_connect = lambda *_: self.answers.put("connected")
        self.client.on_subscribe = lambda *_: self.answers.put("subscribed")
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.answers.get(timeout=SECONDS) == "connected"

    def subscribe(self, topic: str, qos: int) -> None:
        self.client.subscribe(topic, qos)
        assert self.answers.get(timeout=SECONDS) == "subscribed"

    def publish(self, topic: str, payload: str, qos: int) -> None:
        self.client.publish(topic, payload, qos).wait_for_publish(SECONDS)

    def next(self) -> list[Any]:
        message = self.messages.get(timeout=SECONDS)
        return [message.payload.decode(), message.qos, message.retain]


version, reader_port, writer_port, topic = sys.argv[1:]
reader, writer = Client(version, int(reader_port)), Client(version, int(writer_port))
reader.subscribe(topic, 2)
arrived = []
for qos in (0, 1, 2):
    writer.publish(topic, f"QoS {qos}", qos)
    arrived.append(reader.next())
late = Client(version, int(reader_port))
late.subscribe(topic, 0)
arrived.append(late.next())
late.subscribe("live/#", 1)
writer.publish("live/a", "live", 1)
arrived.append(late.next())
print(json.dumps(arrived))
