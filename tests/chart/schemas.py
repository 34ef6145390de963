"""Makes JSON schemas that kubeconform reads from those that the package kubernetes-validate brings along.

There each kind refers to a file with all definitions; here each kind has what it needs in its own file, and a key that
the API does not know is refused at every depth.
"""

import json
import pathlib

import kubernetes_validate

SOURCE = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = ["1.31.0", "1.32.0", "1.33.0", "1.34.0", "1.35.0", "1.36.0", "1.37.0"]
# kubeconform fills this in.
LOCATION = "{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json"


def write(version: str, names: set[str], folder: pathlib.Path) -> None:
    """Writes the schemas `names` (`deployment-apps-v1`) of one version below `folder`."""
    source = SOURCE / f"v{version}-local-strict"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    target = folder / f"v{version}"
    target.mkdir()
    for name in names:
        file = source / f"{name}.json"
        if not file.exists():
            continue
        schema = json.loads(file.read_text())
        schema.pop("$id", None)
        needed: dict[str, dict] = {}
        gather(schema, definitions, needed)
        schema["$defs"] = needed
        (target / file.name).write_text(json.dumps(schema))


def gather(node: object, definitions: dict[str, dict], needed: dict[str, dict]) -> None:
    """Turns every reference below `node` into one within the same file, and collects what they refer to."""
    if isinstance(node, list):
        for item in node:
            gather(item, definitions, needed)
    elif isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            node["$ref"] = f"#/$defs/{name}"
            if name not in needed:
                needed[name] = json.loads(json.dumps(definitions[name]))
                gather(needed[name], definitions, needed)
        for key, item in node.items():
            if key != "$ref":
                gather(item, definitions, needed)
