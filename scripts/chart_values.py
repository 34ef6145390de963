#!/usr/bin/env python3
"""Writes docs/values.md from the comments in the chart's values.yaml.

    scripts/chart_values.py            writes it
    scripts/chart_values.py --check    exit code 1 if it is stale

`## Title` begins a section, with prose in the lines below. `# -- text` documents the value that follows; any other
comment right above a key speaks of all below that key.
"""

import json
import pathlib
import re
import sys
from typing import NamedTuple

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
VALUES = ROOT / "charts/websocket-service/values.yaml"
PAGE = ROOT / "docs/values.md"

INTRODUCTION = """\
<!-- Generated from charts/websocket-service/values.yaml by `make chart-docs`. Do not edit. -->

# Values of the chart

`helm install ws charts/websocket-service` needs none of them. Unknown keys are refused, and so is what cannot work, with a
sentence that says what to change.
"""


class Row(NamedTuple):
    """A documented value, or the comment of a group of them (`default` is then None)."""

    path: str
    default: str | None
    text: str


class Section(NamedTuple):
    title: str
    prose: list[str]
    rows: list[Row]


KEY = re.compile(r"^( *)([A-Za-z]\w*):")


def parse(text: str) -> list[Section]:
    """The sections of a values.yaml. A key that is neither documented nor the parent of documented ones is an error."""
    values = yaml.safe_load(text)
    sections: list[Section] = []
    path: list[str] = []
    comment: list[str] = []
    # Lines deeper than this belong to a documented value.
    inside: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if inside is not None and stripped and indent > inside:
            continue
        inside = None if stripped else inside
        if stripped.startswith("## "):
            sections.append(Section(stripped[3:], [], []))
            comment = []
        elif stripped.startswith("#"):
            comment.append(stripped[1:].strip())
        elif not stripped:
            if sections and comment and not sections[-1].rows:
                sections[-1].prose.extend(comment)
            comment = []
        else:
            match = KEY.match(line)
            if match is None:
                raise ValueError(f"values.yaml:{number}: not a key")
            path = path[: indent // 2] + [match[2]]
            if comment and comment[0].startswith("-- "):
                rows = sections[-1].rows
                rows.append(Row(".".join(path), shown(at(values, path)), " ".join(comment)[3:]))
                inside = indent
            elif not isinstance(at(values, path), dict):
                raise ValueError(f"values.yaml:{number}: {'.'.join(path)} has no comment that begins with `# --`")
            elif comment:
                sections[-1].rows.append(Row(".".join(path), None, " ".join(comment)))
            comment = []
    return sections


def at(values: object, path: list[str]) -> object:
    for key in path:
        values = values[key]  # type: ignore[index]
    return values


def shown(value: object) -> str:
    if value is None:
        return "unset"
    if value == "":
        return "empty"
    if isinstance(value, str):
        return f"`{value}`"
    return f"`{json.dumps(value)}`"


def page(sections: list[Section]) -> str:
    out = [INTRODUCTION]
    for section in sections:
        out.append(f"## {section.title}\n")
        if section.prose:
            out.append("\n".join(section.prose) + "\n")
        lines = ["| value | default | meaning |", "| --- | --- | --- |"]
        for row in section.rows:
            text = row.text.replace("|", "\\|")
            default = "" if row.default is None else row.default.replace("|", "\\|")
            lines.append(f"| `{row.path}` | {default} | {text} |")
        out.append("\n".join(lines) + "\n")
    return "\n".join(out)


def main() -> int:
    wanted = page(parse(VALUES.read_text()))
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != wanted:
            print("docs/values.md is stale: run `make chart-docs`", file=sys.stderr)
            return 1
    else:
        PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
