#!/usr/bin/env python3
"""Generates dashboards/tidegate.json. The most urgent panels are first.

    deploy/grafana/dashboard.py            writes the file
    deploy/grafana/dashboard.py --check    fails if the file differs from what this script generates

tests/stack.sh runs every query on a real Prometheus that scrapes real nodes.
"""

import json
import sys
from pathlib import Path

from panels import heatmap, laid_out, lines, now, stat, states, table, target, thresholds

FILE = Path(__file__).parent / "dashboards" / "tidegate.json"

# The address of docs/operating/runbooks.md, for the links to runbooks; k8s/alerts.sh writes the same into the alerts.
RUNBOOKS = (Path(__file__).parent.parent / "runbooks").read_text().strip()

# Selects by the variables at the top of the dashboard.
CHOSEN = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'

# The same for up and process_*, which other programs have too: like the alerts, it selects a fleet also by the name of its job.
SCRAPED = f'{CHOSEN},job=~".*tidegate.*"'

def alerts(*more):
    """Alerts of the chosen nodes. Alerts of a fleet have no instance label; TidegateNotWatched has none of these labels."""
    of_chosen = ('alertname=~"Tidegate.*"', 'namespace=~"$namespace"', 'job=~"$job"', 'instance=~"$instance|"')
    without_labels = ('alertname="TidegateNotWatched"',)
    return " or ".join(f"ALERTS{{{','.join((*matchers, *more))}}}" for matchers in (of_chosen, without_labels))


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
    """The median and p99 of the fleet, and the p99 of the slowest node."""
    return [
        target(quantile(0.5, histogram), "half"),
        target(quantile(0.99, histogram), "99 of 100"),
        target(f"max({quantile(0.99, histogram, 'instance')})", "99 of 100, slowest node"),
    ]


FIRST = ("First", [
    stat("Nodes ready", "Nodes that Prometheus scrapes and that accept new connections. Red: none.",
         [now(f'count(sum by (namespace, job, instance) ({of("unready")}) == 0) or vector(0)')],
         steps=thresholds(1, 2, colours=("red", "orange", "green")), runbook="TidegateNoReadyNode"),
    stat("Nodes not answering", "Targets that Prometheus cannot scrape.",
         [now(f"sum(1 - up{{{SCRAPED}}})")], steps=thresholds(1, 2), runbook="TidegateNodeDown"),
    stat("Nodes without Redis", "Nodes that cannot use Redis now.",
         [now(f"sum(1 - {of('broker_up')}) or vector(0)")], steps=thresholds(1, colours=("green", "red")), runbook="TidegateBrokerDown"),
    stat("Delivery, 99 of 100", "From the acceptance of a publication on one node to its arrival in the queues of another.",
         [now(quantile(0.99, "delivery_duration"))], unit="s", steps=thresholds(0.25, 1), runbook="TidegateDeliverySlow"),
    stat("Clients refused", "Clients a second refused for lack of capacity: files, connections, memory, handshake rate (with limits.dry_run, only counted).",
         [now(f"sum({rate('rejected_total', NO_ROOM)})")],
         unit="reqps", steps=thresholds(0.1, 10), runbook="TidegateFull"),
    stat("Alerts firing", "For these nodes. The table lists them.",
         [now(f"""count({alerts('alertstate="firing"')}) or vector(0)""")], steps=thresholds(1, 3)),
    lines("Connections by node", "All nodes should have about the same number: load balancers choose the node with the fewest. A drop on one node and a rise on the others is a drain or a crash.",
          [target(total("connections"), NODE)], stacked=True, runbook="TidegateConnectionsUneven"),
    lines("Delivery latency", "From the acceptance of a publication on the first node to its arrival in this node's queues.",
          latency("delivery_duration"), unit="s", limits=[1], runbook="TidegateDeliverySlow"),
    table("Alerts", "Alerts that are firing or pending.",
          [now(alerts())], width=8,
          hidden=("Time", "Value", "__name__", "namespace", "job"), names={"alertstate": "state", "alertname": "alert", "instance": "node"}),
])

