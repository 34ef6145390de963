"""One release, installed once as the README says, and what the tests ask of it."""

import base64
import json
import os
import subprocess
import time

import pytest
from kube import CHART, Namespace, PodWatch, forwarded, ask, needs, raw, ready, until
from load import Delivery, Load, pod

NAME = "ws"
FULLNAME = "ws-websocket-service"


class Release:
    """The release under test."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.fullname = FULLNAME
        self.selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=server"
        self.adapter_selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=metrics-adapter"
        self.redis_selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=redis"
        self.url = f"ws://{FULLNAME}.{namespace.name}.svc:8004/ws"
        self.jwt_key = "jwt-secret-key"

    def install(self, *arguments):
        self.namespace.helm("install", NAME, CHART, "--wait", "--timeout", "5m", *arguments)

    def upgrade(self, *arguments):
        """Changes values and waits until the rollout is through, the old pods gone."""
        self.namespace.helm("upgrade", NAME, CHART, "--reuse-values", "--wait", "--timeout", "5m", *arguments)
        self.settled()

    def settled(self, seconds=240):
        """Waits until no pod is on its way in or out, nor about to be: helm returns while an old one is still whole."""
        self.namespace.kubectl("rollout", "status", f"deployment/{self.fullname}", f"--timeout={seconds}s",
                               timeout=seconds + 10)
        until("the pods are settled", lambda: all(
            ready(one) and "deletionTimestamp" not in one["metadata"] for one in self.pods()), seconds)

    def pods(self, selector=None):
        return self.namespace.items("pods", "-l", selector or self.selector)

    def live(self):
        """Names of the pods that are there to stay."""
        return sorted(one["metadata"]["name"] for one in self.pods()
                      if "deletionTimestamp" not in one["metadata"])

    @property
    def image(self):
        containers = self.namespace.get("deployment", self.fullname)["spec"]["template"]["spec"]["containers"]
        return next(one["image"] for one in containers if one["name"] == "websocket-service")

    def _volume_secret(self, ending):
        spec = self.namespace.get("deployment", self.fullname)["spec"]["template"]["spec"]
        for volume in spec["volumes"]:
            name = volume.get("secret", {}).get("secretName", "")
            if volume["name"] == ending:
                return name
        raise AssertionError(f"no volume {ending}")

    @property
    def jwt_secret(self):
        return self._volume_secret("jwt")

    @property
    def redis_secret(self):
        return self._volume_secret("redis")

    def secret(self, name):
        data = self.namespace.get("secret", name).get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def status(self, pod_name):
        """The pod's own `/status`, or an error once it is gone."""
        with forwarded(self.namespace, f"pod/{pod_name}", 9004) as port:
            code, body = ask(port, "/status")
        assert code == 200, body
        return json.loads(body)

    def connections(self):
        """Open sockets by pod, from the pods themselves."""
        return {name: self.status(name)["connections"] for name in self.live()}

    def replicas(self):
        return self.namespace.get("deployment", self.fullname)["spec"]["replicas"]

    def metric(self, version, what):
        """One of the two metrics as the HPA reads it, through the API server."""
        return raw(f"/apis/custom.metrics.k8s.io/{version}/namespaces/{self.namespace.name}/{what}")

    def fleet(self):
        """The fleet's metric, as a number."""
        answer = self.metric("v1beta2", f"deployments.apps/{self.fullname}/websocket_fleet_connections")
        return int(answer["items"][0]["value"])

    def publish(self, user, text):
        """PUBLISH from a pod of its own, as a back end would; the number of pods that had the user."""
        url = self.secret(self.redis_secret)["redis-url"]
        return int(self.namespace.kubectl("exec", "back-end", "--", "redis-cli", "--no-auth-warning", "-u", url,
                                          "PUBLISH", f"ws:{user}", text))


@pytest.fixture(scope="session")
def namespace():
    needs("kubectl", "helm", "curl", "openssl")
    assert os.environ.get("KUBECONFIG"), "set KUBECONFIG to a cluster that may be used for tests; see CONTRIBUTING.md"
    made = Namespace(os.environ.get("E2E_NAMESPACE", "websocket-e2e"))
    # What an earlier run left. The release first: its APIServices would keep the namespace.
    made.helm("uninstall", NAME, "--ignore-not-found", "--wait")
    made.delete()
    made.create()
    yield made


@pytest.fixture(scope="session")
def release(namespace):
    """Installed with defaults; later tests change values by upgrades, and the last one uninstalls."""
    made = Release(namespace)
    started = time.monotonic()
    made.install()
    print(f"helm install --wait: {time.monotonic() - started:.0f} s")
    made.settled()
    redis = namespace.items("deployments,statefulsets", "-l", made.redis_selector)[0]
    image = redis["spec"]["template"]["spec"]["containers"][0]["image"]
    namespace.apply(pod("back-end", image, ["redis-server", "--port", "6399", "--save", ""], user=999,
                        labels={f"{FULLNAME}-redis-client": "true"}))
    namespace.kubectl("wait", "pod/back-end", "--for=condition=Ready", "--timeout=60s")
    return made


def starter(release, kind):
    """Starts pods of a kind and sees to it that none is left."""
    started = []

    def start(name, **options):
        one = kind(release, name, **options)
        started.append(one)
        return one

    yield start
    for one in started:
        release.namespace.kubectl("delete", "pod", one.name, "--ignore-not-found", "--wait=true", timeout=70)


@pytest.fixture
def load(release):
    yield from starter(release, Load)


@pytest.fixture
def delivery(release):
    yield from starter(release, Delivery)


@pytest.fixture
def watch(release):
    with PodWatch(release.namespace, release.selector) as watching:
        yield watching


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """After a failure, shows what an operator would look at first."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "release" in getattr(item, "funcargs", {}):
        namespace = item.funcargs["release"].namespace.name
        for command in (["get", "pods,hpa", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"],
                        ["logs", "-l", "app.kubernetes.io/component=metrics-adapter", "--tail=30", "--prefix"],
                        ["logs", "-l", "app.kubernetes.io/component=server", "--tail=10", "--prefix", "--all-containers"]):
            done = subprocess.run(["kubectl", "-n", namespace, *command], capture_output=True, text=True, timeout=30)
            report.sections.append((f"kubectl {' '.join(command)}", "\n".join(done.stdout.splitlines()[-40:])))
