#!/usr/bin/env python3
"""Checks rendered Kubernetes objects: each against the schema of its kind, and together against tests/manifests/rules.py.

    check.py FILE.yaml…              prints what is wrong; exits 1 where anything is
    check.py --custom FILE.yaml…     prints the custom resources, for custom_resources.mjs
    check.py --same A.yaml B.yaml    compares two fleets, one of kustomize and one of Helm
    check.py --load LOAD.yaml F.yaml…  asks whether the Job of load-tests/ reaches each of the fleets
    check.py --faults FILE.yaml…     seeds tests/manifests/faults.py into `production.yaml` and `gateway.yaml`: each must be found

TIDEGATE names the binary that checks configurations.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import kubernetes_validate

import faults
import load_test
import rules
from fleet import Fleet, is_nodes
from same import differences

# The oldest version that the chart allows, and the newest with known schemas.
VERSIONS = ("1.27", kubernetes_validate.latest_version())

CUSTOM = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")


def schema_faults(fleet: Fleet, versions=VERSIONS) -> list[str]:
    """Strict: an unknown field is a fault. At most one fault for each object."""
    wrong = []
    for thing in fleet.objects:
        if thing["apiVersion"].startswith(CUSTOM):
            continue
        for version in versions:
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = ".".join(str(step) for step in error.path)
                wrong.append(f"{thing['kind']} {thing['metadata']['name']}, Kubernetes {version}: {path}: {error.message}")
    names = [(t["kind"], t["metadata"]["name"]) for t in fleet.objects]
    wrong += [f"{kind} {name} is there twice" for kind, name in set(names) if names.count((kind, name)) > 1]
    return wrong


def check(fleets: list[Fleet]) -> int:
    count = 0
    for fleet in fleets:
        if not any(is_nodes(d) for d in fleet.all("Deployment")):
            print(f"{fleet.name}: there is no Deployment of Tidegate's nodes in it")
            count += 1
            continue
        wrong = schema_faults(fleet) + [f"{rule}: {fault}" for rule, fault in rules.broken(fleet)]
        for fault in wrong:
            print(f"{fleet.name}: {fault}")
        print(f"{fleet.name}: {len(fleet.objects)} objects, {len(wrong)} faults")
        count += len(wrong)
    return count


def seed(fleets: list[Fleet]) -> int:
    """The number of seeded faults that no rule found."""
    named = {fleet.name: fleet for fleet in fleets}
    missed = total = 0
    for fleet, seeded in ((named["production"], faults.PRODUCTION), (named["gateway"], faults.GATEWAY)):
        for rule, what, make in seeded:
            faulty = fleet.copy()
            make(faulty)
            total += 1
            if rule not in [name for name, _ in rules.broken(faulty)]:
                print(f"{fleet.name}: `{rule}` does not find: {what}")
                missed += 1
    for what, make in SCHEMA_FAULTS:
        faulty = named["production"].copy()
        make(faulty)
        total += 1
        if not schema_faults(faulty, VERSIONS[-1:]):
            print(f"the schemas do not find: {what}")
            missed += 1
    without = {rule.__name__ for rule in rules.ALL} - {rule for rule, _, _ in faults.PRODUCTION + faults.GATEWAY}
    for rule in sorted(without):
        print(f"no fault is seeded for `{rule}`")
    print(f"{total} seeded faults, {missed} not found")
    return missed + len(without)


SCHEMA_FAULTS = [
    ("a misspelt field", lambda f: f.pod().update(terminationGracePeriodSecond=40)),
    ("a text for a number", lambda f: f.pod().update(terminationGracePeriodSeconds="40")),
    ("a probe in the wrong place", lambda f: f.pod().update(livenessProbe={})),
    ("the same object twice", lambda f: f.objects.append(f.deployment())),
]


def custom(fleets: list[Fleet]) -> int:
    found = [
        {"fleet": fleet.name, "resource": thing}
        for fleet in fleets for thing in fleet.objects if thing["apiVersion"].startswith(CUSTOM)
    ]
    print(json.dumps(found))
    return 0


def same(fleets: list[Fleet]) -> int:
    there, here = fleets
    wrong = differences(there, here)
    for difference in wrong:
        print(f"{there.name} and {here.name}: {difference}")
    faulty = here.copy()
    faulty.container()["readinessProbe"]["periodSeconds"] += 1
    blind = len(differences(there, faulty)) == len(wrong)
    if blind:
        print("a seeded difference is not found")
    print(f"{there.name} and {here.name}: {len(wrong)} differences")
    return len(wrong) + blind


def load(fleets: list[Fleet]) -> int:
    job, *there = fleets
    wrong = schema_faults(job)
    for fleet in there:
        wrong += [f"{fleet.name}: {fault}" for fault in load_test.unreachable(job, fleet)]
        wrong += [f"{fleet.name}: a seeded fault is not found: {what}" for what in load_test.missed(job, fleet)]
    for fault in wrong:
        print(f"{job.name}: {fault}")
    print(f"{job.name}: {len(load_test.FAULTS)} seeded faults, {len(wrong)} faults")
    return len(wrong)


def main(arguments: list[str]) -> int:
    logging.disable(logging.WARNING)
    actions = {"--faults": seed, "--custom": custom, "--same": same, "--load": load}
    action = actions.get(arguments[0] if arguments else "", check)
    fleets = [Fleet.read(Path(name)) for name in arguments[action is not check:]]
    if not fleets:
        print(__doc__)
        return 2
    return 1 if action(fleets) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
