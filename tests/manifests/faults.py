"""Seeded faults, and the rule that must find each, because a rule that cannot fail proves nothing."""

from __future__ import annotations

from fleet import NAME, Fleet


def replace(text: str, there: str, new: str) -> str:
    assert there in text, f"{there!r} is not in the configuration"
    return text.replace(there, new)


def config(fleet: Fleet, there: str, new: str) -> None:
    (source,) = fleet.all("ConfigMap")
    ((name, text),) = source["data"].items()
    source["data"][name] = replace(text, there, new)


def one(fleet: Fleet, kind: str) -> dict:
    (thing,) = fleet.all(kind)
    return thing


def named(things: list[dict], name: str) -> dict:
    return next(thing for thing in things if thing["name"] == name)


def annotation(fleet: Fleet, name: str, value: str) -> None:
    one(fleet, "Ingress")["metadata"]["annotations"][f"nginx.ingress.kubernetes.io/{name}"] = value


def public_service(fleet: Fleet) -> dict:
    return next(s for s in fleet.all("Service") if s["spec"].get("clusterIP") != "None")


def internal_service(fleet: Fleet) -> dict:
    return next(s for s in fleet.all("Service") if s["spec"].get("clusterIP") == "None")


def internal_tls(fleet: Fleet, client_ca: bool = False) -> None:
    files = ["cert", "key"] + ["client_ca"] * client_ca
    lines = [f'{key} = "/run/secrets/tidegate/tls.{"key" if key == "key" else "crt"}"' for key in files]
    config(fleet, "[limits]", "\n".join(["[internal.tls]", *lines, "", "[limits]"]))


def rename_labels(fleet: Fleet) -> None:
    fleet.deployment()["spec"]["template"]["metadata"]["labels"][NAME] = "gateway"


def sub_path(fleet: Fleet) -> None:
    named(fleet.container()["volumeMounts"], "config").update(mountPath="/etc/tidegate/tidegate.toml", subPath="tidegate.toml")


def backend(fleet: Fleet) -> dict:
    return one(fleet, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]


def egress_without(fleet: Fleet, port: int) -> None:
    spec = one(fleet, "NetworkPolicy")["spec"]
    spec["egress"] = [r for r in spec["egress"] if port not in [p["port"] for p in r["ports"]]]


def monitoring_rule(fleet: Fleet) -> dict:
    return next(
        r for r in one(fleet, "NetworkPolicy")["spec"]["ingress"] if r["ports"] == [{"port": "internal"}]
    )


def route(fleet: Fleet) -> dict:
    return one(fleet, "HTTPRoute")["spec"]


