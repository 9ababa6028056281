"""Grafana's panels as JSON: one function for each kind, with the defaults of this dashboard."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Grafana's grid.
WIDTH = 24
ROW_HEIGHT = 8
STAT_HEIGHT = 4

# From good to bad; a value below the first threshold is green.
COLOURS = ("green", "orange", "red")


def target(expr, legend="", **more):
    """A query over time."""
    return {"datasource": DATASOURCE, "expr": expr, "legendFormat": legend, "range": True, **more}


def now(expr, legend="", **more):
    """A query of the current values."""
    return {"datasource": DATASOURCE, "expr": expr, "legendFormat": legend, "instant": True, "range": False, **more}


def thresholds(*limits, colours=COLOURS):
    """The colours from these values on; with two limits, orange and red."""
    return {
        "mode": "absolute",
        "steps": [{"color": colour, "value": limit} for colour, limit in zip(colours, (None, *limits))],
    }


def lines(title, description, targets, unit="short", limits=(), stacked=False, runbook=None, width=8, **defaults):
    """A graph over time. `limits` are drawn as dashed lines: the thresholds of alerts."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if stacked else 5,
        "showPoints": "never",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    steps = [{"color": "transparent", "value": None}] + [{"color": "red", "value": limit} for limit in limits]
    return panel(
        "timeseries", title, description, targets, runbook, width, ROW_HEIGHT,
        defaults={
            "unit": unit, "min": 0, "custom": custom, "color": {"mode": "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": steps}, **defaults,
        },
        options={
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def stat(title, description, targets, unit="short", steps=None, runbook=None, width=4, mappings=(), **defaults):
    """One number, coloured by its thresholds."""
    return panel(
        "stat", title, description, targets, runbook, width, STAT_HEIGHT,
        defaults={"unit": unit, "thresholds": steps or thresholds(), "mappings": list(mappings), **defaults},
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if steps else "value", "graphMode": "none", "textMode": "auto",
        },
    )


def states(title, description, targets, names, runbook=None, width=12):
    """A bar for each series, coloured by its value. `names` has a word and a colour for each value."""
    mapping = {str(value): {"text": text, "color": colour, "index": value} for value, (text, colour) in names.items()}
    return panel(
        "state-timeline", title, description, targets, runbook, width, ROW_HEIGHT,
        defaults={
            "mappings": [{"type": "value", "options": mapping}], "custom": {"fillOpacity": 70, "lineWidth": 0},
            "color": {"mode": "thresholds"}, "thresholds": thresholds(),
        },
        options={"mergeValues": True, "showValue": "never", "rowHeight": 0.8, "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
    )


def heatmap(title, description, expr, unit="s", runbook=None, width=8):
    """A histogram over time: the number of values in each bucket."""
    return panel(
        "heatmap", title, description, [target(expr, "{{le}}", format="heatmap")], runbook, width, ROW_HEIGHT,
        defaults={}, options={
            "calculate": False, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
            "yAxis": {"unit": unit}, "tooltip": {"show": True}, "legend": {"show": True},
        },
    )


def table(title, description, targets, hidden=(), names=None, runbook=None, width=12):
    """A row for each series. `hidden` lists columns without use, `names` has the titles of others."""
    return panel(
        "table", title, description, [{**query, "format": "table"} for query in targets], runbook, width, ROW_HEIGHT,
        defaults={}, options={"showHeader": True},
        transformations=[{
            "id": "organize",
            "options": {"excludeByName": {name: True for name in hidden}, "renameByName": names or {}},
        }],
    )


def panel(kind, title, description, targets, runbook, width, height, defaults, options, **more):
    links = []
    if runbook:
        links = [{"title": f"Runbook: {runbook}", "url": f"${{runbooks}}#{runbook.lower()}", "targetBlank": True}]
    return {
        "type": kind, "title": title, "description": description, "datasource": DATASOURCE, "links": links,
        "targets": [{"refId": chr(ord("A") + number), **query} for number, query in enumerate(targets)],
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
        "gridPos": {"w": width, "h": height}, **more,
    }


def laid_out(rows):
    """All panels with positions and ids. Each of `rows` is a title and its panels, from left to right."""
    placed, y = [], 0
    for title, panels in rows:
        placed.append({
            "type": "row", "title": title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        })
        y += 1
        x = height = 0
        for it in panels:
            if x + it["gridPos"]["w"] > WIDTH:
                x, y = 0, y + height
            placed.append({**it, "gridPos": {**it["gridPos"], "x": x, "y": y}})
            x, height = x + it["gridPos"]["w"], it["gridPos"]["h"]
        y += height
    return [{"id": number, **it} for number, it in enumerate(placed, 1)]
