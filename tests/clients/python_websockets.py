"""Python's `websockets` client against two nodes of one fleet.

    python python_websockets.py --node-a http://127.0.0.1:8080 --node-b http://127.0.0.1:8081 [--redis-port 6379]

Prints a line for each check; exits with 1 at the first failure. With --redis-port, the nodes' broker is that Redis
(prefix `tidegate:`), and plain commands of other services are checked as well.
"""

import argparse
import asyncio
import base64
import json
import sys
import traceback
import uuid
from contextlib import asynccontextmanager
from urllib.parse import quote

import redis.asyncio as redis
import websockets

TIMEOUT = 20  # seconds, for each check
MESSAGE_BYTES_MAX = 64 * 1024  # a node's default

UNICODE = "Ebbe und Flut 🌊 – 潮の満ち引き \x00 e\u0301"
NOT_UTF8 = b"\x00\xff\xfe\x80 tide"
KIB_60_TEXT = "0123456789abcdef" * (60 * 64)
KIB_60_BINARY = bytes(range(256)) * (60 * 4)

checks = []


def check(what, needs_redis=False):
    """Decorator that adds a function to the checks; the function gets the `Cluster`."""

    def add(function):
        checks.append((what, needs_redis, function))

    return add


class Cluster:
    """Two nodes, and their Redis if it is known."""

    def __init__(self, node_a, node_b, redis_port):
        self.a = node_a.replace("http", "ws", 1).rstrip("/")
        self.b = node_b.replace("http", "ws", 1).rstrip("/")
        self.redis_port = redis_port

    def plain(self, node, channel, query=""):
        """A connection of the plain protocol."""
        return websockets.connect(f"{node}/ws/{quote(channel)}{query}")

    @asynccontextmanager
    async def json(self, node, *channels, **options):
        """A session of the json protocol after `welcome` and `subscribed`."""
        async with websockets.connect(f"{node}/ws", **options) as socket:
            session = JsonSession(socket)
            session.welcome = await session.receive("welcome")
            for channel in channels:
                await session.ask("subscribed", type="subscribe", channel=channel)
            yield session

    def redis(self):
        return redis.Redis(host="127.0.0.1", port=self.redis_port)


class JsonSession:
    def __init__(self, socket):
        self.socket = socket
        self.welcome = None
        self.asked = 0
        # Messages received while waiting for another one: replies and publications may overtake each other.
        self.pending = []

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def ask(self, answer_type, **command):
        """Sends a command and returns the reply with its id."""
        self.asked += 1
        await self.send(id=self.asked, **command)
        return await self.receive(answer_type, id=self.asked)

    async def alive(self):
        """Returns after everything that the node sent before has arrived."""
        await self.ask("pong", type="ping")

    async def publication(self):
        return await self.receive("publication")

    async def receive(self, expected_type, **fields):
        """The next message of the type with these fields; fails at an unexpected error."""

        def wanted(message):
            return message["type"] == expected_type and fields.items() <= message.items()

        for message in filter(wanted, self.pending):
            self.pending.remove(message)
            return message
        while True:
            frame = await self.socket.recv()
            assert isinstance(frame, str), f"a binary frame: {short(frame)}"
            message = json.loads(frame)
            if wanted(message):
                return message
            assert message["type"] != "error", f"an error instead of {expected_type}: {frame}"
            self.pending.append(message)

    def quiet(self):
        assert not self.pending, f"nothing should have arrived, but {short(self.pending)} did"


def equal(found, expected, what):
    assert found == expected, f"{what}: expected {short(expected)}, found {short(found)}"


def short(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:120]}… ({len(value)} long)"


def new_channel():
    return f"clients:{uuid.uuid4().hex}"


def payload_of(publication):
    """The one field that carries the payload, as (name, value)."""
    found = [(field, publication[field]) for field in ("data", "text", "base64") if field in publication]
    equal(len(found), 1, f"payload fields in {short(publication)}")
    return found[0]


def base64_of(payload):
    return base64.b64encode(payload).decode()


async def closed(socket):
    """The code of the node's close frame, once the connection has ended."""
    try:
        while True:
            await socket.recv()
    except websockets.ConnectionClosed as end:
        assert end.rcvd is not None, "the connection ended without a close frame"
        return end.rcvd.code


async def relay_both_ways(cluster, *payloads):
    channel = new_channel()
    async with cluster.plain(cluster.a, channel) as a, cluster.plain(cluster.b, channel) as b:
        for payload in payloads:
            for publisher in a, b:
                await publisher.send(payload)
                equal(await a.recv(), payload, "what A's subscriber got")
                equal(await b.recv(), payload, "what B's subscriber got")


