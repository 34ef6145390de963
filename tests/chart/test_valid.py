"""What is rendered is valid for every supported Kubernetes, and safe: Pod Security `restricted`, no token but the adapter's."""

import json
import pathlib
import re
import subprocess

import pytest
import schemas
import yaml
from conftest import ABSENT, CI_VALUES, ROOT, Rendered, render

# Kinds of other projects; their own types are asked, by test_custom_resources.
CUSTOM = {"ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute", "Certificate", "Issuer"}
EVERY = pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)


def schema_name(item: dict) -> str:
    group, _, version = item["apiVersion"].rpartition("/")
    return "-".join(part for part in (item["kind"].lower(), group.split(".")[0], version) if part)


@pytest.mark.parametrize("version", schemas.VERSIONS)
def test_kubeconform(version: str, tmp_path: pathlib.Path) -> None:
    files, names = [], set()
    for values in CI_VALUES:
        rendered = render(None, values, kubernetes=version)
        names |= {schema_name(item) for item in rendered.objects.values()}
        files.append(tmp_path / f"{values.stem}.yaml")
        files[-1].write_text(rendered.text)
    for file in sorted((ROOT / "examples").glob("**/*.yaml")):
        names |= {schema_name(item) for item in yaml.safe_load_all(file.read_text())}
        files.append(file)
    schemas.write(version, names, tmp_path)
    location = str(tmp_path / schemas.LOCATION)
    command = ["kubeconform", "-strict", "-summary", "-output", "json", "-skip", ",".join(sorted(CUSTOM)), "-kubernetes-version", version]
    done = subprocess.run([*command, "-schema-location", location, *map(str, files)], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report.get("resources") in (None, []), report["resources"]
    assert done.returncode == 0
    assert report["summary"]["valid"] > 100 and report["summary"]["invalid"] == report["summary"]["errors"] == 0


@EVERY
def test_pod_security_restricted(values: pathlib.Path) -> None:
    pods = render(None, values).pods()
    assert pods
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        for volume in pod.get("volumes", []):
            assert set(volume) - {"name"} <= {"secret", "configMap", "projected", "emptyDir", "downwardAPI"}, name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["requests"]["cpu"] and container["resources"]["limits"]["memory"], name
            assert not any("hostPort" in port for port in container.get("ports", [])), name


@EVERY
def test_only_the_adapter_has_a_token(values: pathlib.Path) -> None:
    rendered = render(None, values)
    for name, pod in rendered.pods().items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        tokens = [v for v in pod.get("volumes", []) if any("serviceAccountToken" in s for s in v.get("projected", {}).get("sources", []))]
        assert bool(tokens) == name.endswith("-metrics-adapter"), name
    for name, item in rendered.objects.items():
        if name.startswith("ServiceAccount/"):
            assert item["automountServiceAccountToken"] is False, name


def test_the_adapters_rights_are_the_least() -> None:
    rules = [rule for name, item in render().objects.items() if name.startswith(("Role/", "ClusterRole/")) for rule in item["rules"]]
    assert {resource for rule in rules for resource in rule["resources"]} == {"pods", "leases", "secrets", "apiservices"}
    for rule in rules:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert rule["resources"] == ["pods"] or rule["resourceNames"], rule
        assert not {"create", "delete", "deletecollection"} & set(rule["verbs"]), rule


@EVERY
def test_no_connection_to_the_api_goes_unverified(values: pathlib.Path) -> None:
    rendered = render(None, values)
    assert "insecureSkipTLSVerify" not in rendered.text
    for name, item in rendered.objects.items():
        if name.startswith("APIService/"):
            assert ("caBundle" in item["spec"]) == (values.stem == "tls-secret-values"), name


@EVERY
def test_what_is_namespaced_says_so_and_the_rest_carries_the_namespace(values: pathlib.Path) -> None:
    for name, item in render(None, values).objects.items():
        kind = item["kind"]
        if kind in ("ClusterRole", "ClusterRoleBinding"):
            assert item["metadata"]["name"].startswith("demo-"), name
        elif kind != "APIService" and not name.endswith("-extra"):
            assert item["metadata"]["namespace"] == ("kube-system" if name == "RoleBinding/" + item["metadata"]["name"] and item["roleRef"]["name"] == "extension-apiserver-authentication-reader" else "demo"), name


@EVERY
def test_selectors_find_their_pods_and_ports(values: pathlib.Path) -> None:
    rendered = render(None, values)
    templates = {n: o["spec"]["template"] for n, o in rendered.objects.items() if n.startswith("Deployment/")}
    for name, item in rendered.objects.items():
        if name.startswith("Deployment/"):
            wanted = item["spec"]["selector"]["matchLabels"]
        elif name.startswith("Service/"):
            wanted = item["spec"]["selector"]
        elif name.startswith("PodDisruptionBudget/"):
            wanted = item["spec"]["selector"]["matchLabels"]
        elif name.startswith("NetworkPolicy/"):
            wanted = item["spec"]["podSelector"]["matchLabels"]
        else:
            continue
        found = [t for t in templates.values() if wanted.items() <= t["metadata"]["labels"].items()]
        assert len(found) == 1, f"{name} selects {len(found)} Deployments"
        if name.startswith("Service/"):
            pod = found[0]["spec"]
            main = {p["name"] for c in pod["containers"] for p in c["ports"]}
            every = {p["containerPort"] for c in pod["containers"] + pod.get("initContainers", []) for p in c["ports"]}
            for port in item["spec"]["ports"]:
                assert port["targetPort"] in main | every, name


def test_the_gauge_is_a_native_sidecar_that_holds_nothing_back() -> None:
    gauge = render().get("Deployment/ws-websocket-service", "spec template spec initContainers [name=connection-gauge]")
    assert gauge["restartPolicy"] == "Always"
    assert not {"readinessProbe", "startupProbe", "lifecycle"} & set(gauge)
    assert gauge["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "gauge"}
    assert gauge["resources"] == {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}}
    fields = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in gauge["env"] if "valueFrom" in e}
    assert fields == {
        "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid",
        "POD_IP": "status.podIP", "NODE_NAME": "spec.nodeName",
        "POD_TEMPLATE_HASH": "metadata.labels['pod-template-hash']",
    }


