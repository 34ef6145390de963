"""Every documented value does what its comment says: the place that it changes, and what stands there then."""

import base64
import json
from typing import NamedTuple

import pytest
from chart_values import VALUES, parse
from conftest import ABSENT, CHART, ROOT, merge, nested, render

D = "Deployment/ws-websocket-service"
HPA = "HorizontalPodAutoscaler/ws-websocket-service"
SO = "ScaledObject/ws-websocket-service"
A = "Deployment/ws-websocket-service-metrics-adapter"
R = "Deployment/ws-websocket-service-redis"
SVC = "Service/ws-websocket-service"
NP = "NetworkPolicy/ws-websocket-service"
POD = "spec template spec"
MAIN = f"{POD} containers [name=websocket-service]"
GAUGE = f"{POD} initContainers [name=connection-gauge]"
ADAPTER = f"{POD} containers [name=metrics-adapter]"
REDIS = f"{POD} containers [name=redis]"

LABELS = {"team": "messaging"}
SELECTOR = {"disk": "ssd"}
TOLERATIONS = [{"key": "spot", "operator": "Exists"}]
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
PEERS = [{"namespaceSelector": {"matchLabels": {"name": "other"}}}]
DIGEST = "sha256:" + "0123456789abcdef" * 4
RESOURCES = {"requests": {"cpu": "3"}, "limits": {"memory": "3Gi"}}
KEDA = {"autoscaling": {"provider": "keda"}}
PROMETHEUS = {"autoscaling": {"provider": "keda", "keda": {"trigger": "prometheus", "prometheusAddress": "http://p:9090"}}}
FIXED = {"autoscaling": {"enabled": False}}
MONITORED = {"monitoring": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
NODE_PORT = {"service": {"type": "NodePort"}}
BALANCER = {"service": {"type": "LoadBalancer"}}
HOST = {"ingress": {"hosts": [{"host": "ws.example.com"}]}}
INGRESS = merge(HOST, {"ingress": {"enabled": True}})
GATEWAY = {"httpRoute": {"parentRefs": [{"name": "public"}]}}
ROUTE = merge(GATEWAY, {"httpRoute": {"enabled": True}})
TLS_SECRET = {"metricsAdapter": {"tls": {"mode": "secret", "existingSecret": "mine", "caBundle": "Q0E="}}}
JWT_SECRET = {"jwt": {"existingSecret": "keys"}}
API_SECRET = {"apiKey": {"existingSecret": "api"}}
SENTINELS = {"redis": {"existingSecret": "redis", "sentinel": {"servers": ["a:26379"]}}}
CLUSTER = {"redis": {"existingSecret": "redis", "cluster": {"nodes": ["a:6379"]}}}
SENTINEL_SECRET = merge(SENTINELS, {"redis": {"sentinel": {"existingSecret": "pass"}}})
REDIS_SECRET = {"redis": {"existingSecret": "redis"}}
TRACED = {"tracing": {"endpoint": "http://collector:4318"}}
EGRESS = {"networkPolicy": {"egress": {"enabled": True}}}


class Case(NamedTuple):
    """With `given` at the documented path, over `among`, each place holds what is expected, and did not before."""

    given: object
    places: list[tuple]
    among: dict = {}
    kubernetes: str = "1.34.0"


def env(name: str) -> str:
    return f"{MAIN} env [name={name}] value"


# Where all that talks to Redis finds what the URL does not say.
CREDENTIALS = "/etc/websocket-service/redis-credentials"
PROJECTED = f"{POD} volumes [name=redis-credentials] projected sources"


def reaching(name: str, value: str) -> list[tuple]:
    """A setting of Redis in each container that talks to it."""
    return [(o, f"{container} env [name=WEBSOCKET_SERVICE_{name}] value", value) for o, container in ((D, MAIN), (D, GAUGE), (A, ADAPTER))]


def one(given: object, name: str, path: str, expected: object = None, **more: object) -> Case:
    """A case with one place; the expected value is the given one unless said otherwise."""
    return Case(given, [(name, path, given if expected is None else expected)], **more)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


CASES: dict[str, Case] = {
    "nameOverride": Case("chat", [("Deployment/ws-chat", "spec selector matchLabels app.kubernetes.io/name", "chat")]),
    "fullnameOverride": Case("chat" * 11, [("Deployment/" + "chat" * 10, "metadata name", "chat" * 10)]),
    "commonLabels": Case(LABELS, [(x, "metadata labels team", "messaging") for x in (D, A, R, SVC, HPA)]),
    "image.repository": Case("r/ws", [(D, f"{MAIN} image", "r/ws:0.1.0"), (D, f"{GAUGE} image", "r/ws:0.1.0"), (A, f"{ADAPTER} image", "r/ws:0.1.0")]),
    "image.tag": one("7", D, f"{MAIN} image", "websocket-service:7"),
    "image.digest": one(DIGEST, D, f"{MAIN} image", f"websocket-service@{DIGEST}", among={"image": {"tag": "7"}}),
    "image.pullPolicy": Case("Always", [(D, f"{MAIN} imagePullPolicy", "Always"), (D, f"{GAUGE} imagePullPolicy", "Always"), (A, f"{ADAPTER} imagePullPolicy", "Always")]),
    "imagePullSecrets": Case([{"name": "pull"}], [(x, f"{POD} imagePullSecrets", [{"name": "pull"}]) for x in (D, A, R)]),
    "replicas": one(5, D, "spec replicas", among=FIXED),
    "capacity.connectionsPerPod": Case(2000, [
        (D, env("WEBSOCKET_SERVICE_MAX_CONNECTIONS"), "2000"),
        (HPA, "spec metrics [type=Object] object target averageValue", "1400"),
    ]),
    "capacity.targetPercent": one(55, HPA, "spec metrics [type=Object] object target averageValue", "5500"),
    "settings.environment": one("staging", D, env("WEBSOCKET_SERVICE_ENVIRONMENT")),
    "settings.public_metrics": one(True, D, env("WEBSOCKET_SERVICE_PUBLIC_METRICS"), "true"),
    "jwt.existingSecret": Case("keys", [
        (D, f"{POD} volumes [name=jwt] secret secretName", "keys"),
        ("Secret/ws-websocket-service-jwt", "", ABSENT),
    ]),
    "jwt.existingSecretKey": one("k", D, f"{POD} volumes [name=jwt] secret items [path=jwt-secret-key] key", among=JWT_SECRET),
    "jwt.existingSecretPreviousKey": Case("old", [
        (D, f"{POD} volumes [name=jwt] secret items [path=jwt-previous-key] key", "old"),
        (D, env("WEBSOCKET_SERVICE_JWT_PREVIOUS_SECRET_KEY_FILE"), "/etc/websocket-service/jwt/jwt-previous-key"),
    ], among=JWT_SECRET),
    "jwt.secret": one("s" * 32, "Secret/ws-websocket-service-jwt", "data jwt-secret-key", b64("s" * 32)),
    "jwt.publicKey": Case("PEM", [
        ("Secret/ws-websocket-service-jwt", "data jwt-public-key", b64("PEM")),
        (D, env("WEBSOCKET_SERVICE_JWT_PUBLIC_KEY_FILE"), "/etc/websocket-service/jwt/jwt-public-key"),
        (D, env("WEBSOCKET_SERVICE_JWT_SECRET_KEY_FILE"), ABSENT),
    ], among={"settings": {"jwt_algorithm": "ES256"}, "jwt": {"keysSecret": "kids"}}),
    "jwt.keysSecret": Case("kids", [
        (D, f"{POD} volumes [name=jwt-keys] secret secretName", "kids"),
        (D, env("WEBSOCKET_SERVICE_JWT_KEYS_DIR"), "/etc/websocket-service/jwt-keys"),
        (D, f"{MAIN} volumeMounts [name=jwt-keys] mountPath", "/etc/websocket-service/jwt-keys"),
        ("Secret/ws-websocket-service-jwt", "", ABSENT),
    ]),
    "apiKey.existingSecret": Case("api", [
        (D, f"{POD} volumes [name=api-key] secret secretName", "api"),
        (D, env("WEBSOCKET_SERVICE_API_KEY_FILE"), "/etc/websocket-service/api/api-key"),
    ]),
    "apiKey.existingSecretKey": one("k", D, f"{POD} volumes [name=api-key] secret items [path=api-key] key", among=API_SECRET),
    "apiKey.value": Case("0123456789abcdef", [
        ("Secret/ws-websocket-service-api-key", "data api-key", b64("0123456789abcdef")),
        (D, f"{POD} volumes [name=api-key] secret secretName", "ws-websocket-service-api-key"),
    ]),
    "redis.url": Case("rediss://r:6379", [
        ("Secret/ws-websocket-service-redis", "data redis-url", b64("rediss://r:6379")),
        (R, "", ABSENT),
    ]),
    "redis.existingSecret": Case("mine", [
        (D, f"{POD} volumes [name=redis] secret secretName", "mine"),
        (A, f"{POD} volumes [name=redis] secret secretName", "mine"),
        ("Secret/ws-websocket-service-redis", "", ABSENT),
        (R, "", ABSENT),
    ]),
    "redis.existingSecretKey": one("k", D, f"{POD} volumes [name=redis] secret items [path=redis-url] key", among=REDIS_SECRET),
    "redis.sentinel.servers": Case(["a:26379", "[fd00::7]:26380"], reaching("REDIS_SENTINELS", "a:26379,[fd00::7]:26380"), among=REDIS_SECRET),
    "redis.sentinel.master": Case("chat", reaching("REDIS_SENTINEL_MASTER", "chat"), among=SENTINELS),
    "redis.sentinel.user": Case("ws", reaching("REDIS_SENTINEL_USER", "ws"), among=SENTINEL_SECRET),
    "redis.sentinel.existingSecret": Case("mine", [
        *reaching("REDIS_SENTINEL_PASSWORD_FILE", f"{CREDENTIALS}/sentinel-password"),
        *((o, f"{PROJECTED} [0] secret name", "mine") for o in (D, A)),
    ], among=SENTINELS),
    "redis.sentinel.existingSecretKey": one("k", D, f"{PROJECTED} [0] secret items [path=sentinel-password] key", among=SENTINEL_SECRET),
    "redis.cluster.nodes": Case(["a:6379", "[fd00::7]:7000"], [
        *reaching("REDIS_CLUSTER_NODES", "a:6379,[fd00::7]:7000"),
        (D, env("WEBSOCKET_SERVICE_REDIS_CLUSTER_PUBSUB"), "sharded"),
    ], among=REDIS_SECRET),
    "redis.cluster.pubsub": Case("classic", [
        (D, env("WEBSOCKET_SERVICE_REDIS_CLUSTER_PUBSUB"), "classic"),
        *((o, place, ABSENT) for o, place, _ in reaching("REDIS_CLUSTER_PUBSUB", "classic")[1:]),
    ], among=CLUSTER),
    "redis.tls.caSecret": Case("mine", [
        *reaching("REDIS_TLS_CA_FILE", f"{CREDENTIALS}/ca.crt"),
        *((o, f"{PROJECTED} [0] secret name", "mine") for o in (D, A)),
    ], among=REDIS_SECRET),
    "redis.tls.caSecretKey": one("k", D, f"{PROJECTED} [0] secret items [path=ca.crt] key", among=merge(REDIS_SECRET, {"redis": {"tls": {"caSecret": "ca"}}})),
    "redis.tls.clientSecret": Case("mine", [
        *reaching("REDIS_TLS_CERTIFICATE_FILE", f"{CREDENTIALS}/tls.crt"),
        *reaching("REDIS_TLS_KEY_FILE", f"{CREDENTIALS}/tls.key"),
        *((o, f"{PROJECTED} [0] secret name", "mine") for o in (D, A)),
    ], among=REDIS_SECRET),
    "redis.bundled.enabled": Case(False, [
        (R, "", ABSENT),
        (D, env("WEBSOCKET_SERVICE_REDIS_URL_FILE"), ABSENT),
        (D, "spec replicas", 1),
    ], among=FIXED),
    "redis.bundled.password": Case("other", [
        ("Secret/ws-websocket-service-redis", "data password", b64("other")),
        ("Secret/ws-websocket-service-redis", "data redis-url", b64("redis://default:other@ws-websocket-service-redis.demo.svc:6379/0")),
    ]),
    "redis.bundled.maxMemory": Case("7mb", [
        ("Secret/ws-websocket-service-redis", "data redis.conf", lambda text: "\nmaxmemory 7mb\n" in base64.b64decode(text).decode()),
    ]),
    "redis.bundled.image.repository": one("r/redis", R, f"{REDIS} image", "r/redis:8.2-bookworm"),
    "redis.bundled.image.tag": one("7.2", R, f"{REDIS} image", "redis:7.2"),
    "redis.bundled.image.digest": one(DIGEST, R, f"{REDIS} image", f"redis@{DIGEST}"),
    "redis.bundled.image.pullPolicy": one("Never", R, f"{REDIS} imagePullPolicy"),
    "redis.bundled.resources": one(RESOURCES, R, f"{REDIS} resources", lambda got: got["requests"]["cpu"] == "3" and got["limits"]["memory"] == "3Gi"),
    "redis.bundled.nodeSelector": one(SELECTOR, R, f"{POD} nodeSelector"),
    "redis.bundled.tolerations": one(TOLERATIONS, R, f"{POD} tolerations"),
    "redis.bundled.affinity": one(AFFINITY, R, f"{POD} affinity"),
    "drain.lameDuckSeconds": Case(20, [(D, env("WEBSOCKET_SERVICE_DRAIN_LAME_DUCK_SECONDS"), "20"), (D, f"{POD} terminationGracePeriodSeconds", 100)]),
    "drain.spreadSeconds": Case(100, [(D, env("WEBSOCKET_SERVICE_DRAIN_SPREAD_SECONDS"), "100"), (D, f"{POD} terminationGracePeriodSeconds", 130)]),
    "drain.lingerSeconds": Case(5, [(D, env("WEBSOCKET_SERVICE_DRAIN_LINGER_SECONDS"), "5"), (D, f"{POD} terminationGracePeriodSeconds", 85)]),
    "drain.marginSeconds": one(15, D, f"{POD} terminationGracePeriodSeconds", 95),
    "drain.closeCode": one(1001, D, env("WEBSOCKET_SERVICE_DRAIN_CLOSE_CODE"), "1001"),
    "terminationGracePeriodSeconds": one(300, D, f"{POD} terminationGracePeriodSeconds"),
    "rollout.profile": Case("gentle", [(D, "spec strategy rollingUpdate maxSurge", "25%"), (D, "spec progressDeadlineSeconds", 640)]),
    "rollout.maxSurge": one(3, D, "spec strategy rollingUpdate maxSurge"),
    "rollout.minReadySeconds": Case(30, [(D, "spec minReadySeconds", 30), (D, "spec progressDeadlineSeconds", 660)]),
    "rollout.progressDeadlineSeconds": one(900, D, "spec progressDeadlineSeconds"),
    "rollout.revisionHistoryLimit": one(2, D, "spec revisionHistoryLimit"),
    "autoscaling.enabled": Case(False, [(HPA, "", ABSENT), (A, "", ABSENT), ("APIService/v1beta1.custom.metrics.k8s.io", "", ABSENT), (D, "spec replicas", 2)]),
    "autoscaling.provider": Case("resource", [
        (A, "", ABSENT),
        ("APIService/v1beta2.custom.metrics.k8s.io", "", ABSENT),
        (HPA, "spec metrics [type=Object]", ABSENT),
        (HPA, "spec metrics", lambda got: [metric["type"] for metric in got] == ["ContainerResource"]),
    ]),
    "autoscaling.minReplicas": Case(3, [(HPA, "spec minReplicas", 3), (A, f"{ADAPTER} args", lambda got: "--min-replicas=3" in got)]),
    "autoscaling.maxReplicas": one(30, HPA, "spec maxReplicas"),
    "autoscaling.targetCPUPercent": Case(60, [(HPA, "spec metrics [type=ContainerResource] containerResource", {
        "name": "cpu", "container": "websocket-service", "target": {"type": "Utilization", "averageUtilization": 60}})]),
    "autoscaling.scaleUp.stabilizationWindowSeconds": one(15, HPA, "spec behavior scaleUp stabilizationWindowSeconds"),
    "autoscaling.scaleUp.percent": one(50, HPA, "spec behavior scaleUp policies [type=Percent] value"),
    "autoscaling.scaleUp.pods": one(9, HPA, "spec behavior scaleUp policies [type=Pods] value"),
    "autoscaling.scaleUp.periodSeconds": Case(45, [(HPA, f"spec behavior scaleUp policies [type={kind}] periodSeconds", 45) for kind in ("Percent", "Pods")]),
    "autoscaling.scaleUp.tolerance": one(0.05, HPA, "spec behavior scaleUp tolerance", kubernetes="1.35.0"),
    "autoscaling.scaleDown.stabilizationWindowSeconds": one(20, HPA, "spec behavior scaleDown stabilizationWindowSeconds"),
    "autoscaling.scaleDown.pods": one(2, HPA, "spec behavior scaleDown policies [type=Pods] value"),
    "autoscaling.scaleDown.periodSeconds": one(15, HPA, "spec behavior scaleDown policies [type=Pods] periodSeconds"),
    "autoscaling.scaleDown.tolerance": one(0.2, HPA, "spec behavior scaleDown tolerance", kubernetes="1.35.0"),
    "autoscaling.keda.trigger": one("prometheus", SO, "spec triggers [name=connections] type", among={"autoscaling": {"provider": "keda", "keda": {"prometheusAddress": "http://p:9090"}}}),
    "autoscaling.keda.pollingInterval": one(5, SO, "spec pollingInterval", among=KEDA),
    "autoscaling.keda.prometheusAddress": one("http://q:9090", SO, "spec triggers [name=connections] metadata serverAddress", among=PROMETHEUS),
    "autoscaling.keda.prometheusQuery": one("sum(x)", SO, "spec triggers [name=connections] metadata query", among=PROMETHEUS),
    "autoscaling.keda.failureThreshold": one(6, SO, "spec fallback failureThreshold", among=KEDA),
    "metricsAdapter.replicas": Case(1, [(A, "spec replicas", 1), ("PodDisruptionBudget/ws-websocket-service-metrics-adapter", "", ABSENT)]),
    "metricsAdapter.podDeletionCost": Case(False, [
        (A, f"{ADAPTER} args", lambda got: not any(arg.startswith(("--target", "--min-replicas")) for arg in got)),
        ("Role/ws-websocket-service-metrics-adapter", "rules [0] verbs", ["get", "list", "watch"]),
    ]),
    "metricsAdapter.tls.mode": Case("cert-manager", [
        ("Certificate/ws-websocket-service-metrics-adapter", "spec dnsNames", ["ws-websocket-service-metrics-adapter.demo.svc"]),
        ("APIService/v1beta1.custom.metrics.k8s.io", "metadata annotations cert-manager.io/inject-ca-from", "demo/ws-websocket-service-metrics-adapter"),
        ("Secret/ws-websocket-service-metrics-adapter-tls", "", ABSENT),
        ("ClusterRole/demo-ws-websocket-service-metrics-adapter", "", ABSENT),
        (A, f"{POD} volumes [name=tls] secret secretName", "ws-websocket-service-metrics-adapter-tls"),
    ]),
    "metricsAdapter.tls.existingSecret": one("other", A, f"{POD} volumes [name=tls] secret secretName", among=TLS_SECRET),
    "metricsAdapter.tls.caBundle": Case("T1RIRVI=", [(f"APIService/{v}.custom.metrics.k8s.io", "spec caBundle", "T1RIRVI=") for v in ("v1beta1", "v1beta2")], among=TLS_SECRET),
    "metricsAdapter.tls.issuerRef": Case({"name": "corp", "kind": "ClusterIssuer"}, [
        ("Certificate/ws-websocket-service-metrics-adapter", "spec issuerRef", {"name": "corp", "kind": "ClusterIssuer"}),
        ("Issuer/ws-websocket-service-metrics-adapter-ca", "", ABSENT),
    ], among={"metricsAdapter": {"tls": {"mode": "cert-manager"}}}),
    "metricsAdapter.resources": one(RESOURCES, A, f"{ADAPTER} resources requests cpu", "3"),
    "metricsAdapter.nodeSelector": one(SELECTOR, A, f"{POD} nodeSelector"),
    "metricsAdapter.tolerations": one(TOLERATIONS, A, f"{POD} tolerations"),
    "metricsAdapter.affinity": one(AFFINITY, A, f"{POD} affinity"),
    "metricsAdapter.priorityClassName": one("high", A, f"{POD} priorityClassName"),
    "metricsAdapter.podAnnotations": one({"a": "b"}, A, "spec template metadata annotations a", "b"),
    "metricsAdapter.serviceAccount.create": Case(False, [("ServiceAccount/ws-websocket-service-metrics-adapter", "", ABSENT), (A, f"{POD} serviceAccountName", "default")]),
    "metricsAdapter.serviceAccount.name": Case("mine", [
        ("ServiceAccount/mine", "metadata name", "mine"),
        (A, f"{POD} serviceAccountName", "mine"),
        ("RoleBinding/ws-websocket-service-metrics-adapter", "subjects [0] name", "mine"),
        ("RoleBinding/demo-ws-websocket-service-metrics-adapter", "subjects [0] name", "mine"),
        ("ClusterRoleBinding/demo-ws-websocket-service-metrics-adapter", "subjects [0] name", "mine"),
    ]),
    "metricsAdapter.serviceAccount.annotations": one({"a": "b"}, "ServiceAccount/ws-websocket-service-metrics-adapter", "metadata annotations"),
    "tracing.endpoint": Case("http://collector:4318", [(D, env("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://collector:4318")]),
    "tracing.protocol": Case("grpc", [(D, env("OTEL_EXPORTER_OTLP_PROTOCOL"), "grpc")], TRACED),
    "tracing.sampleRatio": Case(0.5, [(D, env("OTEL_TRACES_SAMPLER_ARG"), "0.5")], TRACED),
    "gauge.resources": one(RESOURCES, D, f"{GAUGE} resources limits memory", "3Gi"),
    "resources": one(RESOURCES, D, f"{MAIN} resources limits memory", "3Gi"),
    "extraEnv": one([{"name": "RUST_BACKTRACE", "value": "1"}], D, env("RUST_BACKTRACE"), "1"),
    "extraVolumes": one([{"name": "ca", "configMap": {"name": "ca"}}], D, f"{POD} volumes [name=ca] configMap name", "ca"),
    "extraVolumeMounts": one([{"name": "ca", "mountPath": "/ca"}], D, f"{MAIN} volumeMounts [name=ca] mountPath", "/ca"),
    "podAnnotations": one({"a": "b"}, D, "spec template metadata annotations a", "b"),
    "podLabels": one({"a": "b"}, D, "spec template metadata labels a", "b"),
    "nodeSelector": one(SELECTOR, D, f"{POD} nodeSelector"),
    "tolerations": one(TOLERATIONS, D, f"{POD} tolerations"),
    "affinity": one(AFFINITY, D, f"{POD} affinity"),
    "topologySpreadConstraints": Case([{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}], [
        (D, f"{POD} topologySpreadConstraints", lambda got: [c["topologyKey"] for c in got] == ["rack"]),
        (D, f"{POD} topologySpreadConstraints [topologyKey=rack] labelSelector matchLabels app.kubernetes.io/component", "server"),
    ]),
    "priorityClassName": Case("high", [(D, f"{POD} priorityClassName", "high"), (R, f"{POD} priorityClassName", "high")]),
    "serviceAccount.create": Case(False, [("ServiceAccount/ws-websocket-service", "", ABSENT), (D, f"{POD} serviceAccountName", "default")]),
    "serviceAccount.name": Case("mine", [("ServiceAccount/mine", "metadata name", "mine"), (D, f"{POD} serviceAccountName", "mine"), (R, f"{POD} serviceAccountName", "mine")]),
    "serviceAccount.annotations": one({"a": "b"}, "ServiceAccount/ws-websocket-service", "metadata annotations"),
    "podDisruptionBudget.enabled": one(False, "PodDisruptionBudget/ws-websocket-service", "", ABSENT),
    "podDisruptionBudget.maxUnavailable": one("30%", "PodDisruptionBudget/ws-websocket-service", "spec maxUnavailable"),
    "podDisruptionBudget.minAvailable": Case(1, [("PodDisruptionBudget/ws-websocket-service", "spec minAvailable", 1), ("PodDisruptionBudget/ws-websocket-service", "spec maxUnavailable", ABSENT)]),
    "service.type": one("LoadBalancer", SVC, "spec type"),
    "service.port": one(80, SVC, "spec ports [name=public] port"),
    "service.nodePort": one(30804, SVC, "spec ports [name=public] nodePort", among=NODE_PORT),
    "service.annotations": one({"a": "b"}, SVC, "metadata annotations"),
    "service.tlsSecret": Case("certificate", [
        (D, f"{POD} volumes [name=tls] secret secretName", "certificate"),
        (D, f"{MAIN} volumeMounts [name=tls] mountPath", "/etc/websocket-service/tls"),
        (D, env("WEBSOCKET_SERVICE_TLS_CERTIFICATE_FILE"), "/etc/websocket-service/tls/tls.crt"),
        (D, env("WEBSOCKET_SERVICE_TLS_KEY_FILE"), "/etc/websocket-service/tls/tls.key"),
        (SVC, "spec ports [name=public] appProtocol", "kubernetes.io/wss"),
        ("Pod/ws-websocket-service-test-health", "", ABSENT),
    ]),
    "service.externalTrafficPolicy": one("Local", SVC, "spec externalTrafficPolicy", among=NODE_PORT),
    "service.loadBalancerClass": one("l/b", SVC, "spec loadBalancerClass", among=BALANCER),
    "service.loadBalancerSourceRanges": one(["192.0.2.0/24"], SVC, "spec loadBalancerSourceRanges", among=BALANCER),
    "service.ipFamilies": Case(["IPv6"], [
        *((f"{SVC}{suffix}", "spec ipFamilies", ["IPv6"]) for suffix in ("", "-headless", "-redis", "-metrics-adapter")),
        (D, env("WEBSOCKET_SERVICE_HOST"), "::"),
    ]),
    "service.ipFamilyPolicy": Case("PreferDualStack", [(SVC, "spec ipFamilyPolicy", "PreferDualStack"), (D, f"{GAUGE} env [name=CONNECTION_GAUGE_HOST] value", "::")]),
    "ingress.enabled": one(True, "Ingress/ws-websocket-service", "spec rules [host=ws.example.com] http paths [0] path", "/ws", among=HOST),
    "ingress.className": one("nginx", "Ingress/ws-websocket-service", "spec ingressClassName", among=INGRESS),
    "ingress.annotations": one({"a": "b"}, "Ingress/ws-websocket-service", "metadata annotations", among=INGRESS),
    "ingress.hosts": one([{"host": "a.b", "paths": [{"path": "/x"}]}], "Ingress/ws-websocket-service", "spec rules [host=a.b] http paths [0] path", "/x", among=INGRESS),
    "ingress.tls": one([{"secretName": "t", "hosts": ["ws.example.com"]}], "Ingress/ws-websocket-service", "spec tls", among=INGRESS),
    "httpRoute.enabled": one(True, "HTTPRoute/ws-websocket-service", "spec rules [0] backendRefs [0]", {"name": "ws-websocket-service", "port": 8004}, among=GATEWAY),
    "httpRoute.annotations": one({"a": "b"}, "HTTPRoute/ws-websocket-service", "metadata annotations", among=ROUTE),
    "httpRoute.parentRefs": one([{"name": "private"}], "HTTPRoute/ws-websocket-service", "spec parentRefs", among=ROUTE),
    "httpRoute.hostnames": one(["ws.example.com"], "HTTPRoute/ws-websocket-service", "spec hostnames", among=ROUTE),
    "httpRoute.path": one("/socket", "HTTPRoute/ws-websocket-service", "spec rules [0] matches [0] path value", among=ROUTE),
    "httpRoute.timeouts": one({"request": "0s"}, "HTTPRoute/ws-websocket-service", "spec rules [0] timeouts", among=ROUTE),
    "networkPolicy.enabled": Case(False, [(NP, "", ABSENT), (f"{NP}-redis", "", ABSENT), (f"{NP}-metrics-adapter", "", ABSENT)]),
    "networkPolicy.public": one(PEERS, NP, "spec ingress [0] from [0]", PEERS[0]),
    "networkPolicy.monitoring": Case(PEERS, [(NP, "spec ingress [1] from", PEERS), (f"{NP}-metrics-adapter", "spec ingress [1] from", PEERS)]),
    "networkPolicy.keda": one(PEERS, NP, "spec ingress [2] from", among=KEDA),
    "networkPolicy.redisClients": one(PEERS, f"{NP}-redis", "spec ingress [0] from", lambda got: got[-1] == PEERS[0]),
    "networkPolicy.egress.enabled": Case(True, [
        (NP, "spec policyTypes", ["Ingress", "Egress"]),
        (NP, "spec egress [1] ports [0] port", 6379),
        (f"{NP}-redis", "spec policyTypes", ["Ingress", "Egress"]),
        (f"{NP}-redis", "spec egress", ABSENT),
    ]),
    "networkPolicy.egress.rules": one([{"ports": [{"port": 6380}]}], NP, "spec egress", lambda got: got[-1] == {"ports": [{"port": 6380}]}, among=EGRESS),
    "monitoring.serviceMonitor.enabled": Case(True, [
        ("ServiceMonitor/ws-websocket-service", "spec endpoints", lambda got: [e["port"] for e in got] == ["admin", "gauge"]),
        ("ServiceMonitor/ws-websocket-service-metrics-adapter", "spec endpoints", lambda got: [e["port"] for e in got] == ["health"]),
    ]),
    "monitoring.podMonitor.enabled": Case(True, [
        ("PodMonitor/ws-websocket-service", "spec podMetricsEndpoints", lambda got: [e["port"] for e in got] == ["admin", "gauge"]),
        ("PodMonitor/ws-websocket-service-metrics-adapter", "spec podMetricsEndpoints", lambda got: [e["port"] for e in got] == ["health"]),
    ]),
    "monitoring.interval": one("5s", "ServiceMonitor/ws-websocket-service", "spec endpoints [0] interval", among=MONITORED),
    "monitoring.labels": Case({"release": "prom"}, [(f"{kind}/ws-websocket-service", "metadata labels release", "prom") for kind in ("ServiceMonitor", "PrometheusRule")], among=MONITORED),
    "monitoring.prometheusRule.enabled": one(True, "PrometheusRule/ws-websocket-service", "spec groups", lambda got: sum(len(group["rules"]) for group in got) > 20),
    "monitoring.prometheusRule.alertLabels": one(LABELS, "PrometheusRule/ws-websocket-service", "spec groups [0] rules [0] labels team", "messaging", among=MONITORED),
    "monitoring.prometheusRule.runbookUrl": one("https://wiki.example/runbook", "PrometheusRule/ws-websocket-service", "spec groups [0] rules [0] annotations runbook_url", "https://wiki.example/runbook#websocketserviceabsent", among=MONITORED),
    "monitoring.dashboard.enabled": one(True, "ConfigMap/ws-websocket-service-dashboard", "data ws-websocket-service.json", lambda got: json.loads(got)["panels"]),
    "monitoring.dashboard.labels": one({"a": "b"}, "ConfigMap/ws-websocket-service-dashboard", "metadata labels a", "b", among={"monitoring": {"dashboard": {"enabled": True}}}),
    "monitoring.dashboard.annotations": one({"a": "b"}, "ConfigMap/ws-websocket-service-dashboard", "metadata annotations", among={"monitoring": {"dashboard": {"enabled": True}}}),
    "tests.enabled": Case(False, [("Pod/ws-websocket-service-test-health", "", ABSENT), ("Pod/ws-websocket-service-test-delivery", "", ABSENT)]),
    "tests.resources": one(RESOURCES, "Pod/ws-websocket-service-test-health", "spec containers [0] resources requests cpu", "3"),
    "extraObjects": Case(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}}, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"],
        [("ConfigMap/ws-a", "metadata name", "ws-a"), ("ConfigMap/b", "metadata name", "b")],
    ),
}