# The plain protocol


@check("plain: text is delivered from A to B, from B to A, and to its sender")
async def _(cluster):
    await relay_both_ways(cluster, "hello", '{"json":"is text too"}', UNICODE)


@check("plain: binary stays binary, also where it happens to be UTF-8")
async def _(cluster):
    await relay_both_ways(cluster, NOT_UTF8, b"hello")


@check("plain: an empty payload, text and binary")
async def _(cluster):
    await relay_both_ways(cluster, "", b"")


@check("plain: a payload that looks like a header line is a payload")
async def _(cluster):
    await relay_both_ways(cluster, '\x1e{"binary":true}\nnot a header', b"\x1e", "\x1e{}\n")


@check("plain: 60 KB, text and binary")
async def _(cluster):
    await relay_both_ways(cluster, KIB_60_TEXT, KIB_60_BINARY)


@check("plain: a channel name in unicode")
async def _(cluster):
    channel = f"Gezeiten-潮-🌊-{uuid.uuid4().hex}"
    async with cluster.plain(cluster.a, channel) as a, cluster.json(cluster.b, channel) as b:
        await a.send("hello")
        equal((await b.publication())["channel"], channel, "the name at B")


@check("plain: a message sent in fragments arrives as one")
async def _(cluster):
    channel = new_channel()
    async with cluster.plain(cluster.a, channel) as a, cluster.plain(cluster.b, channel) as b:
        await a.send(["ebb", "", " and ", "flow"])
        equal(await b.recv(), "ebb and flow", "what B got")


@check("plain: 1,000 messages at once arrive in order")
async def _(cluster):
    channel = new_channel()
    async with cluster.plain(cluster.a, channel) as a, cluster.plain(cluster.b, channel) as b:
        expected = [str(number) for number in range(1000)]

        async def send_all():
            for text in expected:
                await a.send(text)

        async def receive_all(socket):
            return [await socket.recv() for _ in expected]

        _, at_a, at_b = await asyncio.gather(send_all(), receive_all(a), receive_all(b))
        equal(at_a, expected, "what A got")
        equal(at_b, expected, "what B got")


@check("plain: with ?echo=false, a connection receives all messages but its own")
async def _(cluster):
    channel = new_channel()
    async with (
        cluster.plain(cluster.a, channel, "?echo=false") as silent,
        cluster.plain(cluster.a, channel) as neighbour,
        cluster.plain(cluster.b, channel) as other,
    ):
        await silent.send("its own")
        equal(await neighbour.recv(), "its own", "what another on the same node got")
        equal(await other.recv(), "its own", "what another on the other node got")
        await other.send("not its own")
        equal(await silent.recv(), "not its own", "the first it got")
        await neighbour.send("a neighbour's")
        equal(await silent.recv(), "a neighbour's", "the second it got")


@check("plain: a message reaches only its own channel")
async def _(cluster):
    here, elsewhere = new_channel(), new_channel()
    async with cluster.plain(cluster.a, here) as a, cluster.plain(cluster.a, elsewhere) as c:
        await c.send("elsewhere")
        equal(await c.recv(), "elsewhere", "what the other channel got")
        await a.send("here")
        equal(await a.recv(), "here", "the first that the channel got")


@check("plain: a message above the limit closes with 1009, one at the limit does not")
async def _(cluster):
    await relay_both_ways(cluster, "x" * MESSAGE_BYTES_MAX)
    async with cluster.plain(cluster.a, new_channel()) as a:
        await a.send("x" * (MESSAGE_BYTES_MAX + 1))
        equal(await closed(a), 1009, "the close code")


# The json protocol


@check("json: welcome names session, node and ping interval")
async def _(cluster):
    async with cluster.json(cluster.a) as one, cluster.json(cluster.a) as two, cluster.json(cluster.b) as far:
        for welcome in one.welcome, two.welcome, far.welcome:
            assert isinstance(welcome["session"], str) and welcome["session"], f"the session of {welcome}"
            assert isinstance(welcome["node"], str) and welcome["node"], f"the node of {welcome}"
            assert isinstance(welcome["ping_interval_ms"], int) and welcome["ping_interval_ms"] > 0, f"the interval of {welcome}"
        equal(two.welcome["node"], one.welcome["node"], "the node of another session of A")
        assert far.welcome["node"] != one.welcome["node"], "A and B have the same name"
        assert two.welcome["session"] != one.welcome["session"], "two sessions have the same id"


