"""Figures out of results, and the tables that show them. Nothing here runs or reads anything."""

from dataclasses import dataclass

#: Loads of a server by name, each the last line of websocket-bench, or `{"failed": why}`.
Loads = dict[str, dict]


@dataclass(frozen=True)
class Figure:
    """One row: what it is, and where in the results it stands."""

    label: str
    load: str
    path: str
    #: Compared with the floor: CPU of a delivery, µs.
    delivery: bool = False
    #: What a ratio says nothing about.
    compared: bool = True


FIGURES = [
    Figure("memory of an idle connection, bytes", "connect", "server.bytes_per_connection"),
    Figure("CPU of an idle connection, µs a second", "connect", "server.idle_cpu_us_per_connection_second"),
    Figure("CPU of a connect (handshake, token, subscription), µs", "connect", "server.cpu_us_per_connect"),
    Figure("connects a second", "connect", "connects_per_s"),
    Figure("time of a connect, 64 at once, p99, ms", "connect", "handshake_ms.p99"),
    Figure("CPU of a delivery, paced, µs", "paced", "server.cpu_us_per_delivery", delivery=True),
    Figure("latency, paced, p50, ms", "paced", "latency_ms.p50"),
    Figure("latency, paced, p99, ms", "paced", "latency_ms.p99"),
    Figure("latency, paced, p99.9, ms", "paced", "latency_ms.p999"),
    Figure("CPU of a delivery, as many as it can, µs", "max", "server.cpu_us_per_delivery", delivery=True),
    Figure("deliveries a second, as many as it can", "max", "delivered_per_s"),
    Figure("CPU of a delivery, one message to all, µs", "fan_out", "server.cpu_us_per_delivery", delivery=True),
    Figure("latency, one message to all, p99, ms", "fan_out", "latency_ms.p99"),
    Figure("connections that failed, of all loads", "*", "failed", compared=False),
    Figure("messages lost, paced", "paced", "lost", compared=False),
]


def at(result: dict | None, path: str) -> float | None:
    """The number at a path of keys; none where there is none."""
    value: object = result
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def failures(result: dict) -> float:
    """Connections of one load that did not come about."""
    failed = result.get("failed")
    if isinstance(failed, dict):
        return float(sum(failed.values()))
    return float(result.get("never_opened", 0))


def value(loads: Loads, figure: Figure) -> float | None:
    """The figure of one server."""
    if figure.load == "*":
        done = [result for result in loads.values() if result.get("final")]
        return sum(map(failures, done)) if done else None
    return at(loads.get(figure.load), figure.path)


def number(value: float | None) -> str:
    """Three figures that count, thousands in groups; a dash where nothing was measured."""
    if value is None:
        return "–"
    if abs(value) >= 99.95:
        digits = len(str(int(abs(value))))
        return f"{round(value, min(0, 3 - digits)):,.0f}"
    for bound, places in ((9.995, 1), (0.9995, 2)):
        if abs(value) >= bound:
            return f"{value:.{places}f}"
    return f"{value:.3f}".rstrip("0").rstrip(".") if value else "0"


def ratio(value: float | None, base: float | None) -> float | None:
    """How many times the base it is; none where either is missing or the base is nothing."""
    return None if value is None or not base else value / base


def times(value: float | None) -> str:
    """A ratio as text."""
    if value is None:
        return "–"
    return f"{value:.0f}×" if value >= 9.95 else f"{value:.1f}×" if value >= 0.95 else f"{value:.2f}×"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown. What is in a cell may not break it."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def side_by_side(servers: dict[str, Loads], titles: dict[str, str]) -> str:
    """Every figure of every server."""
    rows = [[figure.label, *(number(value(loads, figure)) for loads in servers.values())] for figure in FIGURES]
    return table(["", *(titles[key] for key in servers)], rows)


