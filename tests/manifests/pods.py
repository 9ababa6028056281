"""Rules about the pods themselves: placement, permissions and probes."""

from __future__ import annotations

from fleet import Fleet, port_number
from settings import effective, seconds, speaks_tls


def spread(fleet: Fleet):
    """Nodes are spread over hosts and zones."""
    keys = {s["topologyKey"] for s in fleet.pod().get("topologySpreadConstraints", [])}
    for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname"):
        if key not in keys:
            yield f"pods are not spread over {key}"


def probes(fleet: Fleet):
    """Each probe requests the right path at an existing port."""
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
        if (probe["httpGet"].get("scheme") == "HTTPS") != speaks_tls(fleet):
            yield f"{name} asks by {probe['httpGet'].get('scheme', 'HTTP')}, and the internal listener disagrees"
    if "client_ca" in effective(fleet)["internal"]["tls"]:
        yield "the internal listener wants certificates, and the kubelet shows none"
    started = container.get("startupProbe", {})
    if started.get("failureThreshold", 3) * started.get("periodSeconds", 10) < 20:
        yield "startupProbe gives up after less than 20 s"
    ready = container.get("readinessProbe", {})
    noticed = ready.get("failureThreshold", 3) * ready.get("periodSeconds", 10)
    delay = seconds(effective(fleet)["drain"]["delay"])
    if noticed >= delay:
        yield f"readinessProbe takes {noticed} s to notice a drain, and a node accepts for {delay:g} s"


def images(fleet: Fleet):
    """Images have a fixed tag, so that only a rollout changes the version."""
    for deployment in fleet.all("Deployment"):
        for container in fleet.pod(deployment)["containers"]:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest") and "@sha256:" not in container["image"]:
                yield f"the image {container['image']} has no tag of its own"


def confinement(fleet: Fleet):
    """Containers are not root, have a read-only file system, and have no access to the Kubernetes API."""
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
    """Memory has a limit, because the node derives its own limit from it; CPU has none."""
    for deployment in fleet.all("Deployment"):
        for container in fleet.pod(deployment)["containers"]:
            own = container.get("resources", {})
            if "memory" not in own.get("limits", {}):
                yield f"{container['name']} has no memory limit"
            if "cpu" in own.get("limits", {}):
                yield f"{container['name']} has a CPU limit, which adds latency"
            if not {"cpu", "memory"} <= set(own.get("requests", {})):
                yield f"{container['name']} does not request CPU and memory"
