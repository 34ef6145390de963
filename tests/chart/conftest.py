"""Renders the chart with `helm template` and finds things in what comes out. No cluster is needed."""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/websocket-service"
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = "1.34.0"

sys.path.insert(0, str(ROOT / "scripts"))

# Where scripts/install-tools.sh puts it when there is none.
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "websocket-service"
PROMTOOL = shutil.which("promtool") or str(CACHE / "promtool/usr/bin/promtool")

# Of libyaml where it is there: some hundred renderings are read.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Refused(Exception):
    """Helm did not render; its words."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
STEP = re.compile(r"^\[(\w+)=(.+)\]$|^\[(\d+)\]$")


class Rendered:
    """What Helm rendered."""

    def __init__(self, text: str):
        self.text = text
        self.objects = {f"{o['kind']}/{o['metadata']['name']}": o for o in yaml.load_all(text, LOADER) if o}

    def get(self, name: str, path: str = "") -> object:
        """The value at `path`, steps separated by spaces, `[key=value]` and `[0]` choosing of a list; or ABSENT."""
        found: object = self.objects.get(name, ABSENT)
        for step in path.split():
            match = STEP.match(step)
            if isinstance(found, list) and match:
                if match[3]:
                    found = found[int(match[3])] if int(match[3]) < len(found) else ABSENT
                else:
                    found = next((item for item in found if str(item.get(match[1])) == match[2]), ABSENT)
            elif isinstance(found, dict):
                found = found.get(step, ABSENT)
            else:
                return ABSENT
        return found

    def pods(self) -> dict[str, dict]:
        """Every pod, by the name of the object that makes it: its `spec`."""
        pods = {}
        for name, item in self.objects.items():
            if item["kind"] == "Pod":
                pods[name] = item["spec"]
            elif "template" in item.get("spec", {}):
                pods[name] = item["spec"]["template"]["spec"]
        return pods


@functools.cache
def _render(values: str, files: tuple[str, ...], kubernetes: str, chart: str) -> Rendered:
    command = ["helm", "template", "ws", chart, "--namespace", "demo", "--kube-version", kubernetes]
    for file in files:
        command += ["--values", file]
    command += ["--values", "-"]
    done = subprocess.run(command, input=values, capture_output=True, text=True, env={**os.environ, "HELM_DEBUG": "0"})
    if done.returncode != 0:
        raise Refused(done.stderr)
    return Rendered(done.stdout)


def render(values: dict | None = None, *files: pathlib.Path, kubernetes: str = KUBERNETES, chart: pathlib.Path = CHART) -> Rendered:
    """Renders with these values over these files. Without files the bundled Redis' password is given, for else its sum in
    the pods' annotations, and so the pods, would differ from rendering to rendering."""
    given = merge({} if files else {"redis": {"bundled": {"password": "given"}}}, values or {})
    return _render(json.dumps(given), tuple(str(file) for file in files), kubernetes, str(chart))


def merge(a: dict, b: dict) -> dict:
    """`b` over `a`, as Helm lays values."""
    out = dict(a)
    for key, value in b.items():
        out[key] = merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def nested(path: str, value: object) -> dict:
    """`{"a": {"b": value}}` of `a.b`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value  # type: ignore[return-value]


def promtool(folder: pathlib.Path, *arguments: str) -> str:
    """What Prometheus' own tool says of files in this folder; what it finds wrong fails the test."""
    done = subprocess.run([PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
