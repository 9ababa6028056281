"""The checks of one load balancer, as its clients see it."""

import asyncio
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field

import websockets

import local
from fleet import CONNECTIONS_PER_IP, HANDSHAKES_PER_SECOND, NODES

SECONDS_MAX = 15
CROWD = 30
# More for a load balancer that compares randomly chosen nodes, so that chance averages out.
CROWD_FOR_RANDOM_CHOICE = 90
# A storm is this many times the fleet's handshake limit.
STORM = 3
STORM_SECONDS = 0.8
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Client:
    """A session of the json protocol that knows its node and reconnects after a drain."""

    def __init__(self, balancer, address):
        self.balancer, self.address = balancer, address

    async def connect(self, **more):
        self.socket = await websockets.connect(
            f"ws://{self.balancer.address}/ws", local_addr=(self.address, 0), open_timeout=SECONDS_MAX, **more
        )
        self.node = (await self.receive("welcome"))["node"]
        return self

    async def receive(self, kind):
        while True:
            message = json.loads(await asyncio.wait_for(self.socket.recv(), SECONDS_MAX))
            if message["type"] == kind:
                return message
            assert message["type"] != "error", message

    async def ask(self, kind, **command):
        await self.socket.send(json.dumps({"id": 1, **command}))
        return await self.receive(kind)

    async def publish(self, data):
        await self.ask("subscribed", type="subscribe", channel="prices:tide")
        await self.ask("published", type="publish", channel="prices:tide", data=data)

    async def stay_connected(self):
        """Until cancelled: reconnects whenever the connection ends. Records and retries a failed handshake."""
        while True:
            try:
                async for _ in self.socket:
                    pass
            except websockets.ConnectionClosed:
                pass
            self.balancer.closes[self.socket.close_code] += 1
            while not await self.balancer.recorded("a reconnecting client", self.connect()):
                await asyncio.sleep(0.1)


@dataclass(eq=False)
class Balancer:
    name: str
    number: int
    address: str
    # Whether it checks the nodes' readiness.
    checks_readiness: bool
    # Whether it compares all nodes, or only randomly chosen ones.
    compares_all: bool
    crowd: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    # (time, node) of each connection of `arrive`.
    arrivals: list = field(default_factory=list)
    closes: Counter = field(default_factory=Counter)

    def __post_init__(self):
        # Addresses of this load balancer's clients, each used once, because limits count by address.
        self.addresses = (f"127.{self.number}.{a}.{b}" for a in range(1, 255) for b in range(1, 255))

    def client(self):
        return Client(self, next(self.addresses))

    async def recorded(self, what, connecting):
        """The result, or None after a failure. Records the failure, unless the node closed the connection after the handshake."""
        try:
            return await connecting
        except websockets.ConnectionClosed:
            return None
        except (OSError, AssertionError, TimeoutError, websockets.WebSocketException) as failure:
            self.failures.append(f"{what}: {failure!r}")

    async def finds_all(self):
        """Waits until it uses all nodes."""

        async def connect_to_all():
            seen = set()
            while len(seen) < NODES:
                client = await self.client().connect()
                seen.add(client.node)
                await client.socket.close()

        await asyncio.wait_for(connect_to_all(), SECONDS_MAX)

    def by_node(self):
        return Counter(client.node for client in self.crowd)

    async def spreads(self):
        """The next connection goes to the node with the fewest, not to the next node in turn."""
        size = CROWD if self.compares_all else CROWD_FOR_RANDOM_CHOICE
        for _ in range(size):
            self.crowd.append(await self.client().connect())
        counts = self.by_node()
        apart = max(counts.values()) - min(counts.values())
        assert len(counts) == NODES and apart <= (2 if self.compares_all else size / 5), f"{size} connections went {dict(counts)}"

        emptied = min(counts)
        for client in [it for it in self.crowd if it.node == emptied]:
            await client.socket.close()
            self.crowd.remove(client)
        newcomers = [await self.client().connect() for _ in range(counts[emptied] - 1)]
        self.crowd += newcomers
        went = Counter(client.node for client in newcomers)
        enough = len(newcomers) - 1 if self.compares_all else 0.4 * len(newcomers)
        assert went[emptied] >= enough, f"{emptied} was empty, and {len(newcomers)} new connections went {dict(went)}"
        return f"{went[emptied]} of {len(newcomers)} to a node that was empty"

    async def leave_only(self, count, node):
        """Closes all but this many connections of the crowd to that node."""
        for client in [it for it in self.crowd if it.node == node][count:]:
            await client.socket.close()
            self.crowd.remove(client)

    async def relays(self):
        """After a real upgrade, all clients on all nodes receive the publications of one."""
        channel = f"chat:{self.name}"
        first = self.crowd[0]
        assert first.socket.response.status_code == 101
        for client in self.crowd:
            await client.ask("subscribed", type="subscribe", channel=channel)
        await first.ask("published", type="publish", channel=channel, data="high water")
        for client in self.crowd[1:]:
            assert (await client.receive("publication"))["data"] == "high water"

    async def forwards_addresses(self):
        """A node's limits apply to the client's address, and a client cannot evade them with a forged header."""
        address = next(self.addresses)
        opened = []
        try:
            for number in range(NODES * CONNECTIONS_PER_IP + 1):
                headers = {"X-Forwarded-For": f"192.0.2.{number}"}
                opened.append(await Client(self, address).connect(additional_headers=headers))
            raise AssertionError(f"{len(opened)} connections of one address: the nodes see other addresses")
        except websockets.InvalidStatus as refused:
            assert refused.response.status_code == 429, f"refused with {refused.response.status_code}"
        finally:
            for client in opened:
                await client.socket.close()
        assert len(opened) >= CONNECTIONS_PER_IP, f"one address got only {len(opened)} connections"
        await (await self.client().connect()).socket.close()

    async def storm(self):
        """Sends more handshakes than the nodes' limit. Returns the number of each status."""
        rate = STORM * NODES * HANDSHAKES_PER_SECOND
        tries = []
        for _ in range(int(rate * STORM_SECONDS)):
            tries.append(asyncio.create_task(self.handshake_status(next(self.addresses))))
            await asyncio.sleep(1 / rate)
        return Counter(await asyncio.gather(*tries))

    async def handshake_status(self, address):
        """The status of a handshake. Without `websockets`, which fails if head and body of a refusal arrive separately."""
        reader, writer = await asyncio.open_connection(*self.address.split(":"), local_addr=(address, 0))
        writer.write(HANDSHAKE)
        line = await asyncio.wait_for(reader.readline(), SECONDS_MAX)
        writer.close()
        return int(line.split()[1]) if line else None

    async def keeps_idle(self):
        """Connections that only answer pings stay open for twice the idle timeout."""
        await asyncio.sleep(2.5 * local.IDLE_SECONDS)
        for client in self.crowd:
            await client.ask("pong", type="ping")

    async def arrive(self):
        """Until cancelled: opens a connection, publishes, disconnects, and repeats. Records nodes and failures."""
        for number in itertools.count():
            client = await self.recorded(f"new connection {number}", self.client().connect())
            if client:
                self.arrivals.append((asyncio.get_running_loop().time(), client.node))
                await self.recorded(f"publication {number}", client.publish(number))
                await client.socket.close()
            await asyncio.sleep(0.02)

    def arrived_at(self, node, since):
        return [time for time, arrived in self.arrivals if arrived == node and time >= since]