@check("json: the subprotocol tidegate.v1.json is chosen, also if an unknown one is offered")
async def _(cluster):
    async with cluster.json(cluster.a, subprotocols=["graphql-ws", "tidegate.v1.json"]) as a:
        equal(a.socket.subprotocol, "tidegate.v1.json", "the subprotocol")
        await a.alive()


@check("json: an offer of only unknown subprotocols is refused with 400")
async def _(cluster):
    try:
        async with cluster.json(cluster.a, subprotocols=["graphql-ws"]):
            raise AssertionError("the upgrade was accepted")
    except websockets.InvalidStatus as refused:
        equal(refused.response.status_code, 400, "the status")
        error = json.loads(refused.response.body)["error"]
        assert error["code"] and error["message"], f"the body: {refused.response.body}"


@check("json: data, text and base64 arrive on the other node, in both protocols")
async def _(cluster):
    channel = new_channel()
    async with cluster.json(cluster.a) as a, cluster.json(cluster.b, channel) as b, cluster.plain(cluster.b, channel) as plain:

        async def publish(field, value, arrives_as=None):
            answer = await a.ask("published", type="publish", channel=channel, **{field: value})
            assert "position" not in answer, f"a position without history: {answer}"
            publication = await b.publication()
            equal(publication["channel"], channel, "the channel")
            equal(payload_of(publication), arrives_as or (field, value), "the payload")
            return await plain.recv()

        for value in {"any": ["json", 1.5, True, None, {}]}, [], "a string", UNICODE, 0, False, None, {"large": KIB_60_TEXT}:
            equal(json.loads(await publish("data", value)), value, "the plain frame")
        for text in "not json", UNICODE, "":
            equal(await publish("text", text), text, "the plain frame")
        equal(await publish("text", '{"it":"is"}', arrives_as=("data", {"it": "is"})), '{"it":"is"}', "the plain frame")
        equal(await publish("base64", base64_of(NOT_UTF8)), NOT_UTF8, "the plain frame")


@check("json: messages of plain connections arrive as data, text or base64")
async def _(cluster):
    channel = new_channel()
    async with cluster.plain(cluster.a, channel) as a, cluster.json(cluster.b, channel) as b:
        for frame, expected in (
            ('{"a":1}', ("data", {"a": 1})),
            ("17", ("data", 17)),
            ("{broken", ("text", "{broken")),
            ("", ("text", "")),
            (UNICODE, ("text", UNICODE)),
            (KIB_60_TEXT, ("text", KIB_60_TEXT)),
            (NOT_UTF8, ("base64", base64_of(NOT_UTF8))),
            (KIB_60_BINARY, ("base64", base64_of(KIB_60_BINARY))),
        ):
            await a.send(frame)
            equal(payload_of(await b.publication()), expected, "the payload")


@check("json: numbers and key order of data are forwarded unchanged")
async def _(cluster):
    channel = new_channel()
    async with cluster.json(cluster.a) as a, cluster.plain(cluster.b, channel) as b:
        data = '{"z":1,"a":12345678901234567890123,"price":0.10}'
        await a.socket.send(f'{{"type":"publish","channel":"{channel}","data":{data}}}')
        equal(await b.recv(), data, "the plain frame")


@check("json: a publisher that subscribes receives its own publications, unless with echo: false")
async def _(cluster):
    channel = new_channel()
    async with cluster.json(cluster.a, channel) as own, cluster.json(cluster.a) as silent:
        await silent.ask("subscribed", type="subscribe", channel=channel, echo=False)
        await own.ask("published", type="publish", channel=channel, data=1)
        equal((await own.publication())["data"], 1, "what its publisher got")
        equal((await silent.publication())["data"], 1, "what the other got")
        await silent.ask("published", type="publish", channel=channel, data=2)
        equal((await own.publication())["data"], 2, "what the other got")
        await silent.alive()
        silent.quiet()


@check("json: many channels in one subscribe get one answer each")
async def _(cluster):
    channels = {new_channel() for _ in range(10)}
    async with cluster.json(cluster.a) as a, cluster.json(cluster.b) as b:
        await a.send(type="subscribe", id=7, channels=dict.fromkeys(channels))
        answers = [await a.receive("subscribed", id=7) for _ in channels]
        equal({answer["channel"] for answer in answers}, channels, "the channels answered")
        for channel in channels:
            await b.ask("published", type="publish", channel=channel, data=channel)
            publication = await a.publication()
            equal((publication["channel"], publication["data"]), (channel, channel), "channel and payload")


