"""What must hold of a fleet beyond its objects' schemas. Each rule yields what is wrong; tests/manifests/faults.py shows
for each that it would."""

from __future__ import annotations

import re

from fleet import NAME, Fleet, allows, fits, matches, port_number
from settings import Refused, effective, seconds

# A key or secret that is set, or a URL with a password.
SECRET = re.compile(r"^[^#]*((api_key|\bsecret)\W*[=:]|://[^/\s]*:[^/\s]*@)", re.MULTILINE)

# What a node may need beyond drain.delay and drain.period until its last socket is closed.
DRAIN_REST = 10

# Below this a silent hour would scale a fleet down and up again, and disconnect everybody twice.
SCALE_DOWN_STABILIZATION_MIN = 300


def configuration(fleet: Fleet):
    """Nodes would start with it."""
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


def grace(fleet: Fleet):
    """Nobody is killed before it has drained."""
    drain = effective(fleet)["drain"]
    hook = fleet.container().get("lifecycle", {}).get("preStop", {})
    wait = hook.get("sleep", {}).get("seconds", 0)
    needed = wait + seconds(drain["delay"]) + seconds(drain["period"]) + DRAIN_REST
    given = fleet.pod().get("terminationGracePeriodSeconds", 30)
    if given < needed:
        yield f"terminationGracePeriodSeconds is {given}; delay, period and {DRAIN_REST} s are {needed:g}"
    if given > needed + 60:
        yield f"terminationGracePeriodSeconds is {given}, and a node is gone after {needed:g}"


def selectors(fleet: Fleet):
    """What selects selects what was meant."""
    for deployment in fleet.all("Deployment"):
        name = deployment["metadata"]["name"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        if not matches(deployment["spec"]["selector"]["matchLabels"], labels):
            yield f"Deployment {name} does not select its own pods"
        for spread in fleet.pod(deployment).get("topologySpreadConstraints", []):
            if not matches(spread["labelSelector"]["matchLabels"], labels):
                yield f"Deployment {name} spreads other pods than its own"
    pods = [d["spec"]["template"]["metadata"]["labels"] for d in fleet.all("Deployment")]
    for thing in fleet.all("Service", "PodDisruptionBudget", "NetworkPolicy"):
        selector = thing["spec"].get("podSelector", thing["spec"].get("selector", {}))
        if thing["kind"] != "Service":
            selector = selector.get("matchLabels", {})
        selected = [labels for labels in pods if matches(selector, labels)]
        if len(selected) != 1:
            yield f"{thing['kind']} {thing['metadata']['name']} selects {len(selected)} Deployments, not one"


def spread(fleet: Fleet):
    """Nodes are on several hosts and in several zones."""
    keys = {s["topologyKey"] for s in fleet.pod().get("topologySpreadConstraints", [])}
    for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname"):
        if key not in keys:
            yield f"pods are not spread over {key}"


def probes(fleet: Fleet):
    """Each asks the right thing at a port that is there."""
    container = fleet.container()
    for name, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        probe = container.get(name)
        if probe is None:
            yield f"there is no {name}"
            continue
        if probe["httpGet"]["path"] != path:
            yield f"{name} asks {probe['httpGet']['path']}, not {path}"
        if port_number(container, probe["httpGet"]["port"]) != port_number(container, "internal"):
            yield f"{name} does not ask the internal port"
    started = container.get("startupProbe", {})
    if started.get("failureThreshold", 3) * started.get("periodSeconds", 10) < 20:
        yield "startupProbe gives up after less than 20 s"


def services(fleet: Fleet):
    """Ports lead somewhere, and the internal one not out."""
    container = fleet.container()
    for service in fleet.services_of(fleet.deployment()):
        name = service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            number = port_number(container, port.get("targetPort", port["port"]))
            if number is None:
                yield f"Service {name} leads to {port.get('targetPort')!r}, which the container does not have"
            elif number == port_number(container, "internal") and service["spec"].get("clusterIP") != "None":
                yield f"Service {name} offers the internal port beside the public one"


def ways_in(fleet: Fleet):
    """Ingress and HTTPRoute lead to a port of a Service, and wait longer than connections are silent."""
    ping = seconds(effective(fleet)["session"]["ping_interval"])
    for ingress in fleet.all("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                yield from _leads_to(fleet, backend["name"], backend["port"].get("name", backend["port"].get("number")))
        notes = ingress["metadata"].get("annotations", {})
        for side in ("read", "send"):
            timeout = notes.get(f"nginx.ingress.kubernetes.io/proxy-{side}-timeout", "60")
            if seconds(timeout) <= ping * 1.5:
                yield f"proxy-{side}-timeout is {timeout} s, and nodes ping every {ping:g} s"
    for route in fleet.all("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield from _leads_to(fleet, backend["name"], backend["port"])
            for name in ("request", "backendRequest"):
                timeout = rule.get("timeouts", {}).get(name, "15s")
                if 0 < seconds(timeout) < 3600:
                    yield f"HTTPRoute's timeouts.{name} of {timeout} ends connections that live"
        for parent in route["spec"]["parentRefs"]:
            gateway = fleet.find("Gateway", parent["name"])
            listeners = [] if gateway is None else gateway["spec"]["listeners"]
            if parent.get("sectionName") not in [listener["name"] for listener in listeners]:
                yield f"HTTPRoute's parent {parent['name']} has no listener {parent.get('sectionName')!r}"


def _leads_to(fleet: Fleet, name: str, port: str | int):
    service = fleet.find("Service", name)
    if service is None or service not in fleet.services_of(fleet.deployment()):
        yield f"the way in leads to the Service {name}, which is not the nodes'"
    elif not any(port in (p.get("name"), p["port"]) for p in service["spec"]["ports"]):
        yield f"the way in leads to port {port} of {name}, which is not there"
    elif service["spec"].get("clusterIP") == "None":
        yield "the way in leads to the internal Service"


def network(fleet: Fleet):
    """Who must get through does, and the internal port is for monitoring only."""
    container = fleet.container()
    public, internal = port_number(container, "public"), port_number(container, "internal")
    policies = [
        p for p in fleet.all("NetworkPolicy")
        if fits(p["spec"]["podSelector"], fleet.deployment()["spec"]["template"]["metadata"]["labels"])
    ]
    if not policies:
        yield "no NetworkPolicy is about the nodes"
    for policy in policies:
        spec = policy["spec"]
        if set(spec.get("policyTypes", [])) != {"Ingress", "Egress"}:
            yield "the NetworkPolicy is not about both directions"
        name = "kubernetes.io/metadata.name"
        monitoring = {"namespace": {name: "monitoring"}}
        if not allows(spec.get("ingress", []), "from", monitoring, internal, container):
            yield "monitoring cannot scrape the internal port"
        outside = {"namespace": {name: "elsewhere"}}
        if allows(spec.get("ingress", []), "from", outside, internal, container):
            yield "any namespace reaches the internal port"
        if not any(
            port_number(container, p["port"]) == public for r in spec.get("ingress", []) for p in r.get("ports", [])
        ):
            yield "nobody reaches the public port"
        dns = {"namespace": {name: "kube-system"}, "pod": {"k8s-app": "kube-dns"}}
        redis = {"namespace": {}, "pod": {NAME: "redis"}}
        for what, wanted, port in (("DNS", dns, 53), ("Redis", redis, 6379), ("the OTLP collector", monitoring, 4317)):
            if not allows(spec.get("egress", []), "to", wanted, port):
                yield f"nodes cannot reach {what}"


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
        names = [m.get("pods", {}).get("metric", {}).get("name") for m in spec["metrics"]]
        if "tidegate_connections" not in names:
            yield "the autoscaler does not look at connections"
        if any(m["type"] == "Resource" for m in spec["metrics"]):
            if "cpu" not in fleet.container()["resources"].get("requests", {}):
                yield "the autoscaler looks at a share of CPU, and none is requested"


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


def images(fleet: Fleet):
    """A rollout is a decision: tags say what runs."""
    for deployment in fleet.all("Deployment"):
        for container in fleet.pod(deployment)["containers"]:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest") and "@sha256:" not in container["image"]:
                yield f"the image {container['image']} has no tag of its own"


def confinement(fleet: Fleet):
    """Nobody is root, writes where it should not, or may talk to the Kubernetes API."""
    for deployment in fleet.all("Deployment"):
        name, pod = deployment["metadata"]["name"], fleet.pod(deployment)
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name} may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name} has no seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name} gets a service account's token"
        if pod.get("enableServiceLinks") is not False:
            yield f"{name} gets every Service into its environment"
        for container in pod["containers"]:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{name} may gain privileges"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{name} may write to its image"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
                yield f"{name} keeps capabilities"
    account = fleet.pod().get("serviceAccountName")
    if fleet.find("ServiceAccount", account or "") is None:
        yield f"the service account {account} is not there"


