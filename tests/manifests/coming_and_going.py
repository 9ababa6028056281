"""Rules about starting and stopping nodes: drains, rollouts, drained hosts, autoscaling."""

from __future__ import annotations

from fleet import Fleet
from settings import effective, seconds

# The time after drain.delay and drain.period that a node may need to close its last socket.
DRAIN_REST = 10

# The longest after_ms of a client.
AWAY_MAX = 30

# A shorter window would scale a fleet down and up again in a quiet hour and disconnect all clients twice.
SCALE_DOWN_STABILIZATION_MIN = 300


def grace(fleet: Fleet):
    """A node is not killed before it has drained."""
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
    """The clients of one node have reconnected before the next node drains: a Deployment does not wait for terminating pods."""
    drain, spec = effective(fleet)["drain"], fleet.deployment()["spec"]
    pause = spec.get("minReadySeconds", 0)
    needed = seconds(drain["delay"]) + seconds(drain["period"]) + AWAY_MAX
    if pause < needed:
        yield f"minReadySeconds is {pause}; delay, period and {AWAY_MAX} s are {needed:g}"
    deadline = spec.get("progressDeadlineSeconds", 600)
    if deadline < pause + 300:
        yield f"progressDeadlineSeconds is {deadline}, and a node is given {pause} s after it is ready"


def disruption(fleet: Fleet):
    """Hosts can be drained, and a rollout removes no node before a new one is ready."""
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
    """It scales the nodes, is the only one that sets their number, and scales down slowly."""
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
