"""Checks that compose.yaml, its overrides and their mounted files are consistent. Each check returns the faults it finds."""

import ipaddress
import os
import re
import subprocess

import yaml

import local
from fleet import BINARY
from queries import PENDING

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

# The ports of each service, from its configuration or its image.
PORTS = {
    "node-1": {8080, 9090}, "node-2": {8080, 9090}, "node-3": {8080, 9090}, "balancer": {8080, 8405}, "redis": {6379},
    "prometheus": {9090}, "grafana": {3000}, "otel-collector": {4317}, "jaeger": {4317, 16686},
}
OVERRIDES = {"HAProxy": (), "nginx": ("compose.nginx.yaml",), "Envoy": ("compose.envoy.yaml",)}
# Mounted files that contain the names of other services.
FILES = (
    "compose.toml", "haproxy/haproxy.cfg", "nginx/nginx.conf", "envoy/envoy.yaml", "prometheus/prometheus.yml", "otel/collector.yaml",
    "grafana/provisioning/datasources/tidegate.yaml",
)
SPARE_SECONDS = 10


def load(name):
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (local.DEPLOY / name).read_text())
    return yaml.safe_load(text)


def merged(base, override):
    """Merges like compose: the override's values win, and its mounts replace those with the same target."""
    services = {name: dict(service) for name, service in base["services"].items()}
    for name, more in override["services"].items():
        mounts = {it.split(":")[1]: it for it in services[name].get("volumes", []) + more.get("volumes", [])}
        services[name] = {**services[name], **more, "volumes": list(mounts.values())}
    return {**base, "services": services}


def faults():
    found = []
    base = load("compose.yaml")
    for variant, files in OVERRIDES.items():
        compose = base
        for name in files:
            compose = merged(compose, load(name))
        found += [f"{variant}: {it}" for it in structure_faults(compose)]
    found += name_faults({name: (local.DEPLOY / name).read_text() for name in (*FILES, "compose.yaml")}, base)
    found += node_faults(base)
    return found


def structure_faults(compose):
    services = compose["services"]
    addresses = {}
    subnet = ipaddress.ip_network(compose["networks"]["fleet"]["ipam"]["config"][0]["subnet"])
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                if not (local.DEPLOY / source).exists():
                    yield f"{name} mounts {source}, which does not exist"
            elif source not in compose["volumes"]:
                yield f"{name} mounts the volume {source}, which is not declared"
        build = service.get("build")
        if build and "Dockerfile" not in PENDING and not (local.DEPLOY / build["context"] / build["dockerfile"]).exists():
            yield f"{name} is built from {build['dockerfile']}, which does not exist"
        for other in service.get("depends_on", []):
            if other not in services:
                yield f"{name} waits for {other}, which is not a service"
        for published in service.get("ports", []):
            host, _, inner = published.rpartition(":")
            if not host.startswith("127.0.0.1:"):
                yield f"{name} publishes {published} beyond loopback"
            if int(inner) not in PORTS[name]:
                yield f"{name} publishes {inner}, where it does not listen"
        networks = service["networks"]
        if "fleet" not in networks:
            yield f"{name} is not in the network"
        if isinstance(networks, dict):
            address = ipaddress.ip_address(networks["fleet"]["ipv4_address"])
            if address not in subnet or addresses.setdefault(address, name) != name:
                yield f"{name} has the address {address}, which another service has or which is not in {subnet}"
    for name in PORTS.keys() - services.keys():
        yield f"there is no service {name}"


def name_faults(texts, compose):
    """Every host name is a service, with a port on which it listens."""
    for file, text in texts.items():
        without_comments = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        # The format of addresses in envoy.yaml.
        without_comments = re.sub(r"\baddress: ([\w-]+), port_value: (\d+)", r"\1:\2", without_comments)
        for host, port in re.findall(r"(?<![\w.\-/$:{])([a-z][a-z0-9-]+):(\d{4,5})\b", re.sub(r"\w+://", "", without_comments)):
            if int(port) not in PORTS.get(host, ()):
                yield f"{file} names {host}:{port}, on which no service listens"


def node_faults(compose):
    """The nodes accept their configuration, trust their load balancer, and have enough time for a drain."""
    config = tomllib.loads((local.DEPLOY / "compose.toml").read_text())
    balancer = compose["services"]["balancer"]["networks"]["fleet"]["ipv4_address"]
    if config["server"]["trusted_proxies"] != [balancer]:
        yield f"compose.toml trusts {config['server']['trusted_proxies']}, and the balancer is {balancer}"
    drain = sum(int(config["drain"][key].removesuffix("s")) for key in ("delay", "period"))
    for name in ("node-1", "node-2", "node-3"):
        service = compose["services"][name]
        if int(service["stop_grace_period"].removesuffix("s")) < drain + SPARE_SECONDS:
            yield f"{name} is killed {service['stop_grace_period']} after SIGTERM, and a drain takes {drain} s"
        environment = {key: str(value) for key, value in service["environment"].items() if key not in PENDING}
        check = subprocess.run(
            [BINARY, "check", "--config", local.DEPLOY / "compose.toml"],
            env={**os.environ, **environment}, capture_output=True, text=True,
        )
        if check.returncode:
            yield f"{name}: tidegate check: {check.stderr.strip()}"
            return