READY = ("Readiness and drains", [
    states("Unready, by reason", "Red: load balancers send no new connections. Open connections stay open.",
           [target(f"max by (instance, reason) ({of('unready')})", "{{instance}} {{reason}}")], YES_AND_NO, runbook="TidegateUnready"),
    states("Drain", "leaving: not ready, but still accepts connections until load balancers have noticed; draining: closes its connections (1012).",
           [target(f"max by (instance) ({of('drain_phase')})", NODE)], PHASES, runbook="TidegateDrainStuck"),
    lines("Connections against the fleet's mean", "1 is the mean that the nodes report. If a node stays above or below it for long, rebalance: POST /api/drain?percent=10.",
          [target(f"{total('connections')} / on (instance) (max by (instance) ({of('fleet_connections')}) / max by (instance) ({of('fleet_nodes')}) > 0)", NODE)],
          limits=[1.5], runbook="TidegateConnectionsUneven"),
    lines("Nodes that each node knows of", "Including itself. All nodes should report the same number; a node that reports fewer uses another Redis or prefix.",
          [target(f"max by (instance) ({of('fleet_nodes')})", NODE)], runbook="TidegateFleetDisagrees"),
    lines("Nodes with different rules", "1 for Redis, or the number of other nodes, with different rules. 0: the whole fleet has the same rules.",
          [target(f"max by (instance, with) ({of('rules_mismatch')})", "{{instance}} {{with}}")], runbook="TidegateRulesMismatch"),
    lines("Closed by drains", "Connections a second that drains and rebalancing closed, so that the clients reconnect to other nodes.",
          [target(rate("connections_closed_total", 'reason=~"drain|rebalance"', by="reason"), "{{reason}}")], unit="reqps"),
])

CONNECTIONS = ("Connections", [
    lines("Connections by protocol", "All nodes together.", [target(total("connections", by="protocol"), "{{protocol}}")], stacked=True),
    lines("Opened", "Connections a second, by node.", [target(rate("connections_opened_total"), NODE)], unit="reqps", stacked=True),
    lines("Closed, by reason", "Connections a second. client: the client closed it; lost: the network connection ended; pong_timeout in waves: a device on the path drops idle connections.",
          [target(rate("connections_closed_total", by="reason"), "{{reason}}")], unit="reqps", runbook="TidegateClientsSilent"),
    lines("Refused, by reason", "A second. connections_max, accept, memory, handshake_rate: no capacity; *_per_ip, *_per_user and *_rate: limits; token, forbidden, origin: access; others: invalid requests.",
          [target(rate("rejected_total", by="reason"), "{{reason}}")], unit="reqps", runbook="TidegateClientsLimited"),
    lines("Handshake latency", "From the accepted socket to the response to the upgrade.", latency("handshake_duration"), unit="s", runbook="TidegateHandshakesFail"),
    lines("Ping round trips", "Of WebSocket pings. A rise on all nodes at once comes from the clients' networks or the load balancer.",
          latency("ping_rtt"), unit="s", runbook="TidegateClientsSilent"),
])

PUBLICATIONS = ("Publications", [
    lines("Received, by protocol", "Publications a second that clients and services sent to the nodes. Plain PUBLISH commands to Redis are not counted.",
          [target(rate("publications_received_total", by="protocol"), "{{protocol}}")], unit="pps", stacked=True),
    lines("Delivered, by protocol", "Publications a second, counted once for each subscriber.",
          [target(rate("publications_delivered_total", by="protocol"), "{{protocol}}")], unit="pps", stacked=True),
    lines("Bytes", "Bytes a second, read from clients and written to them.",
          [target(rate("received_bytes_total", by="job"), "in"), target(rate("sent_bytes_total", by="job"), "out")], unit="Bps"),
    heatmap("Delivery latency, all of it", "The distribution over time: most values, and whether there are two clusters.",
            f"sum by (le) (increase({of('delivery_duration_seconds_bucket')}[$__rate_interval]))", runbook="TidegateDeliverySlow"),
    lines("Publish latency", "From the received frame to Redis' answer. Rises when Redis is slow; after broker.publish_timeout, clients receive the error unavailable.",
          latency("publish_duration"), unit="s", limits=[0.5], runbook="TidegatePublishSlow"),
    lines("Relay latency", "From the receipt of a publication from Redis to the last local queue. Rises when the node lacks CPU.",
          latency("relay_duration"), unit="s", runbook="TidegateEventLoopLags"),
])

