"""Who reaches what: the NetworkPolicies hold."""

import pytest
from kube import Namespace, run, until
from load import pod


def reaches(namespace, address, port):
    """Whether a TCP connection from the pod `prober` succeeds. redis-cli says which it was."""
    done = namespace.kubectl("exec", "prober", "--", "timeout", "3", "redis-cli", "-h", address, "-p", str(port), "PING",
                             check=False, timeout=30)
    said = done.stdout + done.stderr
    return done.returncode != 124 and "Could not connect" not in said


@pytest.fixture(scope="module")
def prober(release):
    """Starts a pod with redis-cli in it, in the namespace of one's choice."""
    image = release.namespace.get("pod", "back-end")["spec"]["containers"][0]["image"]
    made = []

    def start(namespace, labels=None):
        namespace.apply(pod("prober", image, ["redis-server", "--port", "6399", "--save", ""], user=999, labels=labels))
        namespace.kubectl("wait", "pod/prober", "--for=condition=Ready", "--timeout=60s")
        made.append(namespace)
        return namespace

    yield start
    for namespace in made:
        namespace.kubectl("delete", "pod", "prober", "--wait=true", "--ignore-not-found")


def test_a_stranger_reaches_clients_port_only(release, prober):
    address = release.pods()[0]["status"]["podIP"]
    redis = release.pods(release.redis_selector)[0]["status"]["podIP"]
    namespace = prober(release.namespace)
    until("the policies hold for the new pod", lambda: not reaches(namespace, address, 9004), 30)
    assert reaches(namespace, address, 8004)
    assert not reaches(namespace, address, 9005)
    assert not reaches(namespace, redis, 6379)


def test_monitoring_reaches_metrics(release, prober):
    monitoring = Namespace("monitoring")
    existed = run("kubectl", "get", "namespace", "monitoring", "--ignore-not-found")
    if not existed:
        monitoring.create()
    try:
        namespace = prober(monitoring)
        address = release.pods()[0]["status"]["podIP"]
        adapter = release.pods(release.adapter_selector)[0]["status"]["podIP"]
        redis = release.pods(release.redis_selector)[0]["status"]["podIP"]
        for target, port in ((address, 9004), (address, 9005), (adapter, 9006)):
            until(f"port {port} answers", lambda: reaches(namespace, target, port), 30)
        assert not reaches(namespace, redis, 6379)
    finally:
        if not existed:
            monitoring.delete()
