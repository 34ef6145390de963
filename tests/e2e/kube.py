"""kubectl and helm as a person uses them, against whatever KUBECONFIG points to."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "websocket-service"


class CommandFailed(AssertionError):
    """A command ended with an error; the text is what it said."""


def run(*command, text_in=None, timeout=120, check=True):
    """Runs a command and returns what it printed."""
    command = [str(part) for part in command]
    done = subprocess.run(command, input=text_in, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout if check else done


def until(what, question, seconds, pause=0.5):
    """Asks until the answer is true and returns it; a failure tells the last answer or error."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = question()
            if last:
                return last
        except (CommandFailed, subprocess.TimeoutExpired, OSError, ValueError, KeyError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}; the last answer was {last!r}")
        time.sleep(pause)


class Namespace:
    """One namespace of the cluster."""

    def __init__(self, name):
        self.name = name

    def kubectl(self, *arguments, **options):
        return run("kubectl", "-n", self.name, *arguments, **options)

    def helm(self, *arguments, **options):
        options.setdefault("timeout", 420)
        return run("helm", "-n", self.name, *arguments, **options)

    def get(self, *what):
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def items(self, *what):
        return self.get(*what)["items"]

    def apply(self, *objects):
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", text_in=json.dumps(listed))

    def create(self):
        """Makes the namespace; nothing runs in it that Pod Security `restricted` forbids."""
        levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": levels}}
        run("kubectl", "apply", "-f", "-", text_in=json.dumps(made))

    def delete(self, seconds=120):
        run("kubectl", "delete", "namespace", self.name, "--ignore-not-found", f"--timeout={seconds}s",
            timeout=seconds + 10)


def raw(path):
    """What the API server answers, as JSON."""
    return json.loads(run("kubectl", "get", "--raw", path, timeout=30))


@contextlib.contextmanager
def forwarded(namespace, target, port):
    """A port of a pod or a Service on this machine, by the way that no NetworkPolicy is asked for."""
    process = subprocess.Popen(
        ["kubectl", "-n", namespace.name, "port-forward", target, f":{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, f"kubectl port-forward {target} said {line!r}"
        # Its further words would fill the pipe and stop it.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield int(found.group(1))
    finally:
        process.terminate()
        process.wait(10)


def ask(port, path, timeout=5, method="GET"):
    """One plain HTTP exchange with a forwarded port: the status and the body."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: e2e\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = b"".join(body.split(b"\r\n")[1::2])
    return int(head.split()[1]), body.decode()


class PodWatch:
    """Every state that the pods of a selector go through, with the time at which it was seen."""

    def __init__(self, namespace, selector):
        self.events = []
        self._process = subprocess.Popen(
            ["kubectl", "-n", namespace.name, "get", "pods", "-l", selector, "--watch", "--output-watch-events",
             "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            event = json.loads(line)
            self.events.append((time.time(), event["type"], event["object"]))

    def close(self):
        self._process.terminate()
        self._process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def seen(self, pod):
        """The states of one pod, oldest first."""
        return [(at, kind, state) for at, kind, state in list(self.events) if state["metadata"]["name"] == pod]

    def exit_codes(self, pod):
        """By container, what each ended with, as far as the kubelet said so before the pod was gone."""
        codes = {}
        for _, _, state in self.seen(pod):
            status = state.get("status", {})
            for one in status.get("containerStatuses", []) + status.get("initContainerStatuses", []):
                ended = one.get("state", {}).get("terminated")
                if ended:
                    codes[one["name"]] = ended["exitCode"]
        return codes


def ready(pod):
    """Whether a pod's Ready condition is true."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def needs(*commands):
    """Fails with a sentence when a tool is missing."""
    missing = [one for one in commands if not shutil.which(one)]
    assert not missing, f"not on PATH: {', '.join(missing)}; the end-to-end tests need them and a KUBECONFIG"
