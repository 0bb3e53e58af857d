"""The benchmark's table and picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

COLUMNS = (
    "configuration", "tick p50", "p95", "max", "x", "vision", "select", "prefill", "decode", "passes", "fresh",
    "age mean / max", "equal ticks", "paper GMAC", "true GFLOP", "7B: TMAC", "7B: TFLOP",
)  # fmt: skip


def table(records: Sequence[dict[str, Any]], title: str) -> Table:
    """One row per configuration; times in milliseconds."""
    made = Table(title=title)
    for name in COLUMNS:
        made.add_column(name, justify="left" if name == "configuration" else "right")
    for record in records:
        tick, stage, large = record["tick_ms"], record["stage_ms"], record["openvla_7b"]
        made.add_row(
            record["name"],
            *(f"{tick[name]:.2f}" for name in ("p50", "p95", "max")),
            f"{record['speedup']:.2f}",
            *(f"{stage[name]:.2f}" for name in ("vision", "select", "prefill", "decode")),
            f"{record['passes']:.2f}",
            f"{record['fresh_share']:.0%}",
            f"{record['age_mean']:.1f} / {record['age_max']}",
            f"{record['equal_share']:.1%}",
            f"{record['paper_gmacs']:.3f}",
            f"{record['true_gflops']:.3f}",
            f"{large['paper_tmacs']:.3f}",
            f"{large['true_tflops']:.3f}",
        )
    return made


def plot(records: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Agreement against tick time, a point per configuration."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(12, 6.5), layout="constrained")
    for number, record in enumerate(records, start=1):
        name = record["name"]
        colour = "tab:gray" if name.startswith("full") else "tab:blue" if name.startswith("default") else "tab:orange"
        x, y = record["tick_ms"]["p50"], 100 * record["equal_share"]
        size = 90 if name == "default" else 40
        axes.scatter(x, y, s=size, color=colour, zorder=3, label=f"{number}  {name}: {x:.1f} ms, {y:.0f} %")
        # labels of neighbours go to different sides
        beside = ((7, 4), (-12, 4), (7, -12), (-12, -12))[number % 4]
        axes.annotate(str(number), (x, y), textcoords="offset points", xytext=beside, fontsize=9)
    axes.set_xlabel("median tick, image in to action out [ms]")
    axes.set_ylabel("ticks whose seven tokens equal full recomputation [%]")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
