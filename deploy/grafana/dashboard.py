#!/usr/bin/env python3
"""Makes dashboards/tidegate.json: what an operator wants to see, the most urgent first.

    deploy/grafana/dashboard.py            writes it anew
    deploy/grafana/dashboard.py --check    fails where it is not what this file says

tests/stack.sh has a real Prometheus that scrapes real nodes answer every query.
"""

import json
import sys
from pathlib import Path

from panels import heatmap, laid_out, lines, now, stat, states, table, target, thresholds

FILE = Path(__file__).parent / "dashboards" / "tidegate.json"

# Where docs/operating/runbooks.md can be read, for the links to runbooks; k8s/alerts.sh puts the same into the alerts.
RUNBOOKS = (Path(__file__).parent.parent / "runbooks").read_text().strip()

# What the variables at the top have chosen.
CHOSEN = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'

# The same of what every program has, up and process_*: the alerts know a fleet by its job's name too.
SCRAPED = f'{CHOSEN},job=~".*tidegate.*"'

def alerts(*more):
    """Of what was chosen: a fleet's alerts name no instance, and the one on no fleet at all names nothing."""
    of_chosen = ('alertname=~"Tidegate.*"', 'namespace=~"$namespace"', 'job=~"$job"', 'instance=~"$instance|"')
    of_nothing = ('alertname="TidegateNotWatched"',)
    return " or ".join(f"ALERTS{{{','.join((*matchers, *more))}}}" for matchers in (of_chosen, of_nothing))


NO_ROOM = 'reason=~"accept|connections_max|memory|handshake_rate"'
NODE = "{{instance}}"
UP_AND_DOWN = {0: ("down", "red"), 1: ("up", "green")}
YES_AND_NO = {0: ("fine", "green"), 1: ("unready", "red")}
REFUSED = {0: ("fine", "green"), 1: ("refused", "red")}
PHASES = {0: ("serving", "green"), 1: ("leaving", "orange"), 2: ("draining", "red")}


def of(metric, *more):
    return f"tidegate_{metric}{{{','.join((CHOSEN, *more))}}}"


def rate(metric, *more, by="instance"):
    return f"sum by ({by}) (rate({of(metric, *more)}[$__rate_interval]))"


def total(metric, *more, by="instance"):
    return f"sum by ({by}) ({of(metric, *more)})"


def quantile(share, histogram, by=""):
    keys = ", ".join(filter(None, (by, "le")))
    return f"histogram_quantile({share}, {rate(histogram + '_seconds_bucket', by=keys)})"


def latency(histogram):
    """Half and 99 of 100 of the fleet, and the worst node's 99."""
    return [
        target(quantile(0.5, histogram), "half"),
        target(quantile(0.99, histogram), "99 of 100"),
        target(f"max({quantile(0.99, histogram, 'instance')})", "99 of 100, slowest node"),
    ]


FIRST = ("First", [
    stat("Nodes ready", "Nodes that are scraped and take new connections. Red: none does.",
         [now(f'count(sum by (namespace, job, instance) ({of("unready")}) == 0) or vector(0)')],
         steps=thresholds(1, 2, colours=("red", "orange", "green")), runbook="TidegateNoReadyNode"),
    stat("Nodes not answering", "Targets that Prometheus cannot scrape.",
         [now(f"sum(1 - up{{{SCRAPED}}})")], steps=thresholds(1, 2), runbook="TidegateNodeDown"),
    stat("Nodes without Redis", "Nodes that cannot use the broker now.",
         [now(f"sum(1 - {of('broker_up')}) or vector(0)")], steps=thresholds(1, colours=("green", "red")), runbook="TidegateBrokerDown"),
    stat("Delivery, 99 of 100", "From the first node taking a publication to another having it in its queues.",
         [now(quantile(0.99, "delivery_duration"))], unit="s", steps=thresholds(0.25, 1), runbook="TidegateDeliverySlow"),
    stat("Turned away", "Clients a second that were refused for want of room: files, connections, memory, handshake rate (with limits.dry_run, counted only).",
         [now(f"sum({rate('rejected_total', NO_ROOM)})")],
         unit="reqps", steps=thresholds(0.1, 10), runbook="TidegateFull"),
    stat("Alerts firing", "Of these nodes. The table has their names.",
         [now(f"""count({alerts('alertstate="firing"')}) or vector(0)""")], steps=thresholds(1, 3)),
    lines("Connections by node", "They should be about even: balancers choose the node with the fewest. A step down on one and up on the others is a drain or a crash.",
          [target(total("connections"), NODE)], stacked=True, runbook="TidegateConnectionsUneven"),
    lines("Delivery latency", "Measured from the first node accepting a publication to this node having it in its queues.",
          latency("delivery_duration"), unit="s", limits=[1], runbook="TidegateDeliverySlow"),
    table("Alerts", "What fires now, or is about to.",
          [now(alerts())], width=8,
          hidden=("Time", "Value", "__name__", "namespace", "job"), names={"alertstate": "state", "alertname": "alert", "instance": "node"}),
])