DOCUMENTED = [row.path for section in parse(VALUES.read_text()) for row in section.rows if row.default is not None]
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_every_documented_value_has_a_case() -> None:
    assert sorted(DOCUMENTED) == sorted(CASES)


@pytest.mark.parametrize("path", DOCUMENTED)
def test_a_value_does_what_its_comment_says(path: str) -> None:
    case = CASES[path]
    before = render(case.among, kubernetes=case.kubernetes)
    after = render(merge(case.among, nested(path, case.given)), kubernetes=case.kubernetes)
    for name, where, expected in case.places:
        then, now = before.get(name, where), after.get(name, where)
        if callable(expected):
            assert now is not ABSENT and expected(now), f"{name} {where}: {now}"
            assert then is ABSENT or not expected(then), f"{name} {where} was so before"
        else:
            assert now == expected, f"{name} {where}"
            # One place may say what must not come along (`ABSENT`), true before too.
            assert then != expected or expected is ABSENT, f"{name} {where} was so before"
    assert any(before.get(name, where) != after.get(name, where) for name, where, _ in case.places)


def leaves(schema: dict, path: str = "") -> list[str]:
    if "properties" not in schema:
        return [path]
    return [leaf for key, below in schema["properties"].items() for leaf in leaves(below, f"{path}.{key}".strip("."))]


