"""Checks that the Job of load-tests/ can reach the nodes of a fleet in its namespace."""

from __future__ import annotations

from urllib.parse import urlsplit

from faults import named
from fleet import NAME, Fleet, allows, fits, port_number


def unreachable(load: Fleet, fleet: Fleet):
    (job,) = load.all("Job")
    pod = job["spec"]["template"]
    url = urlsplit(named(pod["spec"]["containers"][0]["env"], "URL")["value"])
    service = fleet.find("Service", url.hostname)
    if service is None or service not in fleet.services_of(fleet.deployment()):
        yield f"URL names {url.hostname}, which is no Service of the nodes"
        return
    port = next((p for p in service["spec"]["ports"] if p["port"] == (url.port or 80)), None)
    if port is None:
        yield f"URL names port {url.port}, which the Service {url.hostname} does not have"
        return
    container = fleet.container()
    labels = fleet.deployment()["spec"]["template"]["metadata"]["labels"]
    policies = [p["spec"] for p in fleet.all("NetworkPolicy") + load.all("NetworkPolicy") if fits(p["spec"]["podSelector"], labels)]
    wanted = {"namespace": {}, "pod": pod["metadata"]["labels"]}
    number = port_number(container, port["targetPort"])
    if policies and not any(allows(p.get("ingress", []), "from", wanted, number, container) for p in policies):
        yield "no NetworkPolicy lets the Job's pods to the nodes"


def job(load: Fleet) -> dict:
    return load.all("Job")[0]["spec"]["template"]


def url(load: Fleet, value: str) -> None:
    named(job(load)["spec"]["containers"][0]["env"], "URL")["value"] = value


def policy(load: Fleet) -> dict:
    return load.all("NetworkPolicy")[0]["spec"]


# Seeded faults of the Job and the fleet.
FAULTS = [
    ("the container's port", lambda load, _: url(load, "ws://tidegate:8080")),
    ("another Service", lambda load, _: url(load, "ws://gateway:80")),
    ("the Service at another port", lambda _, fleet: fleet.find("Service", "tidegate")["spec"]["ports"][0].update(port=8080)),
    ("no policy", lambda load, _: load.objects.remove(load.all("NetworkPolicy")[0])),
    ("other labels on its pods", lambda load, _: job(load)["metadata"]["labels"].update({NAME: "k6"})),
    ("a way in to something else", lambda load, _: policy(load)["podSelector"]["matchLabels"].update({NAME: "web"})),
    ("a way in to another port", lambda load, _: policy(load)["ingress"][0].update(ports=[{"port": "internal"}])),
]


def missed(load: Fleet, fleet: Fleet):
    """The seeded faults that were not found."""
    for what, make in FAULTS:
        faulty = load.copy(), fleet.copy()
        make(*faulty)
        if not list(unreachable(*faulty)):
            yield what
