"""The device's benchmark as table and bar chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from ...evaluation.stages import PARTS


def table(content: dict[str, Any], title: str) -> Table:
    """One line per row; times in milliseconds."""
    made = Table(title=title)
    for name in ("row", "mean", "p50", "p95", "max", "Hz", *PARTS, "passes", "fresh", "age"):
        made.add_column(name, justify="left" if name == "row" else "right")
    for name, row in content["rows"].items():
        tick = row["tick_ms"]
        made.add_row(
            name,
            *(f"{tick[key]:.2f}" for key in ("mean", "p50", "p95", "max")),
            f"{row['hz']:.1f}",
            *(f"{row['stage_ms'][stage]:.2f}" for stage in PARTS),
            f"{row['passes']:.2f}",
            f"{row['fresh_share']:.0%}",
            f"{row['age_mean']:.1f}",
        )
    return made


def plot(content: dict[str, Any], path: Path, title: str) -> None:
    """Draw a bar per row, made of its stages; a line where the roofline puts a tick of one pass."""
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
        tick = content["rows"][name]["tick_ms"]
        axes.annotate(f" {tick['mean']:.1f} ms", (end, name), va="center", fontsize=9)
    floor = content["one_pass_floor_ms"]["total"]
    axes.axvline(floor, color="black", linestyle=":", label=f"roofline of one pass, {floor:.1f} ms")
    axes.invert_yaxis()
    axes.set_xlabel("tick, image in to action out [ms]: medians of the stages, labelled with the mean of the whole")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
