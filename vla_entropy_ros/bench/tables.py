"""The benchmark's tables and picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ..evaluation.configurations import DEFAULT
from ..evaluation.stages import PARTS

COLUMNS = (
    "configuration", "tick p50", "p95", "max", "x", "x generate", "prepare", "vision", "select", "prefill", "decode",
    "passes", "drafts right", "fresh", "age mean / max", "equal ticks", "off [mm]", "off [mrad]", "off else",
    "paper GMAC", "true GFLOP", "7B: TMAC", "7B: TFLOP",
)  # fmt: skip
WIDTH = 300  # characters of the table where there is no terminal
Record = dict[str, Any]


def table(records: Sequence[Record], title: str) -> Table:
    """One row per configuration; times in milliseconds; off: mean deviation of the action from full recomputation."""
    made = Table(title=title)
    for name in COLUMNS:
        made.add_column(name, justify="left" if name == "configuration" else "right")
    for record in records:
        large, off = record["openvla_7b"], record["deviation"]
        right = record["accepted_drafts"]
        made.add_row(
            record["name"],
            *_tick(record),
            "-" if record["speedup_over_generate"] is None else f"{record['speedup_over_generate']:.2f}",
            *(f"{record['stage_ms'][name]:.2f}" for name in PARTS),
            f"{record['passes']:.2f}",
            "-" if right is None else f"{right:.0%}",
            f"{record['fresh_share']:.0%}",
            f"{record['age_mean']:.1f} / {record['age_max']}",
            f"{record['equal_share']:.1%}",
            _joined(off, "_m", 1e3, 2),
            _joined(off, "_rad", 1e3, 1),
            _joined({name: value for name, value in off.items() if not name.endswith(("_m", "_rad"))}, "", 1.0, 3),
            f"{record['paper_gmacs']:.3f}",
            f"{record['true_gflops']:.3f}",
            f"{large['paper_tmacs']:.3f}",
            f"{large['true_tflops']:.3f}",
        )
    return made


def _joined(off: dict[str, float], suffix: str, scale: float, digits: int) -> str:
    """Deviations whose names end so, times `scale`, in one cell."""
    return " ".join(f"{scale * value:.{digits}f}" for name, value in off.items() if name.endswith(suffix)) or "-"


def front_table(records: Sequence[Record], title: str) -> Table:
    """Show the best trade-offs alone: what is slower than another row is more often equal."""
    made = Table(title=title)
    for name in ("configuration", "tick p50", "p95", "max", "x", "passes", "fresh", "equal ticks"):
        made.add_column(name, justify="left" if name == "configuration" else "right")
    for record in front(records):
        shares = (f"{record['fresh_share']:.0%}", f"{record['equal_share']:.1%}")
        made.add_row(record["name"], *_tick(record), f"{record['passes']:.2f}", *shares)
    return made


def _tick(record: Record) -> list[str]:
    return [*(f"{record['tick_ms'][name]:.2f}" for name in ("p50", "p95", "max")), f"{record['speedup']:.2f}"]


def front(records: Sequence[Record]) -> list[Record]:
    """Find the Pareto front, fastest first: than these none is both as fast and as often equal, or better in one."""
    best: list[Record] = []
    for record in sorted(records, key=lambda record: (_speed(record), -record["equal_share"])):
        if not best or record["equal_share"] > best[-1]["equal_share"]:
            best.append(record)
    return best


def _speed(record: Record) -> float:
    return float(record["tick_ms"]["p50"])


def plot(records: Sequence[Record], path: Path, title: str) -> None:
    """Agreement against tick time: a point per configuration, numbered as in the list; the line of best trade-offs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    listed = len(records) <= 30  # a search has more: only the best are named
    best = front(records)
    figure, axes = pyplot.subplots(figsize=(13, 6.5), layout="constrained")
    for number, record in enumerate(records, start=1):
        name, x, y = record["name"], _speed(record), 100 * record["equal_share"]
        named = listed or record in best or name == DEFAULT
        label = f"{number}  {name}: {x:.1f} ms, {y:.0f} %" if named else None
        axes.scatter(x, y, s=90 if name == DEFAULT else 40, color=_colour(name), zorder=3, label=label)
        if named:  # labels of neighbours go to different sides
            beside = ((7, 4), (-12, 4), (7, -12), (-12, -12))[number % 4]
            axes.annotate(str(number), (x, y), textcoords="offset points", xytext=beside, fontsize=9)
    steps = [_speed(record) for record in best], [100 * record["equal_share"] for record in best]
    axes.plot(*steps, drawstyle="steps-post", color="tab:green", linewidth=1, zorder=2, label="best trade-offs")
    axes.set_xlabel("median tick, image in to action out [ms]")
    axes.set_ylabel("ticks that say the same as full recomputation [%]")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _colour(name: str) -> str:
    return "tab:gray" if name.startswith("full") else "tab:blue" if name.startswith(DEFAULT) else "tab:orange"
