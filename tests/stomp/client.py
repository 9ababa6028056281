"""STOMP's client for Python over its WebSocket transport against nodes: python client.py PORT_A PORT_B CHANNEL.

Connects to one node as a subscriber and to another as a sender. Prints `all is well` at the end.
"""

import queue
import sys
import uuid

import stomp

WAIT_SECONDS = 20


class Listener(stomp.ConnectionListener):
    """Collects messages, receipts and errors."""

    def __init__(self):
        self.messages, self.receipts, self.errors = queue.Queue(), queue.Queue(), queue.Queue()

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)


def connect(port, **options):
    header = {"Sec-WebSocket-Protocol": "v12.stomp"}
    client = stomp.WSStompConnection(
        [("127.0.0.1", port)], ws_path="/ws", header=header, heartbeats=(1000, 1000), **options
    )
    listener = Listener()
    client.set_listener("", listener)
    client.connect(wait=True)
    return client, listener


def received(listener):
    return listener.messages.get(timeout=WAIT_SECONDS)


def main():
    port_a, port_b, channel = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    reader, got = connect(port_b)
    writer, told = connect(port_a)
    reader.subscribe(f"/topic/{channel}", id="one", ack="client-individual", headers={"receipt": "subscribed"})
    assert got.receipts.get(timeout=WAIT_SECONDS) == "subscribed"

    writer.send(f"/topic/{channel}", "é: 🌊", content_type="text/plain", receipt="sent")
    assert told.receipts.get(timeout=WAIT_SECONDS) == "sent"
    message = received(got)
    assert (message.body, message.headers["subscription"]) == ("é: 🌊", "one"), message
    reader.ack(message.headers["ack"], receipt="acknowledged")
    assert got.receipts.get(timeout=WAIT_SECONDS) == "acknowledged"

    transaction = writer.begin()
    for body in ("1", "2"):
        writer.send(channel, body, transaction=transaction)
    writer.send(channel, "outside")
    writer.commit(transaction)
    bodies = [received(got) for _ in range(3)]
    assert [message.body for message in bodies] == ["outside", "1", "2"], bodies
    reader.nack(bodies[0].headers["ack"])

    binary, _ = connect(port_a, binary_mode=True)
    raw, raw_got = connect(port_b, auto_decode=False)
    raw.subscribe(channel, id="raw", headers={"receipt": "subscribed"})
    assert raw_got.receipts.get(timeout=WAIT_SECONDS) == "subscribed"
    binary.send(channel, b"\xff\x00\x01", content_type="application/octet-stream")
    assert received(raw_got).body == b"\xff\x00\x01"

    reader.unsubscribe("one")
    for client in (writer, binary, raw):
        client.disconnect(receipt=str(uuid.uuid4()))
    reader.send("/queue/none", "x")
    error = got.errors.get(timeout=WAIT_SECONDS)
    assert error.headers["code"] == "bad_request", error
    print("all is well")


main()
