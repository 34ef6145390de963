"""Alerts fire when they should and not when they should not: `promtool test rules` with the cases in rules/."""

import copy
import pathlib
import re
import shutil

import pytest
import yaml
from conftest import CHART, ROOT, promtool, render

CASES = sorted((pathlib.Path(__file__).parent / "rules").glob("*.yaml"))
# Names by which the cases' series are short: the namespace is `demo`, a pod `ws-1-a`.
VALUES = {"fullnameOverride": "ws", "monitoring": {"prometheusRule": {"enabled": True}}}
# What every fleet shows and must be silent on.
SILENT = ["healthy", "rollout"]


def groups(values: dict = VALUES) -> list[dict]:
    return copy.deepcopy(render(values).get("PrometheusRule/ws", "spec groups"))


def rules() -> list[dict]:
    return [rule for group in groups() for rule in group["rules"]]


def cases(name: str) -> list[dict]:
    return yaml.safe_load((CASES[0].parent / f"{name}.yaml").read_text())["tests"]


def test_prometheus_takes_the_rules(tmp_path: pathlib.Path) -> None:
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump({"groups": groups()}))
    assert f"{len(rules())} rules found" in promtool(tmp_path, "check", "rules", "alerts.yaml")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_fires_and_stays_silent(case: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shown = groups()
    for rule in (rule for group in shown for rule in group["rules"]):
        # The rest is prose; promtool would have each case repeat it.
        rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump({"groups": shown}))
    shutil.copy(case, tmp_path)
    promtool(tmp_path, "test", "rules", case.name)


@pytest.mark.parametrize("name", [rule["alert"] for rule in rules()])
def test_an_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    seen = {path.stem: [bool(ask.get("exp_alerts")) for test in cases(path.stem) for ask in test.get("alert_rule_test", [])
                        if ask["alertname"] == name] for path in CASES}
    every = [fires for asked in seen.values() for fires in asked]
    assert True in every, "no case in rules/ sees it fire"
    assert False in every, "no case in rules/ sees it stay silent"


def test_cases_ask_for_alerts_that_exist() -> None:
    names = {ask["alertname"] for path in CASES for test in cases(path.stem) for ask in test.get("alert_rule_test", [])}
    assert names == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("name", SILENT)
def test_silence_is_that_of_a_whole_fleet(name: str) -> None:
    """All alerts are asked, at several times, with every series there that one of them watches."""
    tests = cases(name)
    for test in tests:
        asked = [ask for ask in test["promql_expr_test"] if ask["expr"].startswith("ALERTS")]
        assert len(asked) >= 3 and not any(ask.get("exp_samples") for ask in asked)
    shown = {re.match(r"\w+", series["series"])[0] for series in tests[0]["input_series"]}
    wanted = {name for rule in rules() for name in re.findall(r"\b([a-z_]+)\{", rule["expr"])}
    assert wanted and wanted <= shown, wanted - shown


def test_an_alert_says_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["labels"]["fleet"] == "ws"
        assert re.fullmatch(r"\d+[sm]", str(rule["for"])), rule["for"]
        assert list(rule["annotations"]) == ["summary", "description", "runbook"], rule["alert"]
        for text in rule["annotations"].values():
            assert "\n" not in text and text[0] != " " and text[-1] in ".`" and not re.search(r"<\w+>", text), text


def test_the_runbook_has_a_section_for_each_alert() -> None:
    page = (ROOT / "docs/runbook.md").read_text()
    sections = dict(re.findall(r"^### (WebsocketService\w+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    assert set(sections) == set(severities)
    for name, text in sections.items():
        assert text.lstrip().startswith(f"*{severities[name]}.*"), name
        for part in ("**Clients**", "**First look**", "**Do**"):
            assert text.count(part) == 1, f"{name}: {part}"
        assert "```" in text, f"{name}: no command"
    linked = groups({**VALUES, "monitoring": {"prometheusRule": {"enabled": True, "runbookUrl": "https://wiki.example/runbook"}}})
    for rule in (rule for group in linked for rule in group["rules"]):
        # As GitHub makes anchors of headings.
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example/runbook#{rule['alert'].lower()}"


def test_what_there_is_nothing_to_watch_of_is_left_out() -> None:
    every = {rule["alert"] for rule in rules()}
    for values, missing in [
        ({"autoscaling": {"provider": "resource"}}, {"WebsocketServiceAutoscalerBlind"}),
        ({"resources": {"limits": {"memory": None}}}, {"WebsocketServiceMemoryNearLimit"}),
    ]:
        assert every - {rule["alert"] for group in groups({**VALUES, **values}) for rule in group["rules"]} == missing


@pytest.mark.parametrize(("quantity", "number"), [("512Mi", "536870912"), ("1.5G", "1500000000"), (268435456, "268435456"), ("1e9", "1000000000")])
def test_the_memory_limit_is_in_bytes(quantity: object, number: str) -> None:
    found = [rule["expr"] for group in groups({**VALUES, "resources": {"limits": {"memory": quantity}}}) for rule in group["rules"]]
    assert any(expr.endswith(f"> 0.9 * {number}") for expr in found)


def test_nothing_is_left_to_put_in() -> None:
    for path in (CHART / "alerts").glob("*.yaml"):
        assert set(re.findall(r"<(\w+)>", path.read_text())) <= {"pods", "adapter", "memory", "drain", "fullname", "namespace", "name"}, path
    assert not re.search(r"<\w+>", yaml.safe_dump(groups()))
