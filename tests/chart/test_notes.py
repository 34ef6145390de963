"""NOTES.txt: `helm template` leaves it out, so here it is rendered as an object of a copy of the chart."""

import pathlib
import shutil

import pytest
from conftest import CHART, render

AS_OBJECT = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data:
  notes: {{ tpl (.Files.Get "NOTES.txt") . | quote }}
"""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    copy = tmp_path_factory.mktemp("chart") / "websocket-service"
    shutil.copytree(CHART, copy)
    (copy / "templates/NOTES.txt").rename(copy / "NOTES.txt")
    (copy / "templates/notes.yaml").write_text(AS_OBJECT)
    return copy


def notes(chart: pathlib.Path, values: dict) -> str:
    return render(values, chart=chart).get("ConfigMap/notes", "data notes")


def test_it_shows_how_to_deliver_a_first_message(chart: pathlib.Path) -> None:
    text = notes(chart, {})
    lines = [line.strip() for line in text.splitlines()]
    exec_ = "kubectl -n demo exec deploy/ws-websocket-service -c websocket-service -- websocket-service"
    assert f"TOKEN=$({exec_} token mint --user alice --key-file /etc/websocket-service/jwt/jwt-secret-key)" in lines
    assert "kubectl -n demo port-forward service/ws-websocket-service 8004:8004 &" in lines
    assert any(line.startswith("curl ") and line.endswith("http://localhost:8004/ws &") for line in lines)
    assert any(line.startswith(f"{exec_} publish alice ") for line in lines)
    assert "helm -n demo test ws" in lines
    assert 'ws-websocket-service-redis-client: "true"' in text


def test_it_speaks_tls_where_the_pods_do(chart: pathlib.Path) -> None:
    text = notes(chart, {"service": {"tlsSecret": "certificate"}})
    assert "https://localhost:8004/ws &" in text and "curl -skN" in text
    assert "http://" not in text and "helm -n demo test" not in text


def test_it_warns_of_the_metrics_api_only_where_there_is_one(chart: pathlib.Path) -> None:
    cure = "kubectl delete apiservice v1beta1.custom.metrics.k8s.io v1beta2.custom.metrics.k8s.io"
    assert cure in notes(chart, {})
    assert cure not in notes(chart, {"autoscaling": {"provider": "resource"}})


@pytest.mark.parametrize(("values", "words"), [
    ({"autoscaling": {"provider": "prometheus-adapter"}}, "ws-websocket-service-prometheus-adapter-rule"),
    ({"settings": {"jwt_algorithm": "RS256"}, "jwt": {"publicKey": "PEM"}}, "Tokens are checked with RS256"),
    ({"autoscaling": {"enabled": False}, "redis": {"bundled": {"enabled": False}}}, "There is no Redis: one pod"),
    ({"drain": {"spreadSeconds": 900}}, "WARNING: the grace period is 930 s"),
    ({"settings": {"environment": "development"}}, "WARNING: settings.environment is development"),
    ({}, "set autoscaling.targetCPUPercent=null there"),
])
def test_it_says_what_the_values_mean(chart: pathlib.Path, values: dict, words: str) -> None:
    assert words in notes(chart, values)
