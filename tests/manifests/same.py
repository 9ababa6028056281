"""Compares the objects of two ways to install the same fleet."""

from __future__ import annotations

from fleet import Fleet
from settings import effective

# Labels that Helm adds to every object.
OF_HELM = ("app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")

# The chart's configuration is YAML, the overlay's TOML, so their contents are compared.
CONFIG_FILES = ("/etc/tidegate/tidegate.yaml", "/etc/tidegate/tidegate.toml")


def differences(there: Fleet, here: Fleet) -> list[str]:
    wrong = []
    objects = [{(o["kind"], o["metadata"]["name"]): plain(o) for o in fleet.objects} for fleet in (there, here)]
    # Helm creates the namespace itself.
    for key in sorted((objects[0].keys() | objects[1].keys()) - {("Namespace", "tidegate")}):
        left, right = (of_fleet.get(key) for of_fleet in objects)
        if left is None or right is None:
            wrong.append(f"{' '.join(key)} is only in {(there if right is None else here).name}")
        elif key[0] != "ConfigMap":
            wrong += [f"{' '.join(key)}: {what}" for what in unequal(left, right)]
    return wrong + [f"configuration: {what}" for what in unequal(effective(there), effective(here))]


def plain(value):
    """Without Helm's labels, the order of named list items, and default values."""
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
