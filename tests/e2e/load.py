"""Clients by the thousand, in a pod of the cluster: `websocket-bench` of the service's own image."""

import json
import subprocess
import threading
import time

from kube import until

RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def pod(name, image, command, labels=None, user=65532, volumes=None, grace=15):
    """A pod that Pod Security `restricted` lets in. `volumes`: mount path by Secret."""
    volumes = volumes or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"e2e": "true", **(labels or {})}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace,
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


class Bench:
    """One `websocket-bench` and the reports that it writes each second."""

    def __init__(self, release, name, command, **options):
        self.release, self.name, self.namespace = release, name, release.namespace
        self.reports = []
        command = ["/usr/local/bin/websocket-bench", *command, "--user-prefix", name + "-",
                   "--secret-file", "/jwt/" + release.jwt_key]
        options["volumes"] = {release.jwt_secret: "/jwt", **options.get("volumes", {})}
        self.namespace.apply(pod(name, release.image, command, **options))
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

    def stop(self):
        """Ends it as SIGTERM does and returns its last report."""
        self.namespace.kubectl("delete", "pod", self.name, "--wait=true", "--timeout=60s", timeout=70)
        self._reader.join(10)
        self._process.terminate()
        self._process.wait(10)
        assert self.last.get("final"), f"{self.name} ended without its final report: {self.last}"
        return self.last


class Load(Bench):
    """Clients that are held open."""

    def __init__(self, release, name, url=None, users=1, connections=1, rate=200, hold=False, silence=75):
        command = ["clients", "--url", url or release.url, "--users", str(users),
                   "--connections-per-user", str(connections), "--rate", str(rate), "--seconds", "0",
                   "--silence", str(silence)]
        super().__init__(release, name, command + (["--hold"] if hold else []))

    def opened(self, connections, seconds=90):
        """Waits until that many connections are open."""
        until(f"{connections} connections of {self.name} are open",
              lambda: self.last.get("open") == connections or None, seconds)


class Delivery(Bench):
    """Clients that resume, and a publisher of numbered messages that goes to Redis as a back end does."""

    SETTLE = 20

    def __init__(self, release, name, users, messages_per_second, mode="v1", seconds=600):
        command = ["deliver", "--json", "--url", release.url, "--users", str(users), "--rate", "250", "--mode", mode,
                   "--via", "script" if mode == "v1" else "redis", "--redis-url-file", "/redis/redis-url",
                   "--publish-rate", str(messages_per_second), "--seconds", str(seconds), "--settle", str(self.SETTLE)]
        super().__init__(release, name, command, volumes={release.redis_secret: "/redis"}, grace=self.SETTLE + 15,
                         labels={f"{release.fullname}-redis-client": "true"})

    def flows(self, messages, seconds=90):
        """Waits until so many more messages have arrived."""
        before = self.last.get("received", 0)
        until(f"{messages} messages of {self.name} arrive",
              lambda: self.last.get("received", 0) >= before + messages, seconds)
