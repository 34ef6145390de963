"""Runs the micro-benchmarks and reads what divan prints, which has no other form."""

import re
import subprocess

from harness.machine import ROOT

NANOSECONDS = {"ps": 1e-3, "ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}
ROW = re.compile(r"^(?P<tree>[│ ├╰─]*)(?P<name>\S.*?) {2,}(?P<fastest>\S.*?)│(?P<slowest>.*?)│(?P<median>.*?)│")
GROUP = re.compile(r"^(?P<tree>[│ ├╰─]*)(?P<name>\S.*?) *│? *[│ ]*$")
TIME = re.compile(r"^([\d.]+) (ps|ns|µs|ms|s)$")


def nanoseconds(text: str) -> float | None:
    """`1.5 µs` is 1500.0; what is no time is none (a throughput, an empty cell)."""
    match = TIME.match(text.strip())
    return float(match[1]) * NANOSECONDS[match[2]] if match else None


def parse(text: str) -> dict[str, float]:
    """The median of each benchmark in nanoseconds, by its path: `hub/to_different_users/t=2`."""
    medians: dict[str, float] = {}
    path: list[str] = []
    for line in text.splitlines():
        match = ROW.match(line) or GROUP.match(line)
        # A benchmark's further lines are its throughputs, and carry no branch of the tree.
        if not match or not match["tree"].rstrip(" ").endswith("─"):
            continue
        depth = len(match["tree"].rstrip()) // 3
        path = [*path[:depth], match["name"].strip()]
        median = nanoseconds(match.groupdict().get("median") or "")
        if median is not None:
            medians["/".join(path)] = median
    return medians


def run() -> dict[str, float]:
    """All medians. Builds the benchmarks first where that is to be done."""
    command = ["cargo", "bench", "--locked", "--bench", "micro"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return parse(done.stdout)
