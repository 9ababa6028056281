"""The effective configuration of a rendered fleet's nodes, from `tidegate check`."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

try:
    import tomllib
except ImportError:
    import tomli as tomllib

from fleet import Fleet

# Where the manifests mount the files of auth.keys.
KEYS = "/run/secrets/tidegate"


class Refused(Exception):
    """The errors of `tidegate check` and Kubernetes."""


def effective(fleet: Fleet) -> dict:
    container, pod = fleet.container(), fleet.pod()
    args = container.get("args", [])
    if "--config" not in args:
        raise Refused("the container has no --config")
    path = Path(args[args.index("--config") + 1])
    mount = next((m for m in container["volumeMounts"] if m["mountPath"] == str(path.parent)), None)
    if mount is None or "subPath" in mount:
        raise Refused(f"{path.parent} is not mounted as a folder, so a change would not be seen")
    volume = next((v for v in pod["volumes"] if v["name"] == mount["name"]), {})
    source = fleet.find("ConfigMap", volume.get("configMap", {}).get("name"))
    if source is None or path.name not in source.get("data", {}):
        raise Refused(f"no ConfigMap has {path.name}")
    text = source["data"][path.name]
    if KEYS in text and not any(m["mountPath"] == KEYS for m in container["volumeMounts"]):
        raise Refused(f"auth.keys names files in {KEYS}, which is not mounted")
    return checked(path.name, text, tuple(environment(fleet, container)))


def environment(fleet: Fleet, container: dict):
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        yield entry["name"], secret(fleet, reference) if reference else entry["value"]


def secret(fleet: Fleet, reference: dict) -> str:
    """Placeholders for the Secrets that operators create, which are not among the objects."""
    there = fleet.find("Secret", reference["name"])
    if there is None:
        return {"broker-url": "redis://redis:6379"}.get(reference["key"], "of-the-operator")
    if reference["key"] not in there.get("data", {}):
        raise Refused(f"the Secret {reference['name']} has no {reference['key']}")
    return base64.b64decode(there["data"][reference["key"]]).decode()


@lru_cache(maxsize=64)
def checked(name: str, text: str, variables: tuple[tuple[str, str], ...]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        for key in re.findall(re.escape(KEYS) + r"/([\w.-]+)", text):
            (make_certificate if key.endswith(".crt") else make_key)(Path(folder, key))
        file = Path(folder, name)
        file.write_text(text.replace(KEYS, folder))
        run = subprocess.run(
            [os.environ.get("TIDEGATE", "target/debug/tidegate"), "check", "--config", file],
            env=dict(variables), capture_output=True, text=True, check=False,
        )
    if run.returncode != 0:
        raise Refused(f"tidegate check: {run.stderr.strip()}")
    return tomllib.loads(run.stdout.replace(folder, KEYS))


def make_certificate(path: Path) -> None:
    """A self-signed certificate, its key, and itself as CA."""
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=tidegate"]
    subprocess.run([*command, "-keyout", path.with_suffix(".key"), "-out", path], check=True, capture_output=True)


def make_key(path: Path) -> None:
    if path.exists():
        return
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)


def speaks_tls(fleet: Fleet) -> bool:
    """Whether the internal listener uses TLS."""
    return "cert" in effective(fleet)["internal"]["tls"]


UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> float:
    """Seconds of `25s`, and of nginx's and Gateway API's `1h` or `3600`."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h|d|)", duration)
    return sum(float(number) * UNITS[unit or "s"] for number, unit in parts if number)
