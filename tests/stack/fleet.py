"""Real processes: Redis, nodes with the configuration of deploy/, load balancers and Prometheus."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import local

BINARY = os.environ.get("TIDEGATE", "target/debug/tidegate")
ENVOY = next(Path(sys.prefix).glob("lib/python*/site-packages/envoy/_bin/envoy"), None)

NODES = 3
PING_INTERVAL = 0.5
DRAIN_DELAY = 4
DRAIN_PERIOD = 2
# For each node, so three times as many for the fleet.
CONNECTIONS_PER_IP = 5
# For each node, within `limited`.
HANDSHAKES_PER_SECOND = 10
START_SECONDS_MAX = 20


def get(url, timeout=5):
    """Status and body, also of error responses; None without a response."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()
    except OSError:
        return None, b""


async def until(what, condition, seconds=START_SECONDS_MAX):
    """The condition's first true value; fails after the timeout."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        value = await asyncio.to_thread(condition)
        if value:
            return value
        assert asyncio.get_running_loop().time() < end, f"timeout: waited {seconds} s for {what}"
        await asyncio.sleep(0.05)


class Process:
    """A process. Its output is in `log`."""

    def __init__(self, name, scratch, *command, cwd=None):
        self.name, self.command, self.cwd = name, [str(it) for it in command], cwd
        self.log = scratch / f"{name}.log"
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.cwd)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Node(Process):
    def __init__(self, name, scratch, redis_port):
        self.public, self.internal = local.free_port(), local.free_port()
        self.config = scratch / f"{name}.toml"
        shutil.copy(local.DEPLOY / "compose.toml", self.config)
        settings = {
            "server.listen": f"127.0.0.1:{self.public}",
            "internal.listen": f"127.0.0.1:{self.internal}",
            "server.trusted_proxies": "127.0.0.1",
            "broker.url": f"redis://127.0.0.1:{redis_port}",
            "session.ping_interval": f"{int(PING_INTERVAL * 1000)}ms",
            "drain.delay": f"{DRAIN_DELAY}s",
            "drain.period": f"{DRAIN_PERIOD}s",
            "limits.connections_per_ip": CONNECTIONS_PER_IP,
        }
        flags = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        super().__init__(name, scratch, BINARY, "serve", "--config", self.config, *flags)

    def ready(self):
        return get(f"http://127.0.0.1:{self.internal}/readyz")[0] == 200

    def reloads(self):
        """The number of configurations that it has loaded."""
        metrics = get(f"http://127.0.0.1:{self.internal}/metrics")[1].decode()
        return metrics.split('tidegate_config_reloads_total{outcome="taken_up"} ')[1].split()[0]

    async def load(self, config):
        before = self.reloads()
        self.config.write_text(config)
        self.signal(signal.SIGHUP)
        await until(f"{self.name} to load its configuration", lambda: self.reloads() != before)


class Fleet:
    """All processes. `close` ends them."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.processes = []

    def add(self, process):
        self.processes.append(process)
        return process

    async def start(self):
        self.redis_port = local.free_port()
        redis_home = self.scratch / "redis"
        redis_home.mkdir()
        self.redis = self.add(Process(
            "redis", self.scratch, "redis-server", local.DEPLOY / "redis/redis.conf",
            "--port", self.redis_port, "--bind", "127.0.0.1", "--dir", redis_home,
        ))
        self.nodes = [self.add(Node(f"node-{number}", self.scratch, self.redis_port)) for number in range(1, NODES + 1)]
        for node in self.nodes:
            await until(f"{node.name} to be ready", node.ready)

    @contextlib.asynccontextmanager
    async def limited(self):
        """Within it, each node accepts HANDSHAKES_PER_SECOND."""
        config = self.nodes[0].config.read_text()
        limits = f"\n[limits]\nhandshakes_per_second = {HANDSHAKES_PER_SECOND}\n"
        await asyncio.gather(*(node.load(config + limits) for node in self.nodes))
        yield
        await asyncio.gather(*(node.load(config) for node in self.nodes))

    async def start_balancer(self, name):
        """Starts it, and returns its address for clients."""
        listen, other = local.free_port(), local.free_port()
        config = self.scratch / f"{name}.{'yaml' if name == 'envoy' else 'cfg'}"
        config.write_text(local.balancer(name, self.nodes, listen, other))
        self.add(Process(name, self.scratch, *{
            "haproxy": ("haproxy", "-db", "-f", config),
            "nginx": ("nginx", "-c", config, "-g", f"daemon off; pid {self.scratch}/nginx.pid;"),
            "envoy": (ENVOY, "-c", config, "--use-dynamic-base-id", "--concurrency", "2", "--log-level", "warn"),
        }[name]))
        # Any response of a node to this path is enough.
        await until(f"{name} to find a node", lambda: get(f"http://127.0.0.1:{listen}/ws")[0] not in (None, 502, 503))
        return f"127.0.0.1:{listen}"

    async def start_prometheus(self):
        home = self.scratch / "prometheus"
        home.mkdir()
        (home / "prometheus.yml").write_text(local.prometheus(self.nodes))
        (home / "alerts.yml").write_text(local.alerts())
        port = local.free_port()
        self.prometheus = f"http://127.0.0.1:{port}"
        self.add(Process(
            "prometheus", self.scratch, "prometheus", f"--config.file={home}/prometheus.yml",
            f"--storage.tsdb.path={home}/data", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ))
        await until("Prometheus", lambda: get(f"{self.prometheus}/-/ready")[0] == 200)

    def ask_prometheus(self, path, **parameters):
        """The data of its response. Fails with Prometheus' error message."""
        _, body = get(f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(body)
        if answer["status"] != "success":
            raise ValueError(answer["error"])
        return answer["data"]

    def alerts_firing(self):
        """(name, node) of each firing alert."""
        alerts = self.ask_prometheus("alerts")["alerts"]
        return {(it["labels"]["alertname"], it["labels"].get("instance")) for it in alerts if it["state"] == "firing"}

    def close(self):
        for process in reversed(self.processes):
            if process.process.poll() is None:
                process.signal(signal.SIGCONT)
                process.process.terminate() if process.name in ("nginx", "prometheus") else process.process.kill()
        for process in self.processes:
            try:
                process.process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
