#!/usr/bin/env python3
"""One comparison of websocket-service with its peers, and with itself: docs/benchmarks.md and docs/benchmarks/.

    bench/run.py               the whole of it, some 15 minutes on an idle machine
    bench/run.py --quick       everything small, in two minutes; prints, and writes nothing
    bench/run.py --page        writes page and plots anew from docs/benchmarks/results.json

`make bench` builds and installs what is needed first.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import time

from harness import figures, loads, machine, measure, micro, page, servers

TITLES = {server.key: server.title for server in servers.SERVERS}


class Run:
    """A comparison under way, and what it has found so far."""

    def __init__(self, arguments: argparse.Namespace):
        self.binaries: pathlib.Path = arguments.binaries
        self.quick: bool = arguments.quick
        self.cores = machine.cores()
        self.began = time.monotonic()
        self.results: dict = {
            "machine": machine.facts(), "versions": {}, "missing": {}, "commands": [], "floor_us": None, "servers": {},
            "growth": {}, "workers": {"1": {}, "2": {}}, "apart": machine.are_apart(self.cores, 2), "micro": {},
        }

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:5.0f} s  {text}", file=sys.stderr, flush=True)

    def floor(self) -> None:
        try:
            found = measure.floor(self.binaries, machine.split(self.cores))
        except measure.Failed as failed:
            self.say(f"floor: {failed}")
            return
        self.results["floor_us"] = figures.at(found, "cpu_us_per_write")
        self.say(f"floor: {figures.number(self.results['floor_us'])} µs a write")

    def prepare(self, server: servers.Server) -> bool:
        try:
            self.results["versions"][server.key] = server.prepare(self.binaries)
        except servers.Missing as missing:
            self.results["missing"][server.key] = str(missing)
            self.say(f"{server.title}: not measured, {missing}")
            return False
        return True

    def load(self, server: servers.Server, load: loads.Load, cores: tuple[str, str], workers: int = 1) -> dict:
        """One load; that it failed is a result as well."""
        load = (loads.quick(load) if self.quick else load).limited(server.most)
        try:
            result = measure.measure(server, load, self.binaries, cores, workers)
        except measure.Failed as failed:
            result = {"failed": str(failed)}
        command = measure.command(server, load)
        if command not in self.results["commands"]:
            self.results["commands"].append(command)
        self.say(f"{server.title}, {load.key}, {workers} worker(s): {summary(result)}")
        return trimmed(result, keeps_samples=server is servers.OURS and load.key == "connect")

    def compare(self, server: servers.Server) -> None:
        cores = machine.split(self.cores)
        self.results["servers"][server.key] = {
            load.key: self.load(server, load, cores) for load in loads.ALL}

    def grow(self) -> None:
        cores = machine.split(self.cores)
        few = 2 if self.quick else None
        for load in [*loads.GROWTH[:few], *loads.GROWTH_PACED[:few]]:
            self.results["growth"][load.key] = self.load(servers.OURS, load, cores)

    def scale(self) -> None:
        for workers in (1, 2):
            server, load = machine.split(self.cores, workers)
            if self.results["apart"]:
                # The same cores for the load in both runs.
                load = machine.split(self.cores, 2)[1]
            found = {item.key: self.load(servers.OURS, item, (server, load), workers) for item in loads.WORKERS}
            self.results["workers"][str(workers)] = found


def summary(result: dict) -> str:
    """The load's most telling figures, for who watches."""
    if isinstance(result.get("failed"), str):
        return result["failed"]
    shown = {"bytes": "server.bytes_per_connection", "µs a connect": "server.cpu_us_per_connect",
             "µs a delivery": "server.cpu_us_per_delivery", "a second": "delivered_per_s", "ms p99": "latency_ms.p99"}
    found = [(figures.at(result, path), unit) for unit, path in shown.items()]
    return ", ".join(f"{figures.number(value)} {unit}" for value, unit in found if value is not None)


def trimmed(result: dict, keeps_samples: bool) -> dict:
    """What the page and the plots need: samples of one load only."""
    return result if keeps_samples else {name: value for name, value in result.items() if name != "samples"}


def compact(results: dict) -> str:
    """JSON that is read by lines, with lists of numbers on one."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([\d.,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def arguments() -> argparse.Namespace:
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", machine.ROOT / "target"))
    parser = argparse.ArgumentParser(description="Compares websocket-service with its peers, and with itself.")
    keys = [server.key for server in servers.SERVERS]
    parser.add_argument("--quick", action="store_true", help="everything small; prints, and writes nothing")
    parser.add_argument("--page", action="store_true", help="only write page and plots anew from results.json")
    parser.add_argument("--no-micro", dest="micro", action="store_false", help="leave the micro-benchmarks out")
    parser.add_argument("--servers", nargs="+", choices=keys, default=keys, metavar="NAME", help=f"of {', '.join(keys)}")
    parser.add_argument("--binaries", type=pathlib.Path, default=target / "release", metavar="FOLDER",
                        help="where websocket-service and websocket-bench are")
    return parser.parse_args()


def execute(options: argparse.Namespace) -> dict:
    measure.raise_open_files()
    run = Run(options)
    chosen = [server for server in servers.SERVERS if server.key in options.servers and run.prepare(server)]
    run.floor()
    for server in chosen:
        run.compare(server)
    if servers.OURS in chosen:
        run.grow()
        run.scale()
    if options.micro and not options.quick:
        run.say("micro-benchmarks")
        run.results["micro"] = micro.run()
    run.say("done")
    return run.results


def main() -> int:
    options = arguments()
    stored = page.FOLDER / "results.json"
    results = json.loads(stored.read_text()) if options.page else execute(options)
    if options.quick:
        print("A try with a twentieth of the connections and a tenth of the messages that the tables name: its figures mean nothing.\n")
        print(page.render(results, TITLES, page.TEMPLATE.read_text()))
        return 0
    # Needs what is installed for it alone, which a quick run can do without.
    from harness import plots

    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_text(compact(results))
    plots.draw(results, TITLES, page.FOLDER)
    page.write(results, TITLES)
    print(f"bench: wrote {page.PAGE.relative_to(machine.ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
