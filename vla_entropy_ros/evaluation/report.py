"""The figures of an evaluation as a table, as Markdown and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from ..sim import FAMILIES

NONE = "-"
SMALLEST = 0.001  # a smaller p says nothing more
TAIL = ("tick p50 / p95 [ms]", "x", "fresh", "passes", "age mean / max", "jerk", "target reused", "ticks to success")


def columns(figures: dict[str, Any]) -> list[str]:
    """Names of the columns: a success rate per family, then times and reuse."""
    return ["configuration", *_families(figures), *TAIL]


def rows(figures: dict[str, Any], period: float) -> Iterator[list[str]]:
    """One row per configuration; x: its median tick against that of full recomputation, plain if it is there."""
    made = figures["configurations"]
    full = _median(made.get("plain") or made.get("full") or {})
    for name, record in figures["configurations"].items():
        yield [name, *(_success(record, family) for family in _families(figures)), *_tail(record, full, period)]


def _families(figures: dict[str, Any]) -> list[str]:
    first = next(iter(figures["configurations"].values()))
    return [family for family in FAMILIES if family in first["families"]]


def _success(record: dict[str, Any], family: str) -> str:
    mine, paired = record["families"][family], record["against_full"] or {}
    low, high = mine["interval95"]
    told = family in paired and paired[family]["won"] + paired[family]["lost"]
    p = f", {_chance(paired[family]['p'])}" if told else ""
    return f"{mine['successes']} / {mine['episodes']} ({low:.0%} to {high:.0%}{p})"


def _chance(p: float) -> str:
    return f"p < {SMALLEST:g}" if p < SMALLEST else f"p {p:.2g}"


def _tail(record: dict[str, Any], full: float | None, period: float) -> list[str]:
    tick, mine = record["latency_ms"].get("total"), _median(record)
    duration = record["seconds_to_success"]
    return [
        f"{tick['p50']:.1f} / {tick['p95']:.1f}" if tick else NONE,
        f"{full / mine:.2f}" if full and mine else NONE,
        _number(record["fresh_share"], "{:.0%}"),
        _number(record["passes"], "{:.2f}"),
        NONE if record["age_mean"] is None else f"{record['age_mean']:.1f} / {record['age_max']}",
        _number(record["jerk"], "{:.1f}"),
        _number(record["target_reused"], "{:.0%}"),
        _number(duration and duration["p50"] / period, "{:.0f}"),
    ]


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def _median(record: dict[str, Any]) -> float | None:
    tick = record.get("latency_ms", {}).get("total")
    return tick["p50"] if tick else None


def table(figures: dict[str, Any], title: str, period: float) -> Table:
    """For a terminal."""
    made = Table(title=title)
    for name in columns(figures):
        made.add_column(name, justify="left" if name == "configuration" else "right")
    for row in rows(figures, period):
        made.add_row(*row)
    return made


def markdown(figures: dict[str, Any], period: float) -> str:
    """For a document."""
    lines = [columns(figures), ["---"] * len(columns(figures)), *rows(figures, period)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plot(figures: dict[str, Any], path: Path, title: str) -> None:
    """Success against median tick time with 95 % intervals: a panel per family, a point per configuration."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    families = _families(figures)
    figure, panels = pyplot.subplots(
        1, len(families), figsize=(3.6 * len(families) + 2.6, 4.6), sharey=True, layout="constrained", squeeze=False
    )
    for family, axes in zip(families, panels[0], strict=True):
        for number, (name, record) in enumerate(figures["configurations"].items()):
            x, mine = _median(record), record["families"][family]
            if x is None or mine["success_rate"] is None:
                continue
            y, (low, high) = 100 * mine["success_rate"], mine["interval95"]
            spread = [[y - 100 * low], [100 * high - y]]
            axes.errorbar(x, y, yerr=spread, fmt="o", color=f"C{number % 10}", capsize=3, label=name, alpha=0.85)
        axes.set_title(family, fontsize=10)
        axes.set_xlabel("median tick [ms]")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("success [%], 95 % Wilson interval")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
