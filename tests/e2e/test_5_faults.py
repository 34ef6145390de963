"""What breaks heals, and nothing that is away takes pods away."""

from kube import until


# Clients learn of a pod that is gone without a word by its silence.
HEARTBEAT = 5


def test_a_pod_that_is_gone_at_once(release, load):
    release.upgrade("--set", "capacity.connectionsPerPod=1000", "--set", "capacity.targetPercent=70",
                    "--set", "drain.lameDuckSeconds=3", "--set", "drain.spreadSeconds=5", "--set", "drain.lingerSeconds=2",
                    "--set", f"settings.websocket_heartbeat_interval={HEARTBEAT}")
    replicas = release.replicas()
    clients = load("survivor", users=200, silence=3 * HEARTBEAT)
    clients.opened(200)
    victim = max(release.connections().items(), key=lambda item: item[1])[0]
    release.namespace.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
    until("those who were there notice", lambda: clients.last["closes"], 30)
    release.settled()
    until("all are back", lambda: clients.last["open"] == 200 and release.fleet() == 200, 60)
    assert release.replicas() >= replicas
    clients.stop()


def test_redis_goes_and_comes_back(release, load):
    replicas = release.replicas()
    clients = load("deaf", users=50)
    clients.opened(50)
    release.namespace.kubectl("delete", "pod", "-l", release.redis_selector, "--wait=true")
    # The adapter asks the pods themselves meanwhile.
    assert until("the metric is served without Redis", lambda: release.fleet() == 50, 20)
    until("a message arrives again", lambda: release.publish("deaf-0", '"again"') == 1, 90)
    until("and is delivered", lambda: clients.last["messages"] >= 1, 10)
    assert clients.last["closes"] == {}, "no connection ends for it"
    assert release.replicas() >= replicas
    clients.stop()


def test_the_adapter_goes_and_comes_back(release, load):
    replicas = release.replicas()
    clients = load("counted-still", users=20)
    clients.opened(20)
    release.namespace.kubectl("delete", "pod", "-l", release.adapter_selector, "--wait=true")
    until("the metric is served again", lambda: release.fleet() == 20, 90)
    assert release.replicas() >= replicas
    clients.stop()


def test_the_adapters_certificate_is_made_anew(release):
    name = f"{release.fullname}-metrics-adapter-tls"
    before = release.secret(name)["tls.crt"]
    # Emptied, as to have another one at once; the Secret itself is Helm's.
    release.namespace.kubectl("patch", "secret", name, "--type=json", "-p", '[{"op":"remove","path":"/data"}]')
    after = until("a new certificate", lambda: release.secret(name).get("tls.crt"), 60)
    assert after != before
    until("and the API server trusts it", lambda: release.fleet() is not None, 60)