@check("json: one bad name among several channels gets a separate error")
async def _(cluster):
    good = new_channel()
    async with cluster.json(cluster.a) as a:
        await a.send(type="subscribe", id=7, channels={"white space": None, good: None})
        error, subscribed = await a.receive("error", id=7), await a.receive("subscribed", id=7)
        equal(error["code"], "bad_request", "the code")
        equal(subscribed["channel"], good, "the channel")


@check("json: subscribing twice delivers once")
async def _(cluster):
    channel = new_channel()
    async with cluster.json(cluster.a, channel, channel) as a, cluster.json(cluster.b) as b:
        await b.ask("published", type="publish", channel=channel, data="once")
        equal((await a.publication())["data"], "once", "the payload")
        await a.alive()
        a.quiet()


@check("json: unsubscribe stops that channel and no other")
async def _(cluster):
    left, kept = new_channel(), new_channel()
    async with cluster.json(cluster.a, left, kept) as a, cluster.plain(cluster.a, left) as witness, cluster.json(cluster.b) as b:
        equal((await a.ask("unsubscribed", type="unsubscribe", channel=left))["channel"], left, "the channel")
        await b.ask("published", type="publish", channel=left, data="left")
        equal(await witness.recv(), '"left"', "what a witness on the same node got")
        await a.alive()
        a.quiet()
        await b.ask("published", type="publish", channel=kept, data="kept")
        equal((await a.publication())["data"], "kept", "what it got on the other channel")


@check("json: commands without an id are answered without one")
async def _(cluster):
    async with cluster.json(cluster.a) as a:
        await a.send(type="ping")
        equal(await a.receive("pong"), {"type": "pong"}, "the answer")


@check("json: bad commands are answered with bad_request, and the session continues")
async def _(cluster):
    async with cluster.json(cluster.a) as a:
        for command in (
            {"type": "nonsense"},
            {"type": 17},
            {},
            {"type": "subscribe"},
            {"type": "subscribe", "channel": ""},
            {"type": "subscribe", "channel": "white space"},
            {"type": "subscribe", "channel": "control\x07"},
            {"type": "subscribe", "channel": "x" * 256},
            {"type": "subscribe", "channel": 17},
            {"type": "publish", "channel": new_channel()},
            {"type": "publish", "data": 1},
            {"type": "publish", "channel": new_channel(), "base64": "not base64!"},
        ):
            error = await a.ask("error", **command)
            equal((error["code"], error["temporary"]), ("bad_request", False), f"code and temporary for {short(command)}")
            assert error["message"], f"no message for {short(command)}"
        await a.alive()


@check("json: a text frame that is not a JSON object closes with 1003")
async def _(cluster):
    for frame in "hello", "[]", '"text"', "17", "null", "", '{"type":"ping"':
        async with cluster.json(cluster.a) as a:
            await a.socket.send(frame)
            equal(await closed(a.socket), 1003, f"the close code after {frame!r}")


@check("json: a binary frame closes with 1003, even one with a command in it")
async def _(cluster):
    async with cluster.json(cluster.a) as a:
        await a.socket.send(b'{"type":"ping"}')
        equal(await closed(a.socket), 1003, "the close code")


# Both protocols


@check("the library's ping is answered, with its payload")
async def _(cluster):
    async with cluster.plain(cluster.a, new_channel()) as plain, cluster.json(cluster.b) as b:
        for socket in plain, b.socket:
            for payload in b"", b"low water", b"\xff" * 125:
                await (await socket.ping(payload))


@check("closing is echoed with its code")
async def _(cluster):
    for code in 1000, 1001, 3000, 4321:
        async with cluster.plain(cluster.a, new_channel()) as plain, cluster.json(cluster.b) as b:
            for socket in plain, b.socket:
                await socket.close(code, "the tide turns")
                equal(await closed(socket), code, "the code that came back")


@check("a subscriber's disconnect does not affect others, and a new one receives publications")
async def _(cluster):
    channel = new_channel()
    async with cluster.plain(cluster.a, channel) as a:
        async with cluster.plain(cluster.b, channel):
            pass
        await a.send("still here")
        equal(await a.recv(), "still here", "what the other got")
        async with cluster.plain(cluster.b, channel) as again:
            await a.send("welcome back")
            first = await again.recv()
            if first == "still here":
                # Node b can receive it from Redis after the new subscriber came.
                first = await again.recv()
            equal(first, "welcome back", "what came after returning")


# Other services, through Redis