def against(servers: dict[str, Loads], titles: dict[str, str], base: str) -> str:
    """Every figure that can be compared, as times that of one of the servers."""
    rows = []
    for figure in (figure for figure in FIGURES if figure.compared):
        of = value(servers.get(base, {}), figure)
        rows.append([figure.label, *(times(ratio(value(loads, figure), of)) for loads in servers.values())])
    return table([f"times that of {titles[base]}", *(titles[key] for key in servers)], rows)


def against_floor(servers: dict[str, Loads], titles: dict[str, str], floor: float | None) -> str:
    """CPU of a delivery as times the floor."""
    rows = [[figure.label.removesuffix(", µs"), *(times(ratio(value(loads, figure), floor)) for loads in servers.values())]
            for figure in FIGURES if figure.delivery]
    return table(["times the floor", *(titles[key] for key in servers)], rows)


def growth(loads: Loads, connections: list[int]) -> str:
    """What a connection and a delivery cost by how many connections there are."""
    rows = []
    for n in connections:
        idle, paced = loads.get(f"grow_{n}"), loads.get(f"grow_paced_{n}")
        figures = [at(idle, "server.bytes_per_connection"), at(idle, "server.cpu_us_per_connect"),
                   at(idle, "server.idle_cpu_us_per_connection_second"), at(paced, "server.cpu_us_per_delivery"),
                   at(paced, "latency_ms.p99")]
        rows.append([f"{n:,}", *map(number, figures)])
    return table(["connections", "bytes a connection", "CPU of a connect, µs", "CPU idle, µs a connection and second",
                  "CPU of a delivery, paced, µs", "latency p99, ms"], rows)


def workers(one: Loads, two: Loads, apart: bool) -> str:
    """One and two workers; how much more they deliver only where nobody took their cores."""
    rows = []
    for label, load in (("paced", "paced"), ("as many as it can", "max")):
        pair = [at(loads.get(load), "server.cpu_us_per_delivery") for loads in (one, two)]
        rows.append([f"CPU of a delivery, {label}, µs", *map(number, pair), times(ratio(pair[1], pair[0]))])
    if apart:
        pair = [at(loads.get("max"), "delivered_per_s") for loads in (one, two)]
        rows.append(["deliveries a second", *map(number, pair), times(ratio(pair[1], pair[0]))])
    return table(["", "1 worker", "2 workers", "2 against 1"], rows)


def back(result: dict | None) -> dict[str, float | None]:
    """Memory before, with, and after the connections, in MiB, and how much of what was added is gone, in percent."""
    before, idle, after = (at(result, f"server.rss_{when}") for when in ("before", "idle", "after"))
    if before is None or idle is None or after is None:
        return {"before": None, "idle": None, "after": None, "returned": None}
    returned = ratio(idle - after, idle - before)
    mib = 2.0**20
    return {"before": before / mib, "idle": idle / mib, "after": after / mib,
            "returned": None if returned is None else returned * 100}


def micro(medians: dict[str, float]) -> str:
    """The medians of the micro-benchmarks; those with two threads beside those with one."""
    rows = []
    for name, one in medians.items():
        head, _, threads = name.rpartition("/")
        if threads == "t=2":
            continue
        two = medians.get(f"{head}/t=2") if threads == "t=1" else None
        path = head if threads == "t=1" else name
        rows.append([f"`{path.removeprefix('micro/')}`", duration(one), duration(two) if two else "", times(ratio(two, one)) if two else ""])
    return table(["", "one thread", "two threads", "ratio"], rows)


def duration(nanoseconds: float) -> str:
    """A time in the unit that suits it."""
    for bound, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanoseconds >= bound:
            return f"{number(nanoseconds / bound)} {unit}"
    return f"{number(nanoseconds)} ns"


def percentiles(histogram: list[list[float]]) -> list[tuple[float, float]]:
    """For a percentile plot: the share of messages that took longer than a bound, and the bound. The last bound, beyond which
    nothing is, has the share of one message."""
    total = sum(count for _, count in histogram)
    points, seen = [], 0.0
    for bound, count in histogram:
        seen += count
        points.append((max(total - seen, 1) / total, bound))
    return points
