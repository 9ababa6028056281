"""Compares what two ways of installing the same fleet put into a cluster."""

from __future__ import annotations

from fleet import Fleet
from settings import effective

# What Helm adds to every object, and selects by.
OF_HELM = ("app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")

# The chart's is YAML, the overlay's TOML; what they say is compared instead.
CONFIG_FILES = ("/etc/tidegate/tidegate.yaml", "/etc/tidegate/tidegate.toml")


def differences(there: Fleet, here: Fleet) -> list[str]:
    wrong = []
    objects = [{(o["kind"], o["metadata"]["name"]): plain(o) for o in fleet.objects} for fleet in (there, here)]
    # A namespace is Helm's own business.
    for key in sorted((objects[0].keys() | objects[1].keys()) - {("Namespace", "tidegate")}):
        left, right = (of_fleet.get(key) for of_fleet in objects)
        if left is None or right is None:
            wrong.append(f"{' '.join(key)} is only in {(there if right is None else here).name}")
        elif key[0] != "ConfigMap":
            wrong += [f"{' '.join(key)}: {what}" for what in unequal(left, right)]
    return wrong + [f"configuration: {what}" for what in unequal(effective(there), effective(here))]


def plain(value):
    """Without what is Helm's, without order in lists of named things, without what is the default."""
    if isinstance(value, dict):
        cleaned = {key: plain(item) for key, item in value.items() if key not in (*OF_HELM, "namespace")}
        if cleaned.get("imagePullPolicy") == "IfNotPresent":
            del cleaned["imagePullPolicy"]
        if cleaned.get("type") == "ClusterIP":
            del cleaned["type"]
        return cleaned
    if isinstance(value, list):
        items = [plain(item) for item in value]
        if all(isinstance(item, dict) and "name" in item for item in items):
            items.sort(key=lambda item: item["name"])
        return items
    return CONFIG_FILES[0] if value == CONFIG_FILES[1] else value


def unequal(left, right, path="") -> list[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(left.keys() | right.keys())
        return [d for key in keys for d in unequal(left.get(key), right.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [d for at, pair in enumerate(zip(left, right)) for d in unequal(*pair, f"{path}[{at}]")]
    return [] if left == right else [f"{path} is {left!r} and {right!r}"]
