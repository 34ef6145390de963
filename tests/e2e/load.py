"""Clients by the thousand, in a pod of the cluster: `websocket-bench` of the service's own image."""

import json
import subprocess
import threading
import time

from kube import until

RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def pod(name, image, command, labels=None, user=65532, volumes=None):
    """A pod that Pod Security `restricted` lets in. `volumes`: mount path by Secret."""
    volumes = volumes or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"e2e": "true", **(labels or {})}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 15,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
                                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main", "image": image, "command": command, "securityContext": RESTRICTED,
                "volumeMounts": [{"name": f"v{n}", "mountPath": path, "readOnly": True}
                                 for n, path in enumerate(volumes.values())],
            }],
            "volumes": [{"name": f"v{n}", "secret": {"secretName": secret}} for n, secret in enumerate(volumes)],
        },
    }


class Load:
    """One `websocket-bench clients` and the reports that it writes each second."""

    def __init__(self, release, name, url=None, users=1, connections=1, rate=200, hold=False, silence=75):
        self.release, self.name, self.namespace = release, name, release.namespace
        self.reports = []
        command = ["/usr/local/bin/websocket-bench", "clients", "--url", url or release.url,
                   "--users", str(users), "--connections-per-user", str(connections), "--user-prefix", name + "-",
                   "--rate", str(rate), "--seconds", "0", "--silence", str(silence), "--secret-file", "/jwt/" + release.jwt_key]
        if hold:
            command.append("--hold")
        self.namespace.apply(pod(name, release.image, command, volumes={release.jwt_secret: "/jwt"}))
        until(f"pod {name} runs", self._started, 60)
        self._process = subprocess.Popen(["kubectl", "-n", self.namespace.name, "logs", "-f", name],
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _started(self):
        phase = self.namespace.get("pod", self.name)["status"]["phase"]
        assert phase != "Failed", self.namespace.kubectl("logs", self.name)
        return phase in ("Running", "Succeeded")

    def _read(self):
        for line in self._process.stdout:
            if line.startswith("{"):
                self.reports.append({**json.loads(line), "seen": time.time()})

    @property
    def last(self):
        return self.reports[-1] if self.reports else {}

    def opened(self, connections, seconds=90):
        """Waits until that many connections are open."""
        until(f"{connections} connections of {self.name} are open",
              lambda: self.last.get("open") == connections or None, seconds)

    def stop(self):
        """Ends it as SIGTERM does and returns its last report."""
        self.namespace.kubectl("delete", "pod", self.name, "--wait=true", "--timeout=60s", timeout=70)
        self._reader.join(10)
        self._process.terminate()
        self._process.wait(10)
        assert self.last.get("final"), f"{self.name} ended without its final report: {self.last}"
        return self.last