# (rule, fault). Applied to the production overlay.
PRODUCTION = [
    ("configuration", "a misspelt key", lambda f: config(f, "period =", "peroid =")),
    ("configuration", "a port that is not the container's", lambda f: config(f, "0.0.0.0:8080", "0.0.0.0:8081")),
    ("configuration", "loopback", lambda f: config(f, "0.0.0.0:9090", "127.0.0.1:9090")),
    ("configuration", "no proxy is trusted", lambda f: config(f, '["10.0.0.0/8"]', "[]")),
    ("configuration", "a secret in the ConfigMap", lambda f: config(f, "[internal]", '[internal]\napi_key = "x"')),
    ("configuration", "a password in the ConfigMap", lambda f: config(f, "[internal]", '[broker]\nurl = "redis://u:p@redis"\n[internal]')),
    ("configuration", "a file by subPath", sub_path),
    ("configuration", "another ConfigMap", lambda f: named(f.pod()["volumes"], "config")["configMap"].update(name="other")),
    ("configuration", "keys that are not mounted", lambda f: f.container()["volumeMounts"].remove(named(f.container()["volumeMounts"], "keys"))),
    ("configuration", "no Redis", lambda f: f.container().update(env=[])),
    ("grace", "a longer drain", lambda f: config(f, 'period = "40s"', 'period = "60s"')),
    ("grace", "Kubernetes' default", lambda f: f.pod().pop("terminationGracePeriodSeconds")),
    ("grace", "a preStop that eats it up", lambda f: f.container().update(lifecycle={"preStop": {"sleep": {"seconds": 20}}})),
    ("grace", "no preStop", lambda f: f.container().pop("lifecycle")),
    ("grace", "hours", lambda f: f.pod().update(terminationGracePeriodSeconds=7200)),
    ("rollout", "a longer drain", lambda f: config(f, 'period = "40s"', 'period = "60s"')),
    ("rollout", "the next as soon as another is there", lambda f: f.deployment()["spec"].update(minReadySeconds=10)),
    ("rollout", "no pause at all", lambda f: f.deployment()["spec"].pop("minReadySeconds")),
    ("rollout", "given up during the pause", lambda f: f.deployment()["spec"].update(progressDeadlineSeconds=90)),
    ("selectors", "other labels on pods", rename_labels),
    ("selectors", "a Service of something else", lambda f: public_service(f)["spec"]["selector"].update({NAME: "web"})),
    ("selectors", "a budget for everything", lambda f: one(f, "PodDisruptionBudget")["spec"].update(selector={})),
    ("selectors", "a policy for something else", lambda f: one(f, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].update({NAME: "web"})),
    ("spread", "one zone", lambda f: f.pod()["topologySpreadConstraints"].pop(0)),
    ("spread", "one host", lambda f: f.pod()["topologySpreadConstraints"].pop(1)),
    ("probes", "no startup probe", lambda f: f.container().pop("startupProbe")),
    ("probes", "restarted while Redis is away", lambda f: f.container()["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("probes", "ready as soon as it lives", lambda f: f.container()["readinessProbe"]["httpGet"].update(path="/healthz")),
    ("probes", "the public port", lambda f: f.container()["readinessProbe"]["httpGet"].update(port="public")),
    ("probes", "a second to start", lambda f: f.container()["startupProbe"].update(failureThreshold=1)),
    ("probes", "plain probes of a listener with TLS", internal_tls),
    ("probes", "certificates of the kubelet", lambda f: internal_tls(f, client_ca=True)),
    ("probes", "unready after the drain has begun", lambda f: f.container()["readinessProbe"].update(periodSeconds=10)),
    ("services", "a port that is not there", lambda f: public_service(f)["spec"]["ports"][0].update(targetPort="http")),
    ("services", "the internal port outside", lambda f: public_service(f)["spec"]["ports"].append({"name": "api", "port": 9090, "targetPort": "internal"})),
    ("ways_in", "a Service that is not there", lambda f: backend(f).update(name="gateway")),
    ("ways_in", "a port that is not there", lambda f: backend(f)["port"].update(name="https")),
    ("ways_in", "the internal Service", lambda f: backend(f).update(name="tidegate-internal", port={"number": 9090})),
    ("ways_in", "a timeout below the pings", lambda f: annotation(f, "proxy-read-timeout", "20")),
    ("ways_in", "the other one", lambda f: annotation(f, "proxy-send-timeout", "20")),
    ("ways_in", "pings that are rarer", lambda f: config(f, "[session]", '[session]\nping_interval = "1h"')),
    ("network", "no policy", lambda f: f.objects.remove(one(f, "NetworkPolicy"))),
    ("network", "nobody scrapes", lambda f: one(f, "NetworkPolicy")["spec"]["ingress"].remove(monitoring_rule(f))),
    ("network", "everybody scrapes", lambda f: monitoring_rule(f).pop("from")),
    ("network", "nobody gets in", lambda f: one(f, "NetworkPolicy")["spec"]["ingress"].pop(0)),
    ("network", "a balancer outside", lambda f: public_service(f)["spec"].update(type="LoadBalancer")),
    ("network", "no DNS", lambda f: egress_without(f, 53)),
    ("network", "no Redis", lambda f: egress_without(f, 6379)),
    ("network", "no traces", lambda f: egress_without(f, 4317)),
    ("network", "one direction", lambda f: one(f, "NetworkPolicy")["spec"].update(policyTypes=["Ingress"])),
    ("autoscaler", "another target", lambda f: one(f, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="web")),
    ("autoscaler", "two who say how many", lambda f: f.deployment()["spec"].update(replicas=3)),
    ("autoscaler", "one node at night", lambda f: one(f, "HorizontalPodAutoscaler")["spec"].update(minReplicas=1)),
    ("autoscaler", "shrinks at once", lambda f: one(f, "HorizontalPodAutoscaler")["spec"]["behavior"]["scaleDown"].update(stabilizationWindowSeconds=0)),
    ("autoscaler", "by CPU alone", lambda f: one(f, "HorizontalPodAutoscaler")["spec"]["metrics"].pop(0)),
    ("autoscaler", "a share of nothing", lambda f: f.container()["resources"]["requests"].pop("cpu")),
    ("disruption", "no budget", lambda f: f.objects.remove(one(f, "PodDisruptionBudget"))),
    ("disruption", "no host can be emptied", lambda f: one(f, "PodDisruptionBudget")["spec"].update(maxUnavailable=0)),
    ("disruption", "nor while Redis is away", lambda f: one(f, "PodDisruptionBudget")["spec"].pop("unhealthyPodEvictionPolicy")),
    ("disruption", "all at once", lambda f: f.deployment()["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable="100%")),
    ("images", "latest", lambda f: f.container().update(image="tidegate:latest")),
    ("images", "no tag, and a registry with a port", lambda f: f.container().update(image="registry:5000/tidegate")),
    ("confinement", "root", lambda f: f.pod()["securityContext"].pop("runAsNonRoot")),
    ("confinement", "user 0", lambda f: f.pod()["securityContext"].update(runAsUser=0)),
    ("confinement", "no seccomp", lambda f: f.pod()["securityContext"].pop("seccompProfile")),
    ("confinement", "a token", lambda f: f.pod().pop("automountServiceAccountToken")),
    ("confinement", "Services in the environment", lambda f: f.pod().pop("enableServiceLinks")),
    ("confinement", "setuid", lambda f: f.container()["securityContext"].pop("allowPrivilegeEscalation")),
    ("confinement", "writes", lambda f: f.container()["securityContext"].update(readOnlyRootFilesystem=False)),
    ("confinement", "a capability", lambda f: f.container()["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
    ("confinement", "all capabilities", lambda f: f.container()["securityContext"].pop("capabilities")),
    ("confinement", "an account that is not there", lambda f: f.pod().update(serviceAccountName="other")),
    ("resources", "any amount of memory", lambda f: f.container()["resources"].pop("limits")),
    ("resources", "throttled", lambda f: f.container()["resources"]["limits"].update(cpu="1")),
    ("resources", "nothing is requested", lambda f: f.container()["resources"].pop("requests")),
    ("monitoring", "both Services", lambda f: one(f, "ServiceMonitor")["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component")),
    ("monitoring", "no Service", lambda f: internal_service(f)["metadata"]["labels"].pop("app.kubernetes.io/component")),
    ("monitoring", "a port that is not there", lambda f: one(f, "ServiceMonitor")["spec"]["endpoints"][0].update(port="metrics")),
    ("monitoring", "plain scrapes of a listener with TLS", internal_tls),
    ("monitoring", "a timeout beyond the interval", lambda f: one(f, "ServiceMonitor")["spec"]["endpoints"][0].update(scrapeTimeout="20s")),
    ("monitoring", "another path", lambda f: one(f, "ServiceMonitor")["spec"]["endpoints"][0].update(path="/")),
    ("monitoring", "only those that are ready", lambda f: internal_service(f)["spec"].pop("publishNotReadyAddresses")),
    ("monitoring", "a job that no alert knows", lambda f: one(f, "ServiceMonitor")["spec"].pop("jobLabel")),
]

# Applied to the fleet behind Gateway API.
GATEWAY = [
    ("configuration", "everybody gets in", lambda f: config(f, "[[auth.keys]]", 'mode = "none"\n[[auth.keys]]')),
    ("ways_in", "connections that end", lambda f: route(f)["rules"][0]["timeouts"].update(request="30s")),
    ("ways_in", "connections that end by default", lambda f: route(f)["rules"][0].pop("timeouts")),
    ("ways_in", "a port that is not there", lambda f: route(f)["rules"][0]["backendRefs"][0].update(port=8080)),
    ("ways_in", "a backend of no protocol", lambda f: public_service(f)["spec"]["ports"][0].pop("appProtocol")),
    ("ways_in", "a listener that is not there", lambda f: route(f)["parentRefs"][0].update(sectionName="http")),
]
