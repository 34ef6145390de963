"""Values that cannot work are refused, with a sentence that names what to change."""

import pytest
from conftest import CI_VALUES, KUBERNETES, Refused, merge, nested, render
from test_values import FIXED, OWNED, TLS_SECRET

IN_PROCESS = {"redis": {"bundled": {"enabled": False}}}
IN_CLUSTER = {"redis": {"url": "redis://r", "cluster": {"nodes": ["a"]}}}

# What is given, and words that the sentence holds.
CANNOT_WORK = {
    "grace below the drain": ({"terminationGracePeriodSeconds": 89}, ["terminationGracePeriodSeconds (89)", "= 90", "shorten the drain"]),
    "grace below a longer drain": ({"terminationGracePeriodSeconds": 90, "drain": {"spreadSeconds": 61}}, ["= 91"]),
    "replicas without Redis": (merge(merge(FIXED, IN_PROCESS), {"replicas": 2}), ["replicas is 2", "redis.bundled.enabled", "set replicas to 1"]),
    "autoscaling without Redis": (IN_PROCESS, ["no Redis", "redis.bundled.enabled", "autoscaling.enabled to false"]),
    "fixed replicas under autoscaling": ({"replicas": 3}, ["replicas is 3", "remove replicas", "autoscaling.enabled to false"]),
    "least above most": ({"autoscaling": {"minReplicas": 11}}, ["minReplicas (11)", "maxReplicas (10)"]),
    "both budgets": ({"podDisruptionBudget": {"maxUnavailable": 1, "minAvailable": 1}}, ["maxUnavailable", "minAvailable", "remove one"]),
    "a budget that blocks nodes": ({"podDisruptionBudget": {"minAvailable": 2}}, ["minAvailable (2)", "no node could ever be drained"]),
    "two Redis": ({"redis": {"url": "redis://r", "existingSecret": "r"}}, ["redis.url", "redis.existingSecret", "remove one"]),
    "sentinels of nothing": ({"redis": {"sentinel": {"servers": ["a"]}}}, ["redis.sentinel", "give redis.url"]),
    "TLS for the bundled Redis": ({"redis": {"tls": {"caSecret": "ca"}}}, ["redis.tls", "give redis.url"]),
    "certificates without TLS": ({"redis": {"url": "redis://r", "tls": {"caSecret": "ca"}}}, ["redis.tls", "make it rediss://"]),
    "a login without sentinels": ({"redis": {"url": "redis://r", "sentinel": {"existingSecret": "s"}}}, ["list redis.sentinel.servers"]),
    "a sentinel's user without a password": ({"redis": {"url": "redis://r", "sentinel": {"servers": ["a"], "user": "ws"}}}, ["redis.sentinel.existingSecret"]),
    "a cluster of nothing": ({"redis": {"cluster": {"nodes": ["a"]}}}, ["redis.cluster", "give redis.url"]),
    "a cluster without Redis": (merge(merge(FIXED, IN_PROCESS), {"redis": {"cluster": {"nodes": ["a"]}}}), ["redis.cluster", "give redis.url"]),
    "a cluster and sentinels": (merge(IN_CLUSTER, {"redis": {"sentinel": {"servers": ["a"]}}}), ["redis.cluster.nodes", "redis.sentinel.servers", "remove one"]),
    "a cluster and a brace": (merge(IN_CLUSTER, {"settings": {"websocket_channel_prefix": "{ws}:", "history_size": 0}}), ["websocket_channel_prefix is {ws}:", "redis.cluster.nodes"]),
    "a brace with history": ({"settings": {"websocket_channel_prefix": "{ws}:"}}, ["websocket_channel_prefix is {ws}:", "history_size to 0"]),
    "two keys": ({"jwt": {"existingSecret": "a", "secret": "s" * 32}}, ["jwt.existingSecret", "remove one"]),
    "previous key of nothing": ({"jwt": {"existingSecretPreviousKey": "a"}}, ["jwt.existingSecret,", "give it"]),
    "short key": ({"jwt": {"secret": "short"}}, ["5 bytes", "openssl rand -hex 32"]),
    "public key for HS": ({"jwt": {"publicKey": "PEM"}}, ["jwt.publicKey", "HS256", "settings.jwt_algorithm"]),
    "shared key for ES": ({"jwt": {"secret": "s" * 32}, "settings": {"jwt_algorithm": "ES256"}}, ["ES256", "jwt.publicKey"]),
    "no key for RS": ({"settings": {"jwt_algorithm": "RS256"}}, ["cannot be made up", "jwt.keysSecret"]),
    "a key set for HS": ({"settings": {"jwt_jwks_url": "https://a/jwks"}}, ["settings.jwt_jwks_url", "HS256", "settings.jwt_algorithm"]),
    "a key and a key set": ({"jwt": {"publicKey": "PEM"}, "settings": {"jwt_jwks_url": "https://a/jwks", "jwt_algorithm": "RS256"}}, ["settings.jwt_jwks_url", "publicKey", "remove"]),
    "two API keys": ({"apiKey": {"existingSecret": "a", "value": "k" * 16}}, ["apiKey.existingSecret", "remove one"]),
    "short API key": ({"apiKey": {"value": "short"}}, ["5 bytes", "16"]),
    "no surge": ({"rollout": {"maxSurge": 0}}, ["rollout.maxSurge is 0"]),
    "no surge in percent": ({"rollout": {"maxSurge": "0%"}}, ["rollout.maxSurge is 0"]),
    "deadline before readiness": ({"rollout": {"minReadySeconds": 30, "progressDeadlineSeconds": 30}}, ["progressDeadlineSeconds (30)", "minReadySeconds (30)"]),
    "two monitors": ({"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, ["counted twice"]),
    "ingress without hosts": ({"ingress": {"enabled": True}}, ["ingress.hosts"]),
    "route without a gateway": ({"httpRoute": {"enabled": True}}, ["httpRoute.parentRefs"]),
    "node port of no node": ({"service": {"nodePort": 30000}}, ["service.nodePort", "service.type"]),
    "CPU alone without CPU": ({"autoscaling": {"provider": "resource", "targetCPUPercent": None}}, ["autoscaling.targetCPUPercent is unset"]),
    "CPU of no request": ({"resources": {"requests": {"cpu": None}}}, ["resources.requests.cpu"]),
    "KEDA without Prometheus": ({"autoscaling": {"provider": "keda", "keda": {"trigger": "prometheus"}}}, ["autoscaling.keda.prometheusAddress"]),
    "TLS without a Secret": (merge(TLS_SECRET, {"metricsAdapter": {"tls": {"existingSecret": ""}}}), ["metricsAdapter.tls.existingSecret is empty"]),
    "TLS without a CA": (merge(TLS_SECRET, {"metricsAdapter": {"tls": {"caBundle": ""}}}), ["metricsAdapter.tls.caBundle is empty"]),
    "a Secret that nobody uses": (merge(TLS_SECRET, {"metricsAdapter": {"tls": {"mode": "self"}}}), ["metricsAdapter.tls.mode is self"]),
    **{f"setting {name}": ({"settings": {name: "1"}}, [f"settings.{name} is set by the chart", "use "]) for name in OWNED},
}


@pytest.mark.parametrize("case", CANNOT_WORK)
def test_what_cannot_work_is_refused(case: str) -> None:
    values, words = CANNOT_WORK[case]
    with pytest.raises(Refused) as refused:
        render(values)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("url", ["redis://r/3", "redis://r:6379/10/", "rediss://ws:pa%2Fss@[fd00::7]:6379//1?protocol=resp3"])
def test_a_cluster_has_no_database_but_0(url: str) -> None:
    render({"redis": {"url": url}})
    with pytest.raises(Refused, match="redis.url names a database") as refused:
        render(merge(IN_CLUSTER, {"redis": {"url": url}}))
    assert url not in str(refused.value)


@pytest.mark.parametrize("url", ["redis://r1", "redis://r:6379/", "redis://r/0", "rediss://ws:pa%2F1@[fd00::7]:6379/0?protocol=resp3"])
def test_a_cluster_takes_database_0_named_or_not(url: str) -> None:
    render(merge(IN_CLUSTER, {"redis": {"url": url}}))


@pytest.mark.parametrize(("path", "value"), [
    ("unknown", 1),
    ("image.repo", "r"),
    ("settings.heartbeat_interval", 30),
    ("redis.bundled.persistence", True),
    ("autoscaling.scaleUp.window", 1),
    ("metricsAdapter.tls.insecureSkipTLSVerify", True),
    ("autoscaling.provider", "datadog"),
    ("autoscaling.minReplicas", 0),
    ("autoscaling.maxReplicas", "10"),
    ("autoscaling.keda.trigger", "cron"),
    ("metricsAdapter.tls.mode", "none"),
    ("capacity.targetPercent", 101),
    ("capacity.connectionsPerPod", 0),
    ("drain.closeCode", 1000),
    ("drain.spreadSeconds", -1),
    ("rollout.profile", "reckless"),
    ("rollout.maxSurge", "many"),
    ("image.digest", "sha256:abc"),
    ("image.pullPolicy", "Sometimes"),
    ("redis.url", "http://redis"),
    ("redis.sentinel.servers", ["redis://sentinel"]),
    ("redis.cluster.nodes", ["redis://node"]),
    ("redis.cluster.nodes", "a:6379"),
    ("redis.cluster.pubsub", "global"),
    ("redis.cluster.servers", ["a:6379"]),
    ("redis.bundled.password", 'with "quotes"'),
    ("commonLabels.team", 7),
    ("service.type", "ExternalName"),
    ("monitoring.interval", "15"),
    ("extraEnv", [{"value": "without a name"}]),
    ("settings.environment", "prod"),
])
def test_the_schema_refuses(path: str, value: object) -> None:
    with pytest.raises(Refused, match="values don't meet the specifications of the schema"):
        render(nested(path, value))


def test_an_old_kubernetes_is_refused() -> None:
    with pytest.raises(Refused, match="requires kubeVersion"):
        render(kubernetes="1.28.0")


def test_tolerances_are_left_out_where_the_cluster_would_drop_them() -> None:
    values = {"autoscaling": {"scaleUp": {"tolerance": 0.05}, "scaleDown": {"tolerance": 0.2}}}
    assert "tolerance: " not in render(values, kubernetes=KUBERNETES).text
    assert render(values, kubernetes="1.35.0").text.count("tolerance: ") == 2


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_one_autoscaler_or_none(values) -> None:
    rendered = render(None, values)
    autoscalers = [name for name in rendered.objects if name.startswith(("HorizontalPodAutoscaler/", "ScaledObject/"))]
    servers = [o for n, o in rendered.objects.items() if n.startswith("Deployment/") and o["metadata"]["labels"]["app.kubernetes.io/component"] == "server"]
    assert len(servers) == 1
    assert len(autoscalers) == (0 if "replicas" in servers[0]["spec"] else 1)
