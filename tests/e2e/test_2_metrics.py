"""The numbers that the HPA reads are the sockets that are open, and nobody but the API server can ask for them."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from kube import forwarded, raw, run, until


def test_both_metrics_equal_the_open_sockets(release, load):
    clients = load("counted", users=37, connections=2)
    clients.opened(74)
    until("the fleet's metric says 74", lambda: release.fleet() == 74, 10)
    open_now = release.connections()
    assert sum(open_now.values()) == 74
    for version in ("v1beta1", "v1beta2"):
        answer = release.metric(version, "pods/*/websocket_active_connections?labelSelector="
                                + release.selector.replace("=", "%3D").replace(",", "%2C"))
        by_pod = {one["describedObject"]["name"]: int(one["value"]) for one in answer["items"]}
        assert by_pod == open_now
    clients.stop()
    until("the fleet's metric says 0", lambda: release.fleet() == 0, 10)


def in_a_pod(release, *arguments):
    """What `websocket-service …` prints in one of the pods, which knows its fleet and reaches the others."""
    said = release.namespace.kubectl("exec", f"deployment/{release.fullname}", "-c", "websocket-service", "--",
                                     "websocket-service", *arguments, "--json", timeout=30)
    return json.loads(said)


def test_an_operator_sees_the_fleet_and_finds_a_user(release, load):
    clients = load("watched", users=20, connections=2)
    clients.opened(40)
    view = until("top counts them", lambda: (view := in_a_pod(release, "top", "--once"))["total"]["connections"] == 40
                 and view, 20)
    assert sorted(pod["pod"] for pod in view["pods"]) == release.live()
    assert {pod["state"] for pod in view["pods"]} == {"ready"}
    found = in_a_pod(release, "connections", "watched-7")
    assert (len(found["connections"]), found["pods"], found["unanswered"]) == (2, len(release.live()), [])
    clients.stop()


def test_discovery_lists_both_metrics(release):
    for version in ("v1beta1", "v1beta2"):
        names = {one["name"] for one in raw(f"/apis/custom.metrics.k8s.io/{version}")["resources"]}
        assert names == {"pods/websocket_active_connections", "deployments.apps/websocket_fleet_connections"}


def test_the_hpa_reads_it(release):
    def scaling_active():
        conditions = release.namespace.get("hpa", release.fullname)["status"]["conditions"]
        return any(one["type"] == "ScalingActive" and one["status"] == "True" for one in conditions)
    until("the HPA has its metric", scaling_active, 60)


def front_proxy_ca():
    """Certificate and key of the cluster's front-proxy CA, which only whoever made the cluster has."""
    given = os.environ.get("E2E_FRONT_PROXY_CA")
    if not given:
        pytest.skip("E2E_FRONT_PROXY_CA is not set to the front-proxy CA's files, less .key and .crt: with them, a "
                    "certificate of the right CA with a wrong name is tried too (the adapter's own tests do so in any case)")
    return Path(given + ".key"), Path(given + ".crt")


def certificate(folder, name, ca=None):
    """A key and a client's certificate with that common name, signed by `ca` or by itself."""
    key, cert, request, extensions = (folder / f"{name}.{ending}" for ending in ("key", "crt", "csr", "ext"))
    extensions.write_text("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n")
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    signer = ["-CA", ca[1], "-CAkey", ca[0]] if ca else ["-signkey", key]
    run("openssl", "x509", "-req", "-in", request, "-days", "1", "-set_serial", "1", "-extfile", extensions, *signer,
        "-out", cert)
    return key, cert


@pytest.fixture
def adapter(release, tmp_path):
    """Asks the adapter itself with forged headers, past the API server: the HTTP status and the answer."""
    service = raw("/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io")["spec"]
    assert service.get("insecureSkipTLSVerify", False) is False
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(base64.b64decode(service["caBundle"]))
    name = service["service"]["name"]
    host = f"{name}.{release.namespace.name}.svc"
    with forwarded(release.namespace, f"service/{name}", 443) as port:

        def ask(*arguments):
            done = subprocess.run(
                ["curl", "--silent", "--show-error", "--cacert", trusted, "--resolve", f"{host}:{port}:127.0.0.1",
                 "--output", "/dev/stderr", "--write-out", "%{http_code}", "-H", "X-Remote-User: system:admin",
                 "-H", "X-Remote-Group: system:masters", *arguments,
                 f"https://{host}:{port}/apis/custom.metrics.k8s.io/v1beta2"], capture_output=True, text=True, timeout=30)
            return done.stdout, done.stderr

        yield ask


def test_forged_front_proxy_headers_are_refused(adapter, tmp_path):
    code, said = adapter()
    assert code == "401" and json.loads(said)["kind"] == "Status", said
    # A token is not looked at.
    code, said = adapter("-H", "Authorization: Bearer " + run("kubectl", "create", "token", "default").strip())
    assert code == "401", said
    # A certificate of somebody else's CA, that says the right name: no handshake.
    key, cert = certificate(tmp_path, "front-proxy-client")
    code, said = adapter("--key", key, "--cert", cert)
    assert code in ("401", "000"), said


def test_another_name_of_the_right_ca_is_refused(adapter, tmp_path):
    ca = front_proxy_ca()
    key, cert = certificate(tmp_path, "somebody-else", ca)
    code, said = adapter("--key", key, "--cert", cert)
    assert code == "401" and json.loads(said)["kind"] == "Status", said
    # So that this test can tell: the right name is believed.
    key, cert = certificate(tmp_path, "front-proxy-client", ca)
    code, said = adapter("--key", key, "--cert", cert)
    assert code == "200", said
