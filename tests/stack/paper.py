"""Checks that deploy/ and docs/ are consistent. Each check returns the faults it finds."""

import re

OURS = re.compile(r"(?<![\w:])(?:tidegate|process)_\w+|(?<![\w:])up(?=\{)")


def anchors(markdown):
    """The anchor of a heading, as Markdown renderers form it."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def runbook_faults(groups, page, dashboard, address="docs/operating/runbooks.md"):
    """Each alert has a runbook, each runbook an alert, and each panel's link a target. `address` is that of the runbooks."""
    faults = []
    known = anchors(page)
    names = set()
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        name = rule["alert"]
        names.add(name)
        expected = f"{address}#{name.lower()}"
        if rule["annotations"].get("runbook_url") != expected:
            faults.append(f"{name}: its runbook_url is not {expected}")
        if name.lower() not in known:
            faults.append(f"{name}: docs/operating/runbooks.md has no runbook")
        for field in ("summary", "description"):
            if not rule["annotations"].get(field):
                faults.append(f"{name}: no {field}")
        if rule["labels"].get("severity") not in ("critical", "warning", "info"):
            faults.append(f"{name}: no severity")
    for heading in re.findall(r"^## (Tidegate\w+)$", page, re.M):
        if heading not in names:
            faults.append(f"a runbook for {heading}, which is not an alert")
    for panel in dashboard["panels"]:
        for link in panel.get("links", []):
            anchor = link["url"].partition("#")[2]
            if anchor not in known:
                faults.append(f"panel {panel['title']}: its link to #{anchor} has no target")
    return faults


def alert_test_faults(groups, tests):
    """Each alert fires in a test, and the busy fleet of the first test has all metrics that the alert uses."""
    busy, *broken = tests
    fires = " ".join(
        sample["labels"] for test in broken for case in test["promql_expr_test"] for sample in case["exp_samples"]
    )
    samples = [sample for case in busy["promql_expr_test"] for sample in case["exp_samples"]]
    faults = [f"the busy fleet's test expects {samples}"] if samples else []
    existing = {series["series"].partition("{")[0] for series in busy["input_series"]}
    records = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        name, expression = rule["alert"], rule["expr"]
        if f'alertname="{name}"' not in fires:
            faults.append(f"{name} fires in no test")
        for record, meaning in records.items():
            expression = expression.replace(record, f"({meaning})")
        faults += [f"{name}: the busy fleet has no {it}" for it in sorted(set(OURS.findall(expression)) - existing)]
    return faults