READY = ("Readiness and drains", [
    states("Unready, by reason", "Red: balancers send nobody new. Connections that are open stay.",
           [target(f"max by (instance, reason) ({of('unready')})", "{{instance}} {{reason}}")], YES_AND_NO, runbook="TidegateUnready"),
    states("Drain", "leaving: not ready, but still accepting, while balancers learn of it; draining: closing its connections (1012).",
           [target(f"max by (instance) ({of('drain_phase')})", NODE)], PHASES, runbook="TidegateDrainStuck"),
    lines("Connections against the fleet's mean", "1 is the mean, as the nodes themselves know it. What stays above or below for long can be evened out: POST /api/drain?percent=10.",
          [target(f"{total('connections')} / on (instance) (max by (instance) ({of('fleet_connections')}) / max by (instance) ({of('fleet_nodes')}) > 0)", NODE)],
          limits=[1.5], runbook="TidegateConnectionsUneven"),
    lines("Nodes that each node knows of", "Itself included. All should say the same; one that says fewer uses another Redis or prefix.",
          [target(f"max by (instance) ({of('fleet_nodes')})", NODE)], runbook="TidegateFleetDisagrees"),
    lines("Others with other rules", "Redis, or so many nodes. 0: the rules are one for the whole fleet.",
          [target(f"max by (instance, with) ({of('rules_mismatch')})", "{{instance}} {{with}}")], runbook="TidegateRulesMismatch"),
    lines("Closed by drains", "Connections a second that were asked to go elsewhere, by drains and to rebalance.",
          [target(rate("connections_closed_total", 'reason=~"drain|rebalance"', by="reason"), "{{reason}}")], unit="reqps"),
])

CONNECTIONS = ("Connections", [
    lines("Connections by protocol", "All nodes together.", [target(total("connections", by="protocol"), "{{protocol}}")], stacked=True),
    lines("Opened", "Connections a second, by node.", [target(rate("connections_opened_total"), NODE)], unit="reqps", stacked=True),
    lines("Closed, by reason", "Connections a second. client: it left; lost: its network did; pong_timeout in waves: something between drops quiet connections.",
          [target(rate("connections_closed_total", by="reason"), "{{reason}}")], unit="reqps", runbook="TidegateClientsSilent"),
    lines("Refused, by reason", "A second. connections_max, accept, memory, handshake_rate: no room; *_per_ip, *_per_user and *_rate: limits; token, forbidden, origin: access; the rest: broken requests.",
          [target(rate("rejected_total", by="reason"), "{{reason}}")], unit="reqps", runbook="TidegateClientsLimited"),
    lines("Handshake latency", "From an accepted socket to its answered upgrade.", latency("handshake_duration"), unit="s", runbook="TidegateHandshakesFail"),
    lines("Ping round trips", "Of WebSocket pings: the clients' networks. A rise of all nodes at once is theirs, or the balancer's.",
          latency("ping_rtt"), unit="s", runbook="TidegateClientsSilent"),
])