@check("redis: a plain PUBLISH reaches plain and json on every node, as it is", needs_redis=True)
async def _(cluster):
    channel = new_channel()
    async with (
        cluster.redis() as service,
        cluster.plain(cluster.a, channel) as plain_a,
        cluster.plain(cluster.b, channel) as plain_b,
        cluster.json(cluster.a, channel) as json_a,
        cluster.json(cluster.b, channel) as json_b,
    ):
        for payload, frame, fields in (
            (b"hello", "hello", ("text", "hello")),
            (UNICODE.encode(), UNICODE, ("text", UNICODE)),
            (b'{"price": 1.50}', '{"price": 1.50}', ("data", {"price": 1.5})),
            (b'{\n  "pretty": "print"\n}\n', '{\n  "pretty": "print"\n}\n', ("data", {"pretty": "print"})),
            (NOT_UTF8, NOT_UTF8, ("base64", base64_of(NOT_UTF8))),
            (b"", "", ("text", "")),
            (KIB_60_TEXT.encode(), KIB_60_TEXT, ("text", KIB_60_TEXT)),
            (KIB_60_BINARY, KIB_60_BINARY, ("base64", base64_of(KIB_60_BINARY))),
            (b"line one\nline two", "line one\nline two", ("text", "line one\nline two")),
        ):
            equal(await service.publish(f"tidegate:{channel}", payload), 2, "the nodes that received it")
            for plain in plain_a, plain_b:
                equal(await plain.recv(), frame, f"the plain frame of {short(payload)}")
            for session in json_a, json_b:
                equal(payload_of(await session.publication()), fields, f"the json payload of {short(payload)}")


@check("redis: a service's header line sets binary but no user; an invalid header line is payload", needs_redis=True)
async def _(cluster):
    channel = new_channel()
    async with cluster.redis() as service, cluster.plain(cluster.a, channel) as plain, cluster.json(cluster.b, channel) as b:
        await service.publish(f"tidegate:{channel}", b'\x1e{"binary":true,"user":"billing"}\nabc')
        equal(await plain.recv(), b"abc", "the plain frame")
        equal((await b.publication()).get("user"), None, "the user")
        for payload in b"\x1e", b"\x1eabc", b"\x1e{broken}\nabc", b"\x1e[]\nabc", b"\x1e{} without an end":
            await service.publish(f"tidegate:{channel}", payload)
            equal(await plain.recv(), payload.decode(), "the plain frame")
            equal(payload_of(await b.publication()), ("text", payload.decode()), "the json payload")


@check("redis: a node's publication begins with a header line", needs_redis=True)
async def _(cluster):
    channel = new_channel()
    async with cluster.redis() as service, service.pubsub() as listener, cluster.json(cluster.a) as a:
        await listener.subscribe(f"tidegate:{channel}")
        await a.ask("published", type="publish", channel=channel, text="hello")
        async for message in listener.listen():
            if message["type"] == "message":
                break
        header, payload = message["data"].split(b"\n", 1)
        equal((header[:1], payload), (b"\x1e", b"hello"), "mark and payload")
        fields = json.loads(header[1:])
        assert fields.keys() <= {"id", "ts", "node", "session", "user", "traceparent", "pos", "binary", "key"}, f"an unknown field in {fields}"


@check("redis: a node subscribes once to a channel, for any number of subscribers, and only while it has any", needs_redis=True)
async def _(cluster):
    channel = new_channel()
    name = f"tidegate:{channel}"
    async with cluster.redis() as service:

        async def subscribed_nodes():
            return (await service.pubsub_numsub(name))[0][1]

        equal(await subscribed_nodes(), 0, "subscribed nodes before")
        async with cluster.json(cluster.a, channel), cluster.json(cluster.a, channel), cluster.plain(cluster.a, channel):
            equal(await subscribed_nodes(), 1, "subscribed nodes with three subscribers")
        while await subscribed_nodes() > 0:  # the node may unsubscribe later; the check's timeout bounds this
            await asyncio.sleep(0.02)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node-a", required=True, metavar="URL")
    parser.add_argument("--node-b", required=True, metavar="URL")
    parser.add_argument("--redis-port", type=int, metavar="PORT")
    cluster = Cluster(**vars(parser.parse_args()))

    for what, needs_redis, function in checks:
        if needs_redis and cluster.redis_port is None:
            continue
        try:
            await asyncio.wait_for(function(cluster), TIMEOUT)
        except asyncio.TimeoutError as error:
            return failed(what, f"timeout: {TIMEOUT} s for the whole check", error.__cause__ or error)
        except Exception as error:
            return failed(what, str(error) or type(error).__name__, error)
        print(f"ok    {what}", flush=True)
    return 0


def failed(what, reason, error):
    print(f"FAIL  {what}\n      {reason}")
    # The innermost line of this file shows best what was expected.
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
    for frame in own[-3:]:
        print(f"      line {frame.lineno}: {frame.line}")
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
