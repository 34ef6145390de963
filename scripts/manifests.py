#!/usr/bin/env python3
"""Writes k8s/ from the chart, for those who use kustomize instead of Helm.

    scripts/manifests.py            writes it
    scripts/manifests.py --check    exit code 1 if it is stale, or if kustomize builds anything else than the chart renders

The base is what the chart renders for k8s/base/values.yaml. An overlay has the objects that its own values add, as
resources, and those that differ from the base, as patches.
"""

import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "charts/websocket-service"
BASE = ROOT / "k8s/base"
OVERLAYS = sorted((ROOT / "k8s/overlays").iterdir())
KUBERNETES = "1.34.0"
NAMESPACE = "websocket-service"
HEADER = "# Generated from charts/websocket-service by `make manifests`. Do not edit; values.yaml beside it says how.\n"
# Lines that speak of Helm.
NOT_HELMS = ("# Source: ", "    app.kubernetes.io/managed-by: Helm", "    helm.sh/chart: ")

Objects = dict[tuple[str, str], str]


def key(item: dict) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def render(folder: pathlib.Path) -> Objects:
    """What the chart renders for the values of a folder: the text of each object."""
    command = ["helm", "template", "websocket-service", str(CHART), "--namespace", NAMESPACE]
    command += ["--kube-version", KUBERNETES, "--values", str(folder / "values.yaml")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    objects: Objects = {}
    for document in text.split("\n---\n"):
        lines = [line for line in document.removeprefix("---\n").splitlines() if not line.startswith(NOT_HELMS)]
        document = "\n".join(lines).strip() + "\n"
        objects[key(yaml.safe_load(document))] = document
    return objects


def files() -> dict[pathlib.Path, str]:
    """The files that this script writes, with what belongs into them."""
    base = render(BASE)
    out = {BASE / "websocket-service.yaml": joined(base.values())}
    for overlay in OVERLAYS:
        objects = render(overlay)
        if gone := set(base) - set(objects):
            raise SystemExit(f"{overlay.name} lacks {gone} of the base, and a patch for that is not made here")
        added = [text for name, text in objects.items() if name not in base]
        changed = [patch(base[name], text) for name, text in objects.items() if name in base and base[name] != text]
        if added:
            out[overlay / "websocket-service.yaml"] = joined(added)
        if changed:
            out[overlay / "patches.yaml"] = joined(changed)
    return out


def patch(old: str, new: str) -> str:
    """The whole object as a strategic merge, which adds and changes; what goes is named."""
    before, after = yaml.safe_load(old).get("spec", {}), yaml.safe_load(new).get("spec", {})
    nulls = "".join(f"\n  {field}: null" for field in before if field not in after)
    return new.replace("\nspec:", f"\nspec:{nulls}", 1)


def joined(documents: object) -> str:
    return HEADER + "---\n".join(documents)  # type: ignore[arg-type]


def check(wanted: dict[pathlib.Path, str]) -> list[str]:
    """What is wrong with k8s/ as it is."""
    generated = {path for path in (ROOT / "k8s").rglob("*.yaml") if path.name in ("websocket-service.yaml", "patches.yaml")}
    faults = [f"{path.relative_to(ROOT)} is stale: run `make manifests`" for path in sorted(wanted | dict.fromkeys(generated))
              if not path.exists() or path.read_text() != wanted.get(path)]
    for overlay in OVERLAYS:
        done = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True)
        if done.returncode != 0:
            faults.append(f"{overlay.relative_to(ROOT)}: {done.stderr.strip()}")
            continue
        built = {key(item): item for item in yaml.safe_load_all(done.stdout)}
        for name, text in render(overlay).items():
            if built.get(name) != yaml.safe_load(text):
                faults.append(f"{overlay.relative_to(ROOT)} builds another {'/'.join(name)} than the chart renders")
    return faults


def main() -> int:
    wanted = files()
    if sys.argv[1:] == ["--check"]:
        faults = check(wanted)
        print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
        return 1 if faults else 0
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
