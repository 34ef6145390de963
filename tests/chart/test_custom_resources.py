"""Objects of other projects' kinds are what those projects' own Go types take, no field more."""

import os
import pathlib
import subprocess

import pytest
from conftest import CI_VALUES, render
from test_valid import CUSTOM

SOURCE = pathlib.Path(__file__).parent / "strict"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    # The first build takes minutes, for the types of KEDA bring half of Kubernetes along; Go keeps it for the next.
    program = tmp_path_factory.mktemp("strict") / "strict"
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=SOURCE, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    return program


def test_other_projects_take_their_objects(strict: pathlib.Path, tmp_path: pathlib.Path) -> None:
    seen = set()
    files = []
    for values in CI_VALUES:
        rendered = render(None, values)
        seen |= {item["kind"] for item in rendered.objects.values()}
        files.append(tmp_path / f"{values.stem}.yaml")
        files[-1].write_text(rendered.text)
    done = subprocess.run([strict, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines()} == CUSTOM <= seen


def test_a_field_that_is_not_there_is_an_error(strict: pathlib.Path, tmp_path: pathlib.Path) -> None:
    text = render({"autoscaling": {"provider": "keda"}}).text
    (tmp_path / "wrong.yaml").write_text(text.replace("pollingInterval", "pollingIntervall"))
    done = subprocess.run([strict, tmp_path / "wrong.yaml"], capture_output=True, text=True)
    assert done.returncode == 1 and "pollingIntervall" in done.stderr
