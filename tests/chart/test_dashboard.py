"""The dashboard is one that Grafana 10 and 11 take, and that says what it shows."""

import re

import pytest
from test_monitoring import dashboard, panels

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
BY_TITLE = {panel["title"]: panel for panel in panels()}
EVERY = pytest.mark.parametrize("title", BY_TITLE)


def test_titles_and_ids_are_there_once() -> None:
    rows = [panel for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert len(BY_TITLE) == len(panels())
    ids = [panel["id"] for panel in [*panels(), *rows]]
    assert len(set(ids)) == len(ids)
    assert [row["title"].split(":")[0].split(" ")[0] for row in rows] == ["Fleet", "Pod", "Drain", "Redis", "Process"]


def test_it_is_of_no_cluster() -> None:
    shown = dashboard()
    assert shown["schemaVersion"] == 39 and shown["uid"] == "websocket-service" and "id" not in shown and "__inputs" not in shown
    assert [variable["name"] for variable in shown["templating"]["list"]] == ["datasource", "namespace", "release", "pod"]
    for variable in shown["templating"]["list"][1:]:
        assert variable["datasource"] == SOURCE and variable["refresh"] == 2
    assert all(annotation["datasource"] == SOURCE for annotation in shown["annotations"]["list"])


def test_the_release_is_found_in_the_names_of_pods() -> None:
    pattern = next(v["regex"] for v in dashboard()["templating"]["list"] if v["name"] == "release")
    found = re.fullmatch(pattern.strip("/"), "ws-websocket-service-6d4cf56db6-x7k2p")
    assert found and found[1] == "ws-websocket-service"


@EVERY
def test_a_panel_says_what_a_bad_value_means(title: str) -> None:
    text = BY_TITLE[title]["description"]
    assert 40 < len(text) < 220 and text.endswith(".") and ". " not in text, text


@EVERY
def test_a_panel_asks_the_chosen_source_for_the_chosen_pods(title: str) -> None:
    panel = BY_TITLE[title]
    refs = [target["refId"] for target in panel["targets"]]
    assert refs and len(set(refs)) == len(refs)
    for asked in [panel, *panel["targets"]]:
        assert asked["datasource"] == SOURCE
    for target in panel["targets"]:
        for matchers in re.findall(r"\{([^}]*)\}", target["expr"]):
            assert 'namespace="$namespace"' in matchers and "$release" in matchers, target["expr"]
        # A fixed window would show nothing where scrapes are far apart; a figure of the moment has one all the same.
        moment = panel["type"] in ("stat", "table") or "[1h]" in target["expr"]
        assert moment or not re.search(r"\[\d+[smh]\]", target["expr"]), target["expr"]
        assert "user" not in re.sub(r"websocket_users", "", target["expr"])


@EVERY
def test_a_panel_has_a_unit_and_colours(title: str) -> None:
    panel = BY_TITLE[title]
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"]
    assert steps[0]["value"] is None and [s["value"] for s in steps[1:]] == sorted(s["value"] for s in steps[1:])
    if panel["type"] in ("stat", "timeseries"):
        assert defaults["unit"] in ("short", "cps", "s", "bytes", "percentunit")
        seconds = any("_seconds_bucket" in target["expr"] for target in panel["targets"])
        assert (defaults["unit"] == "s") == seconds
        assert (defaults["unit"] == "bytes") == any("_bytes{" in target["expr"] for target in panel["targets"])
    elif panel["type"] == "state-timeline":
        assert defaults["mappings"]
    else:
        named = [rule["matcher"]["options"] for rule in panel["fieldConfig"]["overrides"]]
        assert named == [f"Value #{target['refId']}" for target in panel["targets"]]


def test_panels_do_not_overlap() -> None:
    def squares(shown: list[dict]) -> list[tuple[int, int]]:
        return [(place["x"] + x, place["y"] + y) for p in shown for place in [p["gridPos"]] for x in range(place["w"]) for y in range(place["h"])]

    outer = dashboard()["panels"]
    for shown in [outer, *(row["panels"] for row in outer if row["type"] == "row" and row["panels"])]:
        taken = squares(shown)
        assert len(set(taken)) == len(taken)
        assert all(0 <= x < 24 for x, _ in taken)
    for row in (panel for panel in outer if panel["type"] == "row"):
        # Only a collapsed row holds its panels.
        assert row["collapsed"] == bool(row["panels"])
