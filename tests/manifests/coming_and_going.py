"""Rules about how nodes come and go: drain, rollouts, emptied hosts, autoscaling."""

from __future__ import annotations

from fleet import Fleet
from settings import effective, seconds

# What a node may need beyond drain.delay and drain.period until its last socket is closed.
DRAIN_REST = 10

# The most that a client is told to stay away (after_ms).
AWAY_MAX = 30

# Below this a silent hour would scale a fleet down and up again, and disconnect everybody twice.
SCALE_DOWN_STABILIZATION_MIN = 300


def grace(fleet: Fleet):
    """Nobody is killed before it has drained."""
    drain = effective(fleet)["drain"]
    hook = fleet.container().get("lifecycle", {}).get("preStop", {})
    wait = hook.get("sleep", {}).get("seconds", 0)
    needed = wait + seconds(drain["delay"]) + seconds(drain["period"]) + DRAIN_REST
    if "drain" not in hook.get("exec", {}).get("command", []):
        yield "preStop does not begin the drain"
    given = fleet.pod().get("terminationGracePeriodSeconds", 30)
    if given < needed:
        yield f"terminationGracePeriodSeconds is {given}; delay, period and {DRAIN_REST} s are {needed:g}"
    if given > needed + 60:
        yield f"terminationGracePeriodSeconds is {given}, and a node is gone after {needed:g}"


def rollout(fleet: Fleet):
    """The clients of one node are back before the next one drains: a Deployment does not wait for the first to be gone."""
    drain, spec = effective(fleet)["drain"], fleet.deployment()["spec"]
    pause = spec.get("minReadySeconds", 0)
    needed = seconds(drain["delay"]) + seconds(drain["period"]) + AWAY_MAX
    if pause < needed:
        yield f"minReadySeconds is {pause}; delay, period and {AWAY_MAX} s are {needed:g}"
    deadline = spec.get("progressDeadlineSeconds", 600)
    if deadline < pause + 300:
        yield f"progressDeadlineSeconds is {deadline}, and a node is given {pause} s after it is ready"


def disruption(fleet: Fleet):
    """Hosts can be emptied, and a rollout takes no node before another is there."""
    budgets = fleet.all("PodDisruptionBudget")
    if not budgets:
        yield "there is no PodDisruptionBudget"
    for budget in budgets:
        if budget["spec"].get("maxUnavailable") in (0, "0%", None):
            yield "the PodDisruptionBudget lets no host be emptied"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield "while Redis is away, no host can be emptied"
    rolling = fleet.deployment()["spec"].get("strategy", {}).get("rollingUpdate", {})
    if rolling.get("maxUnavailable") != 0:
        yield "a rollout takes nodes away before others are there"


def autoscaler(fleet: Fleet):
    """It scales the nodes, nobody else says how many there are, and it shrinks slowly."""
    for scaler in fleet.all("HorizontalPodAutoscaler"):
        spec = scaler["spec"]
        target = fleet.find(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        if target is None:
            yield f"the autoscaler's target {spec['scaleTargetRef']['name']} is not there"
        elif "replicas" in target["spec"]:
            yield "the Deployment says replicas, which undoes the autoscaler's"
        if spec.get("minReplicas", 1) < 2:
            yield "the autoscaler goes down to one node"
        down = spec.get("behavior", {}).get("scaleDown", {})
        if down.get("stabilizationWindowSeconds", 300) <= SCALE_DOWN_STABILIZATION_MIN:
            yield "the autoscaler shrinks at once"
        names = [m.get("pods", {}).get("metric", {}).get("name") for m in spec.get("metrics") or []]
        if "tidegate_connections" not in names:
            yield "the autoscaler does not look at connections"
        if any(m["type"] == "Resource" for m in spec.get("metrics") or []):
            if "cpu" not in fleet.container()["resources"].get("requests", {}):
                yield "the autoscaler looks at a share of CPU, and none is requested"