SLOW = ("Clients that are slow", [
    lines("Bytes queued", "Outbound queues of all connections together, by node: the memory used for slow sockets.",
          [target(total("outbound_queue_bytes"), NODE)], unit="bytes", stacked=True, runbook="TidegateMemoryHigh"),
    lines("Slow consumers, by action", "A second. closed: with 4008; the clients reconnect and resume.",
          [target(rate("slow_consumers_total", by="instance, action"), "{{instance}} {{action}}")], unit="reqps", runbook="TidegateSlowConsumers"),
    lines("Skipped", "Publications a second replaced by newer ones, on channels with delivery latest, as configured.",
          [target(rate("publications_skipped_total"), NODE)], unit="pps"),
])

BROKER = ("Redis", [
    states("Broker", "Whether each node can use Redis.", [target(f"max by (instance) ({of('broker_up')})", NODE)], UP_AND_DOWN, width=8, runbook="TidegateBrokerDown"),
    lines("Attempts to reconnect", "A second. Normal while Redis is down; otherwise the network is unstable, or Redis disconnects the node.",
          [target(rate("broker_reconnects_total"), NODE)], unit="reqps", runbook="TidegateBrokerFlapping"),
    lines("Probe", "Round trip of the node's own publication, once a second. At 2 s the node becomes unready.",
          latency("broker_probe_rtt"), unit="s", limits=[0.25], runbook="TidegateBrokerSlow"),
    lines("Channels unconfirmed", "Channels whose subscription Redis has not confirmed yet. If above zero for long, their subscribers receive nothing.",
          [target(f"{total('subscriptions_wanted')} - {total('subscriptions_confirmed')}", NODE)], runbook="TidegateSubscriptionsUnconfirmed"),
    lines("Channels and subscriptions", "Channels to subscribe in Redis (wanted) and those that Redis has confirmed, channels with local subscribers, and subscriptions; summed over the nodes.",
          [target(f"sum({of('subscriptions_wanted')})", "wanted"), target(f"sum({of('subscriptions_confirmed')})", "confirmed"),
           target(f"sum({of('channels')})", "channels"), target(f"sum({of('subscriptions')})", "subscriptions")]),
    lines("Resumes, by outcome", "Resumes from a position, a second. lost: some missed publications may no longer be in the history, and the clients were notified.",
          [target(rate("history_resumes_total", by="outcome"), "{{outcome}}")], unit="reqps", stacked=True, runbook="TidegateHistoryLost"),
    lines("Events for the backend", "Changes a second that Redis takes for events.stream, and those that the nodes dropped because Redis took none.",
          [target(rate("event_changes_written_total"), NODE), target(rate("events_dropped_total", by="type"), "dropped {{type}}")],
          unit="reqps", runbook="TidegateEventsDropped"),
    lines("Events not yet written", "Changes that wait for Redis on each node.", [target(of("event_changes_queued"), NODE)],
          runbook="TidegateEventsDelayed"),
])

