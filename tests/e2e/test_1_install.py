"""`helm install` with nothing else gives a working system, and an upgrade keeps it."""

import re
import subprocess

from kube import CHART, run, until


def test_a_message_arrives_from_another_pod(release, load):
    clients = load("reader", users=2)
    clients.opened(2)
    assert release.publish("reader-0", '{"n":1}') == 1
    until("the message arrives", lambda: clients.last["messages"] == 1, 10)
    final = clients.stop()
    assert final["connect_errors"] in (0, {}) and final["refused"] == {}


def test_the_commands_of_the_notes_deliver_a_first_message(release):
    notes = release.namespace.helm("get", "notes", "ws")
    _, _, mint = notes.partition("Mint a token")
    lines = [line for line in mint.partition("\n(")[0].splitlines() if line.startswith("  ")]
    # As pasted into a shell of its own, whose background jobs end with it.
    script = "\n".join(["set -eu", "trap 'kill $(jobs -p)' EXIT", *lines, "sleep 1"])
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{script}\n{said}{done.stderr.decode(errors='replace')}"
    assert '"subscribers":1' in said, said
    # In what curl shows, behind the frame's first bytes.
    assert '{"type":"notification","event_type":"hello","data":{}}' in said, said


def test_helm_test_passes(release):
    said = release.namespace.helm("test", "ws", "--timeout", "2m")
    assert re.search(r"Phase:\s+Succeeded", said) and "Failed" not in said, said


def test_nothing_of_it_needs_more_than_restricted_allows(release):
    # A dry run of labelling tells which running pods would violate the level.
    said = subprocess.run(
        ["kubectl", "label", "--dry-run=server", "--overwrite", "namespace", release.namespace.name,
         "pod-security.kubernetes.io/enforce=restricted"], capture_output=True, text=True, timeout=30)
    assert said.returncode == 0 and "Warning" not in said.stderr, said.stderr


def test_a_second_release_is_refused_instead_of_taking_the_metrics_api(release):
    said = release.namespace.helm("install", "other", CHART, "--dry-run=server", check=False)
    assert said.returncode != 0
    assert f"belongs to the release ws in the namespace {release.namespace.name}" in said.stderr, said.stderr
    assert "set autoscaling.provider to keda, prometheus-adapter or resource" in said.stderr
    # As it says.
    release.namespace.helm("install", "other", CHART, "--dry-run=server", "--set", "autoscaling.provider=resource")


def test_an_upgrade_keeps_the_secrets(release):
    names = {release.jwt_secret, release.redis_secret}
    before = {name: release.secret(name) for name in names}
    assert all(before.values())
    release.namespace.helm("upgrade", "ws", CHART, "--wait", "--timeout", "5m")
    assert {name: release.secret(name) for name in names} == before


def test_the_sidecar_outlives_the_service_and_has_no_rights(release):
    spec = release.namespace.get("deployment", release.fullname)["spec"]["template"]["spec"]
    gauge = next(one for one in spec["initContainers"] if one["name"] == "connection-gauge")
    assert gauge["restartPolicy"] == "Always"
    assert spec["automountServiceAccountToken"] is False
    account = f"system:serviceaccount:{release.namespace.name}:{spec.get('serviceAccountName', 'default')}"
    said = run("kubectl", "auth", "can-i", "--list", "--as", account, "-n", release.namespace.name)
    assert "pods" not in said and "secrets" not in said, said
