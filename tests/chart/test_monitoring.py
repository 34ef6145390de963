"""Alerts and dashboard ask for metrics that exist, with labels that exist."""

import json
import re

import pytest
from conftest import ROOT, render

# Of the sidecar; the service's own are in docs/metrics.md.
SIDECAR = {"websocket_pod_connections", "websocket_fleet_connections", "connection_gauge_status_up", "connection_gauge_redis_up", "connection_gauge_reports_total"}
NAME = re.compile(r"\b((?:websocket|jwt|redis|connection_gauge)_[a-z_]+)\b(?=\{|\[|$|[ )])")


def expressions() -> dict[str, str]:
    on = {"monitoring": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}
    rendered = render(on)
    found = {}
    for group in rendered.get("PrometheusRule/ws-websocket-service", "spec groups"):
        for rule in group["rules"]:
            found[rule["alert"]] = rule["expr"]
    dashboard = json.loads(rendered.get("ConfigMap/ws-websocket-service-dashboard", "data ws-websocket-service.json"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']}/{target['refId']}"] = target["expr"]
    return found


def documented() -> dict[str, str]:
    """Each metric of docs/metrics.md with its kind and what stands in its column of labels."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    return {name: f"{kind} {labels}" for name, kind, labels in rows}


@pytest.mark.parametrize("where", expressions())
def test_asks_for_what_exists(where: str) -> None:
    expression, known = expressions()[where], documented()
    names = set(NAME.findall(expression))
    assert names, expression
    for name in names:
        base = name.removesuffix("_bucket")
        assert name in SIDECAR or base in known, name
        if base in known:
            assert name.endswith("_bucket") == known[base].startswith("histogram"), name
            assert name.endswith("_total") == known[base].startswith("counter"), name
    for label, value in re.findall(r'(status|code|error_type|result)=~?"([^"]+)"', expression):
        for choice in value.split("|"):
            assert any(f"`{label}`" in row and f"`{choice}`" in row for row in known.values()), f"{label}={choice}"
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


def test_an_alert_says_what_to_do() -> None:
    rendered = render({"monitoring": {"prometheusRule": {"enabled": True}}})
    for rule in rendered.get("PrometheusRule/ws-websocket-service", "spec groups [0] rules"):
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".") and rule["annotations"]["description"].endswith(".")
