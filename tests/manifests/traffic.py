"""Rules about network paths: selectors, ports, ingress, policies, scraping."""

from __future__ import annotations

from fleet import NAME, Fleet, allows, fits, matches, port_number
from settings import effective, seconds, speaks_tls


def selectors(fleet: Fleet):
    """Every selector matches the intended pods."""
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


def services(fleet: Fleet):
    """Every port has a target, and the internal port is not exposed."""
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
    """Ingress and HTTPRoute lead to a port of a Service, and their timeouts are longer than connections are idle."""
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
                yield from _speaks_websocket(fleet, backend["name"], backend["port"])
            for name in ("request", "backendRequest"):
                timeout = rule.get("timeouts", {}).get(name, "15s")
                if 0 < seconds(timeout) < 3600:
                    yield f"HTTPRoute's timeouts.{name} of {timeout} ends connections that live"
        for parent in route["spec"]["parentRefs"]:
            gateway = fleet.find("Gateway", parent["name"])
            listeners = [] if gateway is None else gateway["spec"]["listeners"]
            if parent.get("sectionName") not in [listener["name"] for listener in listeners]:
                yield f"HTTPRoute's parent {parent['name']} has no listener {parent.get('sectionName')!r}"


def _speaks_websocket(fleet: Fleet, name: str, port: int):
    service = fleet.find("Service", name)
    for there in service["spec"]["ports"] if service else []:
        if there["port"] == port and there.get("appProtocol") != "kubernetes.io/ws":
            yield f"the Service {name} does not tell the Gateway that it speaks WebSocket"


def _leads_to(fleet: Fleet, name: str, port: str | int):
    service = fleet.find("Service", name)
    if service is None or service not in fleet.services_of(fleet.deployment()):
        yield f"the way in leads to the Service {name}, which is not the nodes'"
    elif not any(port in (p.get("name"), p["port"]) for p in service["spec"]["ports"]):
        yield f"the way in leads to port {port} of {name}, which is not there"
    elif service["spec"].get("clusterIP") == "None":
        yield "the way in leads to the internal Service"


def network(fleet: Fleet):
    """Required traffic is allowed, and the internal port is for monitoring only."""
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
        offered = {s["spec"].get("type") for s in fleet.services_of(fleet.deployment())}
        if offered & {"LoadBalancer", "NodePort"} and not allows(spec.get("ingress", []), "from", outside, public, container):
            yield "a Service offers the public port to clients outside, and the NetworkPolicy keeps them out"
        dns = {"namespace": {name: "kube-system"}, "pod": {"k8s-app": "kube-dns"}}
        redis = {"namespace": {}, "pod": {NAME: "redis"}}
        for what, wanted, port in (("DNS", dns, 53), ("Redis", redis, 6379), ("the OTLP collector", monitoring, 4317)):
            if not allows(spec.get("egress", []), "to", wanted, port):
                yield f"nodes cannot reach {what}"


def monitoring(fleet: Fleet):
    """Scrape targets exist, each node once, also when it is not ready."""
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
            if seconds(endpoint.get("scrapeTimeout", "0s")) > seconds(endpoint["interval"]):
                yield "the ServiceMonitor waits for longer than it pauses, which the operator refuses"
            if (endpoint.get("scheme") == "https") != speaks_tls(fleet):
                yield f"the ServiceMonitor asks by {endpoint.get('scheme', 'http')}, and the internal listener disagrees"
            if endpoint.get("path", "/metrics") != "/metrics":
                yield "the ServiceMonitor asks for another path than /metrics"
        if not selected[0]["spec"].get("publishNotReadyAddresses"):
            yield "nodes that are not ready are not scraped"
        job = selected[0]["metadata"]["labels"].get(monitor["spec"].get("jobLabel", ""), "")
        if "tidegate" not in job:
            yield f"the job is {job!r}, and the alerts are about those with tidegate in their name"
