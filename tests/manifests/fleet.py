"""The Kubernetes objects of one rendered file, and their relations."""

from __future__ import annotations

import copy
from pathlib import Path

import yaml

NAME = "app.kubernetes.io/name"


class Fleet:
    """The objects of one kustomization or chart."""

    def __init__(self, name: str, objects: list[dict]):
        self.name = name
        self.objects = objects

    @classmethod
    def read(cls, path: Path) -> Fleet:
        return cls(path.stem, [o for o in yaml.safe_load_all(path.read_text()) if o])

    def copy(self) -> Fleet:
        return Fleet(self.name, copy.deepcopy(self.objects))

    def all(self, *kinds: str) -> list[dict]:
        return [o for o in self.objects if o["kind"] in kinds]

    def find(self, kind: str, name: str) -> dict | None:
        return next((o for o in self.all(kind) if o["metadata"]["name"] == name), None)

    def deployment(self) -> dict:
        """The nodes' Deployment."""
        return next(d for d in self.all("Deployment") if is_nodes(d))

    def pod(self, deployment: dict | None = None) -> dict:
        return (deployment or self.deployment())["spec"]["template"]["spec"]

    def container(self, deployment: dict | None = None) -> dict:
        return self.pod(deployment)["containers"][0]

    def services_of(self, deployment: dict) -> list[dict]:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        return [s for s in self.all("Service") if matches(s["spec"].get("selector"), labels)]

    def ways_in(self) -> list[dict]:
        return self.all("Ingress", "HTTPRoute")


def is_nodes(deployment: dict) -> bool:
    return deployment["metadata"].get("labels", {}).get(NAME) == "tidegate"


def matches(selector: dict | None, labels: dict) -> bool:
    """Empty selectors and typing errors match nothing, although an empty selector could match everything."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def port_number(container: dict, port: str | int) -> int | None:
    """The number of a named or numbered port if the container has it."""
    for there in container.get("ports", []):
        if port in (there.get("name"), there["containerPort"]):
            return there["containerPort"]
    return None


def allows(rules: list[dict], side: str, wanted: dict, port: int, container: dict | None = None) -> bool:
    """Whether a rule of a NetworkPolicy allows the namespace and pod labels of `wanted` at that port."""
    for rule in rules:
        ports = [p["port"] for p in rule.get("ports", [])]
        if container is not None:
            ports = [port_number(container, p) for p in ports]
        if rule.get("ports") and port not in ports:
            continue
        if not rule.get(side):
            return True
        for peer in rule[side]:
            namespace = peer.get("namespaceSelector")
            pod = peer.get("podSelector")
            if namespace is not None and not fits(namespace, wanted.get("namespace", {})):
                continue
            if pod is not None and not fits(pod, wanted.get("pod", {})):
                continue
            if "ipBlock" not in peer:
                return True
    return False


def fits(selector: dict, labels: dict) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
