"""What each file of ci/ renders to, word for word. `make chart-golden` writes the renderings anew; read the difference."""

import os
import pathlib

import pytest
from conftest import CI_VALUES, render

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_renders_as_before(values: pathlib.Path) -> None:
    golden = GOLDEN / f"{values.stem.removesuffix('-values')}.yaml"
    text = render(None, values).text
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(text)
    assert golden.exists(), "no rendering yet: run `make chart-golden`"
    assert text == golden.read_text(), f"{values.name} renders otherwise: run `make chart-golden` and read the difference"


def test_every_rendering_has_its_values() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == {path.stem.removesuffix("-values") for path in CI_VALUES}