PROCESS = ("The process", [
    lines("Event loop lag, 99 of 100", "How late the node's tasks run. It delays everything on the node.",
          [target(quantile(0.99, "event_loop_lag", "instance"), NODE)], unit="s", limits=[0.1], width=6, runbook="TidegateEventLoopLags"),
    lines("CPU", "Share of the CPUs that the node may use.",
          [target(f"rate(process_cpu_seconds_total{{{SCRAPED}}}[$__rate_interval]) / on (namespace, job, instance) {of('cpus')}", NODE)],
          unit="percentunit", limits=[0.85], width=6, runbook="TidegateCpuSaturated", max=1),
    lines("Memory against memory_max", "From 85 % on, the node refuses new connections; from 92 % on, it closes the slowest consumers (1013).",
          [target(f"process_resident_memory_bytes{{{SCRAPED}}} / on (namespace, job, instance) {of('memory_max_bytes')}", NODE)],
          unit="percentunit", limits=[0.8], width=6, runbook="TidegateMemoryHigh", max=1),
    lines("Open files against their limit", "Each connection is one.",
          [target(f"process_open_fds{{{SCRAPED}}} / process_max_fds{{{SCRAPED}}}", NODE)], unit="percentunit", limits=[0.85], width=6,
          runbook="TidegateFilesNearlyUsedUp", max=1),
    lines("Memory", "Resident.", [target(f"process_resident_memory_bytes{{{SCRAPED}}}", NODE)], unit="bytes", width=12),
    lines("Panics", "Panics within the last hour: faults of the program. The log has each of them; please report them.",
          [target(f"sum by (instance) (increase({of('panics_total')}[1h]))", NODE)], limits=[1], width=12, runbook="TidegatePanics", decimals=0),
])

CHANGES = ("What changed", [
    lines("Configuration read again", "Reloads within ten minutes, by outcome. refused: the node keeps the old configuration.",
          [target(f"sum by (instance, outcome) (increase({of('config_reloads_total')}[10m]))", "{{instance}} {{outcome}}")],
          runbook="TidegateConfigRefused", decimals=0),
    lines("TLS files read again", "Reloads within ten minutes, by outcome. refused: the node keeps the old certificate.",
          [target(f"sum by (instance, outcome) (increase({of('tls_reloads_total')}[10m]))", "{{instance}} {{outcome}}")],
          runbook="TidegateTlsFilesRefused", decimals=0),
    states("Refused now", "Red while the files contain a configuration or certificate that the node cannot use. After a restart, the node would not start.",
           [target(f"max by (instance) ({of('config_refused')})", "{{instance}} configuration"),
            target(f"max by (instance, listener) ({of('tls_files_refused')})", "{{instance}} TLS of {{listener}}")],
           REFUSED, width=8, runbook="TidegateConfigRefused"),
    lines("Time since the start", "A drop is a restart.", [target(f"time() - process_start_time_seconds{{{SCRAPED}}}", NODE)], unit="s", runbook="TidegateRestartsOften"),
    table("Versions", "Two versions are normal only during an upgrade.", [now(f"max by (job, instance, version) ({of('build_info')})")],
          width=8, hidden=("Time", "Value"), names={"instance": "node"}),
    lines("Revocations", "Users who were disconnected and whose earlier tokens are refused. All nodes should report the same number.",
          [target(f"max by (instance) ({of('revocations')})", NODE)]),
])


def variable(name, label, **more):
    """A selection at the top: the values of a label of the nodes' metrics. All by default."""
    return {
        "name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": f"label_values({more['of']}, {name})", "refId": name},
        # Matches also metrics without the label, such as namespace outside Kubernetes.
        "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2, "sort": 1, "hide": 0, "options": [],
    }


def dashboard():
    return {
        "uid": "tidegate", "title": "Tidegate", "tags": ["tidegate"], "description": "Generated by deploy/grafana/dashboard.py.",
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
             "description": "The address of your copy of docs/operating/runbooks.md; the panels' links begin with it.",
             "current": {"text": RUNBOOKS, "value": RUNBOOKS}, "options": []},
        ]},
        "panels": laid_out([FIRST, READY, CONNECTIONS, PUBLICATIONS, SLOW, BROKER, PROCESS, CHANGES]),
    }


def main():
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] != ["--check"]:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        sys.exit(f"{FILE} differs from what dashboard.py generates: run deploy/grafana/dashboard.py")


if __name__ == "__main__":
    main()
