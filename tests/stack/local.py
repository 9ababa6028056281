"""The files of deploy/ adapted to this machine: local ports instead of names, seconds instead of minutes."""

import random
import re
import socket
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"

# The idle timeout of all load balancers in deploy/, and its replacement here.
IDLE_TIMEOUT = "75s"
IDLE_SECONDS = 2


def free_port():
    """A free port below the ephemeral ports."""
    while True:
        port = random.randint(15000, 31999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def balancer(name, nodes, listen, other):
    """The configuration of a load balancer for `nodes` on the port `listen`; `other` is the port of its metrics."""
    path, own = {
        "haproxy": ("haproxy/haproxy.cfg", {"bind :8080": f"bind 127.0.0.1:{listen}", "bind :8405": f"bind 127.0.0.1:{other}"}),
        "nginx": ("nginx/nginx.conf", {"listen 8080;": f"listen 127.0.0.1:{listen};"}),
        "envoy": (
            "envoy/envoy.yaml",
            {"address: 0.0.0.0, port_value: 8080": f"address: 127.0.0.1, port_value: {listen}", "port_value: 9901": f"port_value: {other}"},
        ),
    }[name]
    text = replaced(DEPLOY / path, {**own, IDLE_TIMEOUT: f"{IDLE_SECONDS}s"})
    return with_nodes(text, nodes)


def prometheus(nodes):
    """prometheus.yml, with a scrape and an evaluation a second."""
    text = replaced(DEPLOY / "prometheus/prometheus.yml", {"_interval: 15s": "_interval: 1s"})
    return with_nodes(text, nodes)


def alerts():
    """alerts.yml, with every `for` divided by sixty."""
    text, count = re.subn(r"\bfor: (\d+)m$", r"for: \1s", (DEPLOY / "prometheus/alerts.yml").read_text(), flags=re.M)
    assert count, "alerts.yml has no `for: …m` any more"
    return text


def replaced(path, changes):
    """The file's text with the replacements. Fails if a text to replace is missing."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, f"{path.name} has no `{old}` any more, which tests/stack/local.py changes"
        text = text.replace(old, new)
    return text


def with_nodes(text, nodes):
    """Replaces `node-1` by 127.0.0.1, and 8080 and 9090 on the same line by the first node's ports; and so on."""
    lines = []
    for line in text.splitlines():
        for number, node in enumerate(nodes, 1):
            if f"node-{number}" in line:
                line = line.replace(f"node-{number}", "127.0.0.1").replace("8080", str(node.public)).replace("9090", str(node.internal))
        lines.append(line)
    return "\n".join(lines) + "\n"
