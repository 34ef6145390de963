"""The plots: small SVG files on white, their text as text."""

import pathlib

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  The backend is chosen first, or a display is looked for.

from harness.figures import Loads, at, percentiles  # noqa: E402

#: By server, so that a colour means the same in all plots. Told apart with red-green blindness as well.
COLOURS = {"ours": "#0072b2", "ours_v1": "#56b4e9", "centrifugo": "#d55e00", "socketio": "#009e73", "fastapi": "#cc79a7"}
MIB = 2**20

matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "websocket-service", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white",
})


def _save(figure: pyplot.Figure, path: pathlib.Path) -> None:
    figure.tight_layout()
    # No date inside, so that what has not changed does not change.
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def latency(servers: dict[str, Loads], titles: dict[str, str], path: pathlib.Path) -> None:
    """Latency by percentile under the paced load, both axes logarithmic, so that the tail has room."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4))
    for key, loads in servers.items():
        histogram = loads.get("paced", {}).get("latency_histogram") or []
        if points := percentiles(histogram):
            axes.step(*zip(*points, strict=True), where="post", label=titles[key], color=COLOURS[key], linewidth=1.6)
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="latency, ms")
    shares = [1, 0.5, 0.1, 0.01, 0.001, 0.0001]
    axes.set_xticks(shares, ["0", "50", "90", "99", "99.9", "99.99"])
    axes.set_xlim(1, shares[-1] / 2)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def memory(result: dict, path: pathlib.Path) -> None:
    """The server's memory while connections come, stay and leave."""
    samples = [sample for sample in result.get("samples", []) if sample.get("rss") is not None]
    figure, axes = pyplot.subplots(figsize=(7.5, 3.2))
    time = [sample["t"] for sample in samples]
    axes.plot(time, [sample["rss"] / MIB for sample in samples], color=COLOURS["ours"], linewidth=1.8)
    axes.set(xlabel="seconds", ylabel="memory (RSS), MiB", ylim=(0, None))
    axes.yaxis.label.set_color(COLOURS["ours"])
    axes.grid(alpha=0.3)
    beside = axes.twinx()
    beside.spines["right"].set_visible(True)
    beside.plot(time, [sample["open"] for sample in samples], color="#777777", linewidth=1.2, linestyle="--")
    beside.set(ylabel="open connections (dashed)", ylim=(0, None))
    _save(figure, path)


def bars(servers: dict[str, Loads], titles: dict[str, str], floor: float | None, path: pathlib.Path) -> None:
    """Bytes a connection and CPU a delivery, side by side."""
    panels = [("bytes of an idle connection", "connect", "server.bytes_per_connection"),
              ("CPU of a delivery, paced, µs", "paced", "server.cpu_us_per_delivery"),
              ("CPU of a delivery, as many as it can, µs", "max", "server.cpu_us_per_delivery"),
              ("CPU of a delivery, one to 1,000, µs", "fan_out", "server.cpu_us_per_delivery")]
    figure, grid = pyplot.subplots(2, 2, figsize=(9.5, 4.6))
    for axes, (title, load, where) in zip(grid.flat, panels, strict=True):
        found = [(key, at(loads.get(load), where)) for key, loads in servers.items()]
        shown = [(key, value) for key, value in reversed(found) if value is not None]
        drawn = axes.barh([titles[key] for key, _ in shown], [value for _, value in shown],
                          color=[COLOURS[key] for key, _ in shown], height=0.65)
        axes.bar_label(drawn, fmt="{:,.0f}" if load == "connect" else "{:.1f}", padding=3, fontsize=9)
        axes.set_title(title, fontsize=10, loc="left")
        axes.tick_params(axis="x", labelbottom=False, bottom=False)
        axes.margins(x=0.18)
        if floor and load != "connect":
            axes.axvline(floor, color="#444444", linestyle=":", linewidth=1.2)
    figure.supxlabel("dotted: the floor, one write on loopback", fontsize=9)
    _save(figure, path)


def draw(results: dict, titles: dict[str, str], folder: pathlib.Path) -> None:
    """All plots of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    servers = results["servers"]
    latency(servers, titles, folder / "latency.svg")
    memory(servers.get("ours", {}).get("connect", {}), folder / "memory.svg")
    bars(servers, titles, results.get("floor_us"), folder / "costs.svg")