def test_no_pod_leaves_before_a_new_one_is_ready() -> None:
    spec = render().get("Deployment/ws-websocket-service", "spec")
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in spec
    assert spec["progressDeadlineSeconds"] > spec["minReadySeconds"]


def test_the_adapter_is_told_what_its_objects_are_called() -> None:
    rendered = render()
    args = rendered.get("Deployment/ws-websocket-service-metrics-adapter", "spec template spec containers [0] args")
    flags = dict(arg.removeprefix("--").split("=", 1) for arg in args)
    assert rendered.get(f"Deployment/{flags['deployment']}") is not ABSENT
    assert rendered.get(f"Lease/{flags['lease']}", "spec") == {}
    secret = rendered.get(f"Secret/{flags['tls-secret']}")
    assert secret["type"] == "Opaque" and not {"data", "stringData"} & set(secret)
    for version in ("v1beta1", "v1beta2"):
        service = rendered.get(f"APIService/{version}.custom.metrics.k8s.io", "spec service")
        assert service == {"name": flags["service"], "namespace": "demo", "port": 443}
    selector = dict(pair.split("=") for pair in flags["selector"].split(","))
    assert selector == rendered.get("Deployment/ws-websocket-service", "spec selector matchLabels")
    assert flags["target"] == rendered.get("HorizontalPodAutoscaler/ws-websocket-service", "spec metrics [type=Object] object target averageValue")
    names = rendered.get("Role/ws-websocket-service-metrics-adapter", "rules")
    assert [rule.get("resourceNames") for rule in names] == [None, [flags["lease"]], [flags["tls-secret"]]]


def test_what_is_made_up_is_long_and_the_same_everywhere() -> None:
    rendered = Rendered(render({"redis": {"bundled": {"password": ""}}}).text)
    secret = rendered.get("Secret/ws-websocket-service-redis", "data")
    import base64

    text = {key: base64.b64decode(value).decode() for key, value in secret.items()}
    assert len(text["password"]) == 48
    assert f"redis://default:{text['password']}@" in text["redis-url"]
    assert f'requirepass "{text["password"]}"' in text["redis.conf"]
    key = base64.b64decode(rendered.get("Secret/ws-websocket-service-jwt", "data jwt-secret-key"))
    assert len(key) == 48 and key.decode() != text["password"]


@pytest.mark.parametrize("values", [{}, {"autoscaling": {"provider": "keda"}}, {"nameOverride": "n" * 60, "fullnameOverride": "f" * 60}], ids=["default", "keda", "long"])
def test_names_are_short_enough(values: dict) -> None:
    for name, item in render(values).objects.items():
        if item["kind"] not in ("ClusterRole", "ClusterRoleBinding", "RoleBinding"):
            assert len(item["metadata"]["name"]) <= 63, name
        for key, text in item["metadata"].get("labels", {}).items():
            assert len(key.rpartition("/")[2]) <= 63 and re.fullmatch(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", text), f"{name} {key}"