PUBLICATIONS = ("Publications", [
    lines("Received, by protocol", "Publications a second that clients and services asked the nodes for. Plain PUBLISH to Redis is not among them.",
          [target(rate("publications_received_total", by="protocol"), "{{protocol}}")], unit="pps", stacked=True),
    lines("Delivered, by protocol", "A second, once for each subscriber.",
          [target(rate("publications_delivered_total", by="protocol"), "{{protocol}}")], unit="pps", stacked=True),
    lines("Bytes", "A second, read from clients and written to them.",
          [target(rate("received_bytes_total", by="job"), "in"), target(rate("sent_bytes_total", by="job"), "out")], unit="Bps"),
    heatmap("Delivery latency, all of it", "Where the mass is, and whether there are two.",
            f"sum by (le) (increase({of('delivery_duration_seconds_bucket')}[$__rate_interval]))", runbook="TidegateDeliverySlow"),
    lines("Publish latency", "From a frame read to the broker's answer. Grows with Redis; beyond broker.publish_timeout clients are told unavailable.",
          latency("publish_duration"), unit="s", limits=[0.5], runbook="TidegatePublishSlow"),
    lines("Relay latency", "From a publication received of Redis to the last local queue. Grows with the node's own lack of CPU.",
          latency("relay_duration"), unit="s", runbook="TidegateEventLoopLags"),
])

SLOW = ("Clients that are slow", [
    lines("Bytes that wait", "Outbound queues of all connections together, by node: memory that slow sockets hold.",
          [target(total("outbound_queue_bytes"), NODE)], unit="bytes", stacked=True, runbook="TidegateMemoryHigh"),
    lines("Slow consumers, by action", "A second. closed: with 4008; they come back and resume.",
          [target(rate("slow_consumers_total", by="instance, action"), "{{instance}} {{action}}")], unit="reqps", runbook="TidegateSlowConsumers"),
    lines("Skipped", "Publications a second that gave way to newer ones, on channels with delivery latest: by design.",
          [target(rate("publications_skipped_total"), NODE)], unit="pps"),
])

BROKER = ("Redis", [
    states("Broker", "Whether each node can use Redis.", [target(f"max by (instance) ({of('broker_up')})", NODE)], UP_AND_DOWN, width=8, runbook="TidegateBrokerDown"),
    lines("Attempts to reconnect", "A second. Some while Redis is away; at other times an unstable link, or Redis that cuts the node off.",
          [target(rate("broker_reconnects_total"), NODE)], unit="reqps", runbook="TidegateBrokerFlapping"),
    lines("Probe", "The node's own publications, once a second, there and back. 2 s make it unready.",
          latency("broker_probe_rtt"), unit="s", limits=[0.25], runbook="TidegateBrokerSlow"),
    lines("Channels unconfirmed", "Wanted of Redis and not confirmed yet: above zero for long, their subscribers get nothing.",
          [target(f"{total('subscriptions_wanted')} - {total('subscriptions_confirmed')}", NODE)], runbook="TidegateSubscriptionsUnconfirmed"),
    lines("Channels and subscriptions", "Channels wanted of Redis and confirmed by it, channels with local subscribers, and subscriptions; summed over the nodes.",
          [target(f"sum({of('subscriptions_wanted')})", "wanted"), target(f"sum({of('subscriptions_confirmed')})", "confirmed"),
           target(f"sum({of('channels')})", "channels"), target(f"sum({of('subscriptions')})", "subscriptions")]),
    lines("Resumes, by outcome", "Clients a second that came back with a position. lost: something they missed may be gone, and they were told.",
          [target(rate("history_resumes_total", by="outcome"), "{{outcome}}")], unit="reqps", stacked=True, runbook="TidegateHistoryLost"),
])

PROCESS = ("The process", [
    lines("Event loop lag, 99 of 100", "How late the node's tasks run. Everything on it waits that long.",
          [target(quantile(0.99, "event_loop_lag", "instance"), NODE)], unit="s", limits=[0.1], width=6, runbook="TidegateEventLoopLags"),
    lines("CPU", "Of the CPUs that it may use.",
          [target(f"rate(process_cpu_seconds_total{{{SCRAPED}}}[$__rate_interval]) / on (namespace, job, instance) {of('cpus')}", NODE)],
          unit="percentunit", limits=[0.85], width=6, runbook="TidegateCpuSaturated", max=1),
    lines("Memory against memory_max", "From 85 % on it takes nobody new, from 92 % it closes the slowest consumers (1013).",
          [target(f"process_resident_memory_bytes{{{SCRAPED}}} / on (namespace, job, instance) {of('memory_max_bytes')}", NODE)],
          unit="percentunit", limits=[0.8], width=6, runbook="TidegateMemoryHigh", max=1),
    lines("Open files against their limit", "Each connection is one.",
          [target(f"process_open_fds{{{SCRAPED}}} / process_max_fds{{{SCRAPED}}}", NODE)], unit="percentunit", limits=[0.85], width=6,
          runbook="TidegateFilesNearlyUsedUp", max=1),
    lines("Memory", "Resident.", [target(f"process_resident_memory_bytes{{{SCRAPED}}}", NODE)], unit="bytes", width=12),
    lines("Panics", "Faults of the program within the last hour. Each is in the log, and should be reported.",
          [target(f"sum by (instance) (increase({of('panics_total')}[1h]))", NODE)], limits=[1], width=12, runbook="TidegatePanics", decimals=0),
])