def test_the_schema_and_the_comments_name_the_same_values() -> None:
    # Free maps of Helm's own, the settings (a test of their own), and objects that are one value here.
    names = {leaf for leaf in leaves(SCHEMA) if not leaf.startswith(("global", "settings."))}
    names = {"metricsAdapter.tls.issuerRef" if n.startswith("metricsAdapter.tls.issuerRef.") else n for n in names}
    names = {"httpRoute.timeouts" if n.startswith("httpRoute.timeouts.") else n for n in names}
    assert sorted(names) == sorted(n for n in DOCUMENTED if not n.startswith("settings."))


# Settings of the service that follow from other values.
OWNED = [
    "port", "admin_port", "max_connections", "tls_certificate", "tls_key", "redis_url", "redis_sentinels", "redis_sentinel_master",
    "redis_sentinel_user", "redis_sentinel_password", "redis_cluster_nodes", "redis_cluster_pubsub", "redis_tls_ca", "redis_tls_certificate", "redis_tls_key", "jwt_secret_key", "jwt_public_key", "jwt_previous_secret_key",
    "jwt_previous_public_key", "jwt_keys_dir", "api_key", "drain_lame_duck_seconds", "drain_spread_seconds",
    "drain_linger_seconds", "drain_close_code",
]
SETTINGS = list(SCHEMA["properties"]["settings"]["properties"])
EXAMPLES = {
    "environment": "testing", "allowed_origins": ["https://a.example"], "jwt_algorithm": "HS512", "log_level": "DEBUG",
    "log_format": "text", "host": "192.0.2.1", "websocket_channel_prefix": "n:", "jwt_issuer": "i", "jwt_audience": "a",
    "jwt_jwks_url": "https://login.example.com/jwks.json",
}
# What a setting needs beside it.
BESIDE = {"jwt_jwks_url": {"jwt_algorithm": "RS256"}}


