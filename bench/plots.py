"""The plots of a run and of growth, as SVG and PNG; they need matplotlib."""

# Installed only for plotting.
# pyright: reportMissingImports=false

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench import measurement as m
from bench.measurement import ENGINE, PEERS, PGBENCH
from bench.tables import in_each, sizes, whole

if TYPE_CHECKING:
    from pathlib import Path

    from bench.results import Results

COLORS = {
    ENGINE: "#c2410c",
    PGBENCH: "#475569",
    "Flask": "#60a5fa",
    "FastAPI": "#2dd4bf",
    "Express": "#a3a34a",
}
PANELS = {
    m.PLACE: "placing, many products",
    m.PLACE_HOT: "placing, one hot product",
    m.READ: "reading one",
    m.LIST: "listing one's 20 orders",
}
CAPTIONS = {
    "placing": "Orders placed per second by the number of connections",
    "beside": "Requests per second of the engine, pgbench and the peers",
    "growth": "Rates by the number of orders in the database",
    "soak": "Latency, memory, sizes and dead rows while orders are placed for minutes",
}
DPI = 150
# The same numbers produce the same files.
mpl.rcParams |= {"svg.hashsalt": "order-engine", "font.size": 9, "axes.spines.top": False}
mpl.rcParams |= {"axes.spines.right": False}


def draw_run(results: Results, folder: Path) -> list[Path]:
    """Plots the rates of all subjects, and placing by number of connections."""
    drawn = []
    if sizes(results, ENGINE, m.PLACE):
        drawn += _save(_placing(results), folder / "placing")
    if all(sizes(results, peer, operation) for peer in PEERS for operation in PANELS):
        drawn += _save(_beside(results), folder / "beside")
    return drawn


def draw_growth(found: dict[str, Any], folder: Path) -> list[Path]:
    """Plots the rates by number of orders, and the soak."""
    return _save(_growing(found), folder / "growth") + _save(_soaking(found), folder / "soak")


def links(drawn: list[Path]) -> str:
    """Returns the Markdown of the plots, for a document beside their folder."""
    shown = (path for path in drawn if path.suffix == ".svg")
    return "".join(
        f"\n![{CAPTIONS[path.stem]}]({path.parent.name}/{path.name})\n" for path in shown
    )


def _beside(results: Results) -> Any:  # noqa: ANN401 - matplotlib has no types
    size = max(results.plan.peer_connections)
    figure, panels = plt.subplots(2, 2, figsize=(9, 5), layout="constrained")
    figure.suptitle(f"Requests per second, {size} connections (median, least and most of rounds)")
    for panel, (operation, title) in zip(panels.flat, PANELS.items(), strict=True):
        named = {
            subject: in_each(results, "per_second", subject, operation, size)
            for subject in (ENGINE, PGBENCH, *PEERS)
        }
        shown = {subject: values for subject, values in named.items() if values}
        medians = [statistics.median(values) for values in shown.values()]
        panel.barh(
            list(shown),
            medians,
            xerr=_errors(list(shown.values())),
            color=[COLORS[subject] for subject in shown],
            ecolor="#888888",
        )
        for row, (values, median) in enumerate(zip(shown.values(), medians, strict=True)):
            panel.text(max(values), row, f" {whole(median)}", va="center")
        panel.set_title(title)
        panel.invert_yaxis()
        panel.margins(x=0.15)
    return figure


def _placing(results: Results) -> Any:  # noqa: ANN401 - as above
    figure, panel = plt.subplots(figsize=(7, 4), layout="constrained")
    lines = [
        (ENGINE, m.PLACE, "-", "engine over HTTP, events published"),
        (ENGINE, m.PLACE_HOT, "--", "engine, one hot product"),
        (PGBENCH, m.PLACE, "-", "pgbench, one statement per order"),
    ]
    for subject, operation, style, label in lines:
        at = sizes(results, subject, operation)
        values = [in_each(results, "per_second", subject, operation, size) for size in at]
        panel.errorbar(
            at,
            [statistics.median(each) for each in values],
            yerr=_errors(values),
            linestyle=style,
            marker="o",
            markersize=4,
            capsize=3,
            color=COLORS[subject],
            label=label,
        )
    panel.set_xscale("log", base=2)
    panel.set_xticks((*results.plan.connections, results.plan.engine_connections))
    panel.set_xticklabels(map(str, (*results.plan.connections, results.plan.engine_connections)))
    panel.set_xlabel("connections")
    panel.set_ylabel("orders per second")
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False)
    return figure


def _growing(found: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    figure, panel = plt.subplots(figsize=(7, 4), layout="constrained")
    for operation in found["rounds"][0]:
        rates = [each[operation] for each in found["rounds"]]
        values = [[rate[index] / rate[0] for rate in rates] for index in range(len(found["sizes"]))]
        medians = [statistics.median(each) for each in values]
        panel.errorbar(
            found["sizes"],
            medians,
            yerr=_errors(values),
            marker="o",
            markersize=4,
            capsize=3,
            label=operation,
        )
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.set_xlabel("orders in the database")
    panel.set_ylabel(f"rate, as a multiple of that with {whole(found['sizes'][0])} orders")
    panel.legend(frameon=False, ncols=2)
    return figure


def _soaking(found: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    soak = found["soak"]
    looks = soak["looks"]
    at = [look["at_s"] / 60 for look in looks]
    seconds = [(number / 60, one) for number, one in enumerate(soak["seconds"]) if one]
    figure, panels = plt.subplots(4, 1, figsize=(8, 8), sharex=True, layout="constrained")
    figure.suptitle(f"Placing {whole(soak['per_second'])} orders per second")
    for name in ("p50_ms", "p99_ms"):
        panels[0].plot(
            [minute for minute, _ in seconds],
            [one[name] for _, one in seconds],
            linewidth=0.8,
            label=f"{name.removesuffix('_ms')} of each second",
        )
    panels[0].set_ylabel("latency, ms")
    panels[1].plot(at, [look["memory_mb"] for look in looks], label="memory of the engine")
    panels[1].set_ylabel("MB")
    for table in ("orders", "order_lines", "order_history", "reservations", "outbox"):
        both = [look[f"table_mb {table}"] + look[f"index_mb {table}"] for look in looks]
        panels[2].plot(at, both, label=table)
    panels[2].set_ylabel("tables with indexes, MB")
    for table in ("outbox", "products"):
        panels[3].plot(at, [look[f"dead {table}"] for look in looks], label=f"dead rows, {table}")
    panels[3].plot(at, [look["waiting"] for look in looks], label="messages waiting")
    panels[3].set_ylabel("rows")
    panels[3].set_xlabel("minutes")
    for panel in panels:
        # Space for the legend.
        panel.set_ylim(0, 1.3 * max(panel.get_ylim()[1], 1))
        panel.legend(frameon=False, fontsize=7, loc="upper left", ncols=3)
    return figure


def _errors(values: list[list[float]]) -> list[list[float]]:
    """The distances of the minimum and the maximum from the median."""
    medians = [statistics.median(each) for each in values]
    return [
        [median - min(each) for median, each in zip(medians, values, strict=True)],
        [max(each) - median for median, each in zip(medians, values, strict=True)],
    ]


def _save(figure: Any, path: Path) -> list[Path]:  # noqa: ANN401 - as above
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_suffix(suffix) for suffix in (".svg", ".png")]
    figure.savefig(files[0], metadata={"Date": None})
    figure.savefig(files[1], dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    return files
