"""What must hold of a fleet beyond its objects' schemas. Each rule yields what is wrong; tests/manifests/faults.py shows
for each that it would."""

from __future__ import annotations

import re

from coming_and_going import autoscaler, disruption, grace, rollout
from fleet import Fleet, port_number
from pods import confinement, images, probes, resources, spread
from settings import Refused, effective
from traffic import monitoring, network, selectors, services, ways_in

# A key or secret with a value, or a URL with a password.
SECRET = re.compile(r"^[^#]*((api_key|\bsecret)\W*[=:]|://[^/\s]*:[^/\s]*@)", re.MULTILINE)


def configuration(fleet: Fleet):
    """Nodes start with the configuration."""
    try:
        config = effective(fleet)
    except Refused as refused:
        yield str(refused)
        return
    container = fleet.container()
    for section, port in (("server", "public"), ("internal", "internal")):
        listen = config[section]["listen"]
        if int(listen.rpartition(":")[2]) != port_number(container, port):
            yield f"{section}.listen = {listen}, which is not the container's port {port!r}"
        if not listen.startswith(("0.0.0.0:", "[::]:")):
            yield f"{section}.listen = {listen} is not reachable from outside the pod"
    if fleet.ways_in() and config["auth"]["mode"] == "none":
        yield "there is a way in from outside, and auth.mode is none"
    if fleet.ways_in() and not config["server"]["trusted_proxies"]:
        yield "behind a proxy, and server.trusted_proxies is empty"
    if fleet.ways_in() and config["broker"]["url"].startswith("memory:"):
        yield "broker.url is memory:, so nodes do not hear each other"
    for source in fleet.all("ConfigMap"):
        if any(SECRET.search(text) for text in source.get("data", {}).values()):
            yield f"the ConfigMap {source['metadata']['name']} holds a secret"


ALL = [
    configuration, grace, rollout, selectors, spread, probes, services, ways_in, network, autoscaler, disruption, images,
    confinement, resources, monitoring,
]


def broken(fleet: Fleet, rules=None):
    """The name of each violated rule and the fault. The other rules need a valid configuration."""
    wrong = [("configuration", fault) for fault in configuration(fleet)]
    try:
        effective(fleet)
    except Refused:
        return wrong
    for rule in (rules or ALL):
        if rule is not configuration:
            wrong += [(rule.__name__, fault) for fault in rule(fleet)]
    return wrong