def test_the_schema_names_every_setting_of_the_service() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    rows = [line.split("<br>")[1].strip("`") for line in page.splitlines() if line.startswith("| `WEBSOCKET_SERVICE_")]
    assert sorted(rows) == sorted(SETTINGS)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - set(OWNED)))
def test_a_setting_reaches_the_service(name: str) -> None:
    given = EXAMPLES.get(name, 1048576)
    text = json.dumps(given, separators=(",", ":")) if isinstance(given, list) else str(given)
    assert render({"settings": {name: given, **BESIDE.get(name, {})}}).get(D, env(f"WEBSOCKET_SERVICE_{name.upper()}")) == text


def test_an_issuer_s_key_set_takes_the_place_of_a_key() -> None:
    rendered = render({"settings": {"jwt_jwks_url": EXAMPLES["jwt_jwks_url"], "jwt_algorithm": "RS256"}})
    assert rendered.get("Secret/ws-websocket-service-jwt", "") is ABSENT
    assert rendered.get(D, f"{POD} volumes [name=jwt]") is ABSENT
    for kind in ("PUBLIC", "SECRET"):
        assert rendered.get(D, env(f"WEBSOCKET_SERVICE_JWT_{kind}_KEY_FILE")) is ABSENT


@pytest.mark.parametrize("name", ["log_level", "log_format"])
def test_log_settings_reach_the_sidecar_and_the_adapter_too(name: str) -> None:
    rendered = render({"settings": {name: EXAMPLES[name]}})
    assert rendered.get(D, f"{GAUGE} env [name=WEBSOCKET_SERVICE_{name.upper()}] value") == EXAMPLES[name]
    assert f"--{name.replace('_', '-')}={EXAMPLES[name]}" in rendered.get(A, f"{ADAPTER} args")
