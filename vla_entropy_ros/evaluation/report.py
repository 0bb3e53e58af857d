"""The figures of an evaluation as a table, as Markdown and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from ..sim import FAMILIES
from .outcomes import SOON

NONE = "-"
SMALLEST = 0.001  # a smaller p says nothing more
CALM = "none"  # the rows of episodes in which nothing went wrong
TAIL = ("tick p50 / p95 [ms]", "x", "fresh", "passes", "age mean / max", "jerk", "target reused", "ticks to success")
UNDER = ("fresh p95", "moved, seen after p50 / p99 [ticks]", f"within {SOON}")  # where there are disturbances


def columns(figures: dict[str, Any]) -> list[str]:
    """Names of the columns: a success rate per family, then times and reuse."""
    several = "disturbances" in figures
    return ["configuration", *["disturbance"] * several, *_families(figures), *TAIL, *UNDER * several]


def rows(figures: dict[str, Any], period: float) -> Iterator[list[str]]:
    """One row per configuration and disturbance.

    x: its median tick against that of full recomputation, plain if it is there, under the same disturbance.
    """
    several = "disturbances" in figures
    for label, made in rounds(figures).items():
        full = _median(made.get("plain") or made.get("full") or {})
        for name, record in made.items():
            success = (_success(record, family) for family in _families(figures))
            under = _under(record) if several else []
            yield [name, *[label] * several, *success, *_tail(record, full, period), *under]


def rounds(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Records of the configurations, by disturbance; those without one first."""
    return {CALM: figures["configurations"], **figures.get("disturbances", {})}


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


def _under(record: dict[str, Any]) -> list[str]:
    busy, moved = _number(record["fresh_p95"], "{:.0%}"), record.get("moved")
    if moved is None:
        return [busy, NONE, NONE]
    half, most = (_number(moved[name], "{:.0f}") if moved[name] is not None else "never" for name in ("p50", "p99"))
    return [busy, f"{half} / {most} (of {moved['episodes']})", f"{moved['soon']:.0%}"]


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def _median(record: dict[str, Any]) -> float | None:
    tick = record.get("latency_ms", {}).get("total")
    return tick["p50"] if tick else None


def table(figures: dict[str, Any], title: str, period: float) -> Table:
    """For a terminal."""
    made = Table(title=title)
    for name in columns(figures):
        made.add_column(name, justify="left" if name in ("configuration", "disturbance") else "right")
    for row in rows(figures, period):
        made.add_row(*row)
    return made


def markdown(figures: dict[str, Any], period: float) -> str:
    """For a document."""
    lines = [columns(figures), ["---"] * len(columns(figures)), *rows(figures, period)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plot(figures: dict[str, Any], path: Path, title: str) -> None:
    """Success against median tick time with 95 % intervals: a panel per family and disturbance."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    families, by_round = _families(figures), rounds(figures)
    wide, high = 3.6 * len(families) + 2.6, 0.8 + 3.8 * len(by_round)
    figure, panels = pyplot.subplots(
        len(by_round), len(families), figsize=(wide, high), sharey=True, layout="constrained", squeeze=False
    )
    for row, (label, made) in zip(panels, by_round.items(), strict=True):
        for family, axes in zip(families, row, strict=True):
            _points(axes, made, family)
            axes.set_title(family if len(by_round) == 1 else f"{family}, disturbance {label}", fontsize=10)
        row[0].set_ylabel("success [%], 95 % Wilson interval")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _points(axes: Any, configurations: dict[str, Any], family: str) -> None:
    """A point per configuration that has met the family."""
    for number, (name, record) in enumerate(configurations.items()):
        x, mine = _median(record), record["families"][family]
        if x is None or mine["success_rate"] is None:
            continue
        y, (low, high) = 100 * mine["success_rate"], mine["interval95"]
        spread = [[y - 100 * low], [100 * high - y]]
        axes.errorbar(x, y, yerr=spread, fmt="o", color=f"C{number % 10}", capsize=3, label=name, alpha=0.85)
    axes.set_xlabel("median tick [ms]")
    axes.grid(alpha=0.3)
