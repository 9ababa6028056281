"""Seeded faults for the checks of files and queries: each check gets a copy with one fault, and must find it."""

import copy

import compose
import local
import paper
import queries


def panel(dashboard):
    return next(it for it in dashboard["panels"] if it["title"] == "Connections by node")


def rule(groups, name):
    return next(it for group in groups for it in group["rules"] if it.get("alert") == name)


def dashboards(written, scraped, fleet):
    """Faults in the dashboard."""

    def query(expression):
        broken = copy.deepcopy(written.dashboard)
        panel(broken)["targets"][0]["expr"] = expression
        broken["panels"] = [panel(broken)]
        return lambda: queries.dashboard_faults(broken, scraped, fleet)[0]

    unknown = copy.deepcopy(written.dashboard)
    unknown["panels"] = [{**panel(unknown), "descripton": "misspelt"}]
    return {
        "an unknown metric": query("sum by (instance) (tidegate_conections)"),
        "an unknown label": query('sum by (instance) (tidegate_connections{protokol="json"})'),
        "an unknown label value": query('sum by (instance) (tidegate_connections{protocol=~"jason|plain"})'),
        "a grouping by an unknown label": query("sum by (instance, reason) (tidegate_connections)"),
        "a legend whose label is missing": query("sum(tidegate_connections)"),
        "an invalid query": query("sum by (instance) (tidegate_connections"),
        "a query without data": query('sum by (instance) (tidegate_connections{job="other"})'),
        "a query that returns NaN": query("sum by (instance) (0 * tidegate_connections / 0)"),
        "an unknown field": lambda: queries.dashboard_faults(unknown, scraped, fleet)[0],
    }


def alerts(written, scraped):
    """Faults in alerts, their tests and their runbooks."""
    groups = copy.deepcopy(written.groups)
    rule(groups, "TidegatePanics")["expr"] = "increase(tidegate_panic_total[30m]) > 0"
    renamed = copy.deepcopy(written.groups)
    rule(renamed, "TidegatePanics")["alert"] = "TidegatePanicking"
    linked = copy.deepcopy(written.dashboard)
    panel(linked)["links"][0]["url"] += "-not"
    heading = "## TidegatePanics\n"
    return {
        "an alert on an unknown metric": lambda: queries.alert_faults(groups, scraped)[0],
        "an alert without a test": lambda: paper.alert_test_faults(renamed, written.tests),
        "a metric that the busy fleet lacks": lambda: paper.alert_test_faults(groups, written.tests),
        "an alert without a runbook": lambda: paper.runbook_faults(renamed, written.runbook_page, written.dashboard),
        "a missing runbook": lambda: paper.runbook_faults(written.groups, written.runbook_page.replace(heading, ""), written.dashboard),
        "a link without a target": lambda: paper.runbook_faults(written.groups, written.runbook_page, linked),
    }


def composed():
    """Faults in compose.yaml."""

    def service(name, **changes):
        broken = compose.load("compose.yaml")
        broken["services"][name] = {**broken["services"][name], **changes}
        return broken

    text = (local.DEPLOY / "compose.toml").read_text()
    envoy = (local.DEPLOY / "envoy/envoy.yaml").read_text()
    return {
        "a mount of a missing file": lambda: compose.structure_faults(service("redis", volumes=["./redis/redis.cnf:/etc/redis.conf"])),
        "an unknown service": lambda: compose.structure_faults(service("balancer", depends_on=["node-4"])),
        "a port published beyond loopback": lambda: compose.structure_faults(service("grafana", ports=["3000:3000"])),
        "an unknown host name": lambda: compose.name_faults({"compose.toml": text.replace("redis:6379", "reddis:6379")}, None),
        "a port without a listener": lambda: compose.name_faults({"envoy.yaml": envoy.replace("node-2, port_value: 8080", "node-2, port_value: 8081")}, None),
        "a stop_grace_period that is too short": lambda: compose.node_faults(service("node-2", stop_grace_period="30s")),
        "an unknown setting": lambda: compose.node_faults(service("node-1", environment={"TIDEGATE__SERVER__LISTENN": "x"})),
        "a load balancer that is not trusted": lambda: compose.node_faults(service("balancer", networks={"fleet": {"ipv4_address": "172.30.30.3"}})),
    }


def all_found(written, scraped, fleet):
    seeds = {**dashboards(written, scraped, fleet), **alerts(written, scraped), **composed()}
    missed = [name for name, faults in seeds.items() if not list(faults())]
    assert not missed, f"not found: {', '.join(missed)}"
    return f"{len(seeds)} of them"
