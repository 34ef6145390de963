"""Alerts, dashboard and runbook ask for metrics that are documented, with labels and values that they have."""

import json
import pathlib
import re
from typing import NamedTuple

import pytest
import yaml
from conftest import ROOT, promtool, render


class Metric(NamedTuple):
    """Of a row in the documentation. A label has values where they are documented."""

    kind: str
    labels: dict[str, set[str]]


# Of Prometheus itself, with the labels that the chart gives each alert.
ALERTS = Metric("gauge", {"alertname": set(), "alertstate": {"firing", "pending"}, "fleet": set(), "severity": {"critical", "warning"}})
# What a scrape adds to every series.
SCRAPED = {"namespace", "pod"}
WORDS = {"and", "or", "unless", "on", "by", "without", "bool", "offset", "ignoring", "group_left", "group_right"}


def documented() -> dict[str, Metric]:
    """The service's and the sidecar's metrics are on one page, the adapter's on another; both are made from the code."""
    found = {"ALERTS": ALERTS}
    for page in ("docs/metrics.md", "docs/metrics-adapter.md"):
        for name, kind, cell in re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|", (ROOT / page).read_text(), re.M):
            labels, _, values = cell.partition(":")
            found[name] = Metric(kind, {label: set(re.findall(r"`(\w+)`", values)) for label in re.findall(r"`(\w+)`", labels)})
    return found


def dashboard() -> dict:
    rendered = render({"monitoring": {"dashboard": {"enabled": True}}})
    return json.loads(rendered.get("ConfigMap/ws-websocket-service-dashboard", "data ws-websocket-service.json"))


def panels() -> list[dict]:
    """Every panel, rows apart, those of collapsed rows too."""
    outer = dashboard()["panels"]
    return [panel for panel in [*outer, *(p for row in outer for p in row.get("panels", []))] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Everything that is asked of Prometheus, by where it stands."""
    found = {}
    for group in render({"monitoring": {"prometheusRule": {"enabled": True}}}).get("PrometheusRule/ws-websocket-service", "spec groups"):
        found |= {rule["alert"]: rule["expr"] for rule in group["rules"]}
    for panel in panels():
        found |= {f"{panel['title']}/{target['refId']}": target["expr"] for target in panel["targets"]}
    for annotation in dashboard()["annotations"]["list"]:
        found[f"annotation {annotation['name']}"] = annotation["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert asked and variable["definition"] == variable["query"]["query"], variable["name"]
            found[f"variable {variable['name']}"] = f"count by ({asked[2]}) ({asked[1]})"
    for number, block in enumerate(re.findall(r"^```promql\n(.*?)^```", (ROOT / "docs/runbook.md").read_text(), re.M | re.S)):
        found |= {f"runbook {number}.{line}": text for line, text in enumerate(block.splitlines())}
    return found


EXPRESSIONS = expressions()


def base(name: str) -> str:
    """The documented name: a histogram is asked for by its parts."""
    return re.sub(r"_(bucket|sum|count)$", "", name) if name not in documented() else name


def names(expression: str) -> set[str]:
    """The metrics that an expression asks for: words that are no function, no keyword and no label."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    return set(re.findall(r"\b[A-Za-z_]\w*\b(?!\s*\()", bare)) - WORDS


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_asks_for_what_exists(where: str) -> None:
    expression, known = EXPRESSIONS[where], documented()
    assert names(expression)
    for name in names(expression):
        assert base(name) in known, f"{name} is in none of the documentation's tables"
        assert (known[base(name)].kind == "histogram") == (name != base(name)), name
        counted = re.search(rf"\b(rate|increase)\({name}\b", expression) is not None
        assert counted == (known[base(name)].kind in ("counter", "histogram")), f"{name} is a {known[base(name)].kind}"
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            assert label in SCRAPED | set(known[base(name)].labels), f"{name} has no label {label}"
            for choice in value.split("|") if known[base(name)].labels.get(label) else []:
                assert choice in known[base(name)].labels[label], f"{name}: {label}{operator}{choice}"


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_groups_by_what_exists(where: str) -> None:
    """Labels that results are grouped by, and those that a legend shows, are labels of the metrics."""
    expression, known = EXPRESSIONS[where], documented()
    there = SCRAPED | {label for name in names(expression) for label in known[base(name)].labels}
    there |= {"le"} if "_bucket" in expression else set()
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    legends = [t["legendFormat"] for p in panels() for t in p["targets"] if f"{p['title']}/{t['refId']}" == where]
    asked = {label.strip() for group in grouped for label in group.split(",")}
    assert asked <= there, asked - there
    # Without grouping a gauge shows the labels that it has.
    shown = set(re.findall(r"\{\{(\w+)\}\}", "".join(legends)))
    assert shown <= (asked or there), shown


def test_prometheus_takes_every_question(tmp_path: pathlib.Path) -> None:
    """Also those of dashboard and runbook, with Grafana's variables put in."""
    ready = [text.replace("$__rate_interval", "1m").replace("$", "") for text in EXPRESSIONS.values()]
    rules = [{"record": f"question:{number}", "expr": text} for number, text in enumerate(ready)]
    (tmp_path / "questions.yaml").write_text(yaml.safe_dump({"groups": [{"name": "questions", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool(tmp_path, "check", "rules", "questions.yaml")


def test_what_is_not_documented_is_seen() -> None:
    """The tests above see through functions, groups and matchers."""
    asked = 'histogram_quantile(0.9, sum by (le) (rate(a_bucket{b="c d"}[5m]))) > 2 * max(e) or f unless on (pod) g{} == 1'
    assert names(asked) == {"a_bucket", "e", "f", "g"}