def resources(fleet: Fleet):
    """Memory is bounded, because the node goes by the bound; CPU is not."""
    for deployment in fleet.all("Deployment"):
        for container in fleet.pod(deployment)["containers"]:
            own = container.get("resources", {})
            if "memory" not in own.get("limits", {}):
                yield f"{container['name']} has no memory limit"
            if "cpu" in own.get("limits", {}):
                yield f"{container['name']} has a CPU limit, which adds latency"
            if not {"cpu", "memory"} <= set(own.get("requests", {})):
                yield f"{container['name']} does not request CPU and memory"


def monitoring(fleet: Fleet):
    """What is scraped is there, each node once, also when it is not ready."""
    for monitor in fleet.all("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        selected = [s for s in fleet.all("Service") if matches(wanted, s["metadata"]["labels"])]
        if len(selected) != 1:
            yield f"the ServiceMonitor selects {len(selected)} Services, not one"
            continue
        ports = [p["name"] for p in selected[0]["spec"]["ports"]]
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint.get("port") not in ports:
                yield f"the ServiceMonitor scrapes port {endpoint.get('port')!r}, which is not there"
            if endpoint.get("path", "/metrics") != "/metrics":
                yield "the ServiceMonitor asks for another path than /metrics"
        if not selected[0]["spec"].get("publishNotReadyAddresses"):
            yield "nodes that are not ready are not scraped"
        job = selected[0]["metadata"]["labels"].get(monitor["spec"].get("jobLabel", ""), "")
        if "tidegate" not in job:
            yield f"the job is {job!r}, and the alerts are about those with tidegate in their name"


ALL = [
    configuration, grace, selectors, spread, probes, services, ways_in, network, autoscaler, disruption, images,
    confinement, resources, monitoring,
]


def broken(fleet: Fleet, rules=None):
    """The name of each broken rule and what is wrong. The others ask for a configuration that can be read."""
    wrong = [("configuration", fault) for fault in configuration(fleet)]
    try:
        effective(fleet)
    except Refused:
        return wrong
    for rule in (rules or ALL):
        if rule is not configuration:
            wrong += [(rule.__name__, fault) for fault in rule(fleet)]
    return wrong
