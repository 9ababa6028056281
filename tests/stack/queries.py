"""Checks that the dashboard's and the alerts' expressions use existing metrics. Each check returns the faults it finds."""

import json
import math
import os
import re

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# Metrics, label values and settings that the tested binary does not have yet: checks that need them are reported and
# skipped.
PENDING = os.environ.get("PENDING", "").split()

# Variables that Grafana replaces.
VARIABLES = {"$__rate_interval": "15s", "$__range": "1m", "$namespace": ".*", "$job": ".*", "$instance": ".*"}
# Labels that Prometheus adds, even if not in this test.
TARGET_LABELS = {"job", "instance", "namespace"}
OURS = re.compile(r"(?<![\w:])((?:tidegate|process)_\w+)(\{[^}]*\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on|group_left|without|ignoring)\s*\(([^)]*)\)")


class Scraped:
    """All metrics of the nodes in Prometheus, with the values of their labels."""

    def __init__(self, fleet):
        self.labels = {}
        for series in fleet.ask_prometheus("series", **{"match[]": '{job="tidegate"}'}):
            labels = self.labels.setdefault(series["__name__"], {})
            for label, value in series.items():
                labels.setdefault(label, set()).add(value)


def filled_in(expression):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


# Checks already reported as pending, so that each is reported once.
reported = set()


def pending(what, expression):
    """Whether it uses something that the tested binary does not have yet."""
    missing = [word for word in PENDING if word in expression]
    if missing and what not in reported:
        print(f"pending {what}: {', '.join(missing)}", flush=True)
        reported.add(what)
    return missing


def name_faults(expression, scraped):
    """Every metric, label and literal label value in an expression exists."""
    used = set()
    for metric, selector in OURS.findall(expression):
        labels = scraped.labels.get(metric)
        if labels is None:
            yield f"no node has {metric}"
            continue
        used |= labels.keys()
        for label, operator, value in MATCHER.findall(selector):
            if label not in labels.keys() | TARGET_LABELS:
                yield f"{metric} has no label {label}"
            elif label not in TARGET_LABELS:
                unknown = [it for it in value.split("|") if it not in labels[label] and re.fullmatch(r"\w+", it)]
                yield from (f"{metric} never has {label}={it}" for it in unknown)
    for grouping in GROUPING.findall(expression):
        for label in filter(None, re.split(r"[,\s]+", grouping)):
            if used and label not in used | TARGET_LABELS:
                yield f"no metric in it has the label {label}"


def result_faults(expression, legend, fleet):
    """Prometheus can parse the expression and has data for it, and the data has the legend's labels."""
    try:
        result = fleet.ask_prometheus("query", query=expression)["result"]
    except ValueError as refused:
        yield f"Prometheus: {refused}"
        return
    if not any(not math.isnan(float(it["value"][1])) for it in result):
        yield "no data" if not result else "only NaN"
    for label in re.findall(r"\{\{(\w+)\}\}", legend):
        if not all(label in it["metric"] for it in result):
            yield f"the legend's {{{{{label}}}}} is not in the result"


def unknown_fields(source):
    """Fields that a typed model of Grafana's dashboards does not have."""

    def lost(before, after, path):
        if isinstance(before, dict) and isinstance(after, dict):
            for key, value in before.items():
                yield from lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key} is not a field of Grafana's"]
        elif isinstance(before, list) and isinstance(after, list):
            for number, pair in enumerate(zip(before, after)):
                yield from lost(*pair, f"{path}[{number}]")

    kept = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(source)))
    return list(lost(source, kept, "dashboard"))


def dashboard_faults(source, scraped, fleet):
    faults, count = unknown_fields(source), 0
    for panel in source["panels"]:
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            faults.append(f"{panel['title']}: no description")
        for query in panel["targets"]:
            count += 1
            expression = filled_in(query["expr"])
            if pending(panel["title"], expression):
                continue
            found = [*name_faults(expression, scraped), *result_faults(expression, query["legendFormat"], fleet)]
            faults += [f"{panel['title']}: {it}: {expression}" for it in found]
    return faults, count


def alert_faults(groups, scraped):
    faults, count = [], 0
    for rule in (rule for group in groups for rule in group["rules"]):
        name = rule.get("alert") or rule["record"]
        count += 1
        if pending(name, rule["expr"]):
            continue
        faults += [f"{name}: {it}" for it in name_faults(rule["expr"], scraped)]
    return faults, count
