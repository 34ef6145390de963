"""docs/benchmarks.md from the results of a run."""

import pathlib
import string

from harness import figures
from harness.loads import GROWTH
from harness.machine import ROOT

TEMPLATE = ROOT / "bench/page.md"
PAGE = ROOT / "docs/benchmarks.md"
FOLDER = ROOT / "docs/benchmarks"

NOT_APART = """\
This machine has {cores} cores, of which the load and Redis take one. So how much more two workers deliver cannot be seen here;
what can is what a delivery costs with one and with two, the second on the load's core. A lock that workers wait for would show
as CPU of its own."""
APART = """\
The server has cores of its own, one or two, and the load and Redis the same cores beside them in both runs."""


def versions(results: dict, titles: dict[str, str]) -> str:
    """What was measured, and why something was not."""
    lines = []
    for key, title in titles.items():
        version, missing = results["versions"].get(key), results["missing"].get(key)
        if key == "ours_v1" or not (version or missing):
            continue
        lines.append(f"- {title}: {version}" if version else f"- {title}: not measured, {missing}")
    for key, loads in results["servers"].items():
        lines += [f"- {titles[key]}, {load}: no result, {result['failed']}"
                  for load, result in loads.items() if isinstance(result.get("failed"), str)]
    return "\n".join(lines)


def fields(results: dict, titles: dict[str, str]) -> dict[str, str]:
    """What the template's names stand for."""
    servers, machine = results["servers"], results["machine"]
    shown = {key: titles[key] for key in servers}
    ours = servers.get("ours", {})
    memory = {name: figures.number(value) for name, value in figures.back(ours.get("connect")).items()}
    apart = APART if results["apart"] else NOT_APART.format(cores=machine["cores"])
    return {
        "machine": f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {machine['kernel']}, "
                   f"Redis {machine['redis']}; {machine['date']}",
        "versions": versions(results, titles),
        "floor": figures.number(results.get("floor_us")),
        "absolute": figures.side_by_side(servers, shown),
        "against_ours": figures.against(servers, shown, "ours") if "ours" in servers else "",
        "against_floor": figures.against_floor(servers, shown, results.get("floor_us")),
        "growth": figures.growth(results["growth"], [load.connections for load in GROWTH]),
        "workers_how": apart,
        "workers": figures.workers(results["workers"]["1"], results["workers"]["2"], results["apart"]),
        "micro": figures.micro(results["micro"]) if results["micro"] else "Not run.",
        "commands": "\n".join(results["commands"]),
        **{f"memory_{name}": text for name, text in memory.items()},
    }


def render(results: dict, titles: dict[str, str], template: str) -> str:
    """The page. A name that is not known is an error."""
    return string.Template(template).substitute(fields(results, titles))


def write(results: dict, titles: dict[str, str], page: pathlib.Path = PAGE) -> None:
    page.write_text(render(results, titles, TEMPLATE.read_text()))