CHANGES = ("What changed", [
    lines("Configuration read again", "Within ten minutes, by outcome. refused: the old one goes on.",
          [target(f"sum by (instance, outcome) (increase({of('config_reloads_total')}[10m]))", "{{instance}} {{outcome}}")],
          runbook="TidegateConfigRefused", decimals=0),
    lines("TLS files read again", "Within ten minutes, by outcome. refused: the old certificate is still shown.",
          [target(f"sum by (instance, outcome) (increase({of('tls_reloads_total')}[10m]))", "{{instance}} {{outcome}}")],
          runbook="TidegateTlsFilesRefused", decimals=0),
    states("Refused now", "Red for as long as what the files say cannot be used. A restart would not come up.",
           [target(f"max by (instance) ({of('config_refused')})", "{{instance}} configuration"),
            target(f"max by (instance, listener) ({of('tls_files_refused')})", "{{instance}} TLS of {{listener}}")],
           REFUSED, width=8, runbook="TidegateConfigRefused"),
    lines("Time since the start", "A drop is a restart.", [target(f"time() - process_start_time_seconds{{{SCRAPED}}}", NODE)], unit="s", runbook="TidegateRestartsOften"),
    table("Versions", "Two are normal during an upgrade only.", [now(f"max by (job, instance, version) ({of('build_info')})")],
          width=8, hidden=("Time", "Value"), names={"instance": "node"}),
    lines("Revocations", "Users who were disconnected and whose earlier tokens are refused. All nodes should say the same.",
          [target(f"max by (instance) ({of('revocations')})", NODE)]),
])


def variable(name, label, **more):
    """A choice at the top, of what the nodes' metrics have in a label; all unless somebody chooses."""
    return {
        "name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": f"label_values({more['of']}, {name})", "refId": name},
        # Also where nothing has that label, as namespace outside of Kubernetes.
        "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2, "sort": 1, "hide": 0, "options": [],
    }


def dashboard():
    return {
        "uid": "tidegate", "title": "Tidegate", "tags": ["tidegate"], "description": "Made by deploy/grafana/dashboard.py.",
        "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "30s", "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"}, "annotations": {"list": []},
        "links": [{"title": "Runbooks", "type": "link", "url": "${runbooks}#runbooks", "targetBlank": True, "icon": "doc",
                   "asDropdown": False, "includeVars": False, "keepTime": False, "tags": [], "tooltip": "docs/operating/runbooks.md"}],
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1,
             "includeAll": False, "multi": False, "options": [], "current": {}},
            variable("namespace", "Namespace", of="tidegate_build_info"),
            variable("job", "Fleet", of='tidegate_build_info{namespace=~"$namespace"}'),
            variable("instance", "Node", of='tidegate_build_info{namespace=~"$namespace",job=~"$job"}'),
            {"name": "runbooks", "label": "Runbooks at", "type": "textbox", "query": RUNBOOKS, "hide": 0,
             "description": "Where your docs/operating/runbooks.md can be read; the panels' links begin with it.",
             "current": {"text": RUNBOOKS, "value": RUNBOOKS}, "options": []},
        ]},
        "panels": laid_out([FIRST, READY, CONNECTIONS, PUBLICATIONS, SLOW, BROKER, PROCESS, CHANGES]),
    }


def main():
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] != ["--check"]:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        sys.exit(f"{FILE} is not what dashboard.py says: run deploy/grafana/dashboard.py")


if __name__ == "__main__":
    main()
