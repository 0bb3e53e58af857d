"""The device's benchmark as table and bar chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from ...stages import PARTS


def table(content: dict[str, Any], title: str) -> Table:
    """One line per row; times in milliseconds."""
    made = Table(title=title)
    columns = ("row", "mean", "p50", "p95", "max", "period", "Hz", *PARTS, "passes", "fresh", "age", "equal", "error")
    for name in columns:
        made.add_column(name, justify="left" if name == "row" else "right")
    for name, row in content["rows"].items():
        tick, error = row["latency_ms"], row["logit_error"]
        made.add_row(
            name,
            *(f"{tick[key]:.2f}" for key in ("mean", "p50", "p95", "max")),
            f"{row['period_ms']['mean']:.2f}",
            f"{row['hz']:.1f}",
            *(f"{row['stage_ms'][stage]:.2f}" for stage in PARTS),
            f"{row['passes']:.2f}",
            f"{row['fresh_share']:.0%}",
            f"{row['age_mean']:.1f}",
            f"{row['equal_tokens']:.1%}",
            "" if error is None else f"{error:.1e}",
        )
    return made


def line(name: str, row: dict[str, Any]) -> str:
    """One row as a line of text."""
    latency, period = row["latency_ms"], row["period_ms"]
    times = f"{latency['mean']:.2f} ms (p95 {latency['p95']:.2f}), period {period['mean']:.2f} ms, {row['hz']:.1f} Hz"
    error = "" if row["logit_error"] is None else f", logits within {row['logit_error']:.1e}"
    return f"{name}: {times}, {row['passes']:.2f} passes, {row['equal_tokens']:.1%} of tokens equal{error}"


def plot(content: dict[str, Any], path: Path, title: str) -> None:
    """Draw a bar per row, made of its stages; lines where the rooflines put a tick of one pass."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 5.5), layout="constrained")
    names = list(content["rows"])
    left = [0.0] * len(names)
    for stage in PARTS:
        width = [content["rows"][name]["stage_ms"][stage] for name in names]
        axes.barh(names, width, left=left, label=stage)
        left = [a + b for a, b in zip(left, width, strict=True)]
    for name, end in zip(names, left, strict=True):
        tick = content["rows"][name]["latency_ms"]
        axes.annotate(f" {tick['mean']:.1f} ms", (end, name), va="center", fontsize=9)
    for (quantisation, floor), style in zip(content["one_pass_floor_ms"].items(), (":", "--"), strict=False):
        label = f"roofline of one pass, {_weights(content, quantisation)}: {floor['total']:.1f} ms"
        axes.axvline(floor["total"], color="black", linestyle=style, label=label)
    axes.invert_yaxis()
    axes.set_xlabel("latency, image in to action out [ms]: medians of the stages, labelled with the mean of the whole")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def plot_passes(content: dict[str, Any], path: Path, title: str) -> None:
    """Draw what a pass takes by its number of rows."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for quantisation, kinds in content["passes_ms"].items():
        for (kind, times), marker in zip(kinds.items(), ("o", "x"), strict=True):
            label = f"{kind}, {_weights(content, quantisation)}"
            axes.plot([int(rows) for rows in times], list(times.values()), marker=marker, label=label)
    axes.set_xlabel("rows of the pass")
    axes.set_ylabel("time of one pass [ms], median")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _weights(content: dict[str, Any], quantisation: str) -> str:
    return str(content["about"]["dtype"]) if quantisation == "none" else quantisation
