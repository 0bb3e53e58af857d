"""The benchmark's tables and picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..evaluation.configurations import DEFAULT, FORMER
from ..stages import PARTS

COLUMNS = (
    "configuration", "tick p50", "p95", "max", "x", "x generate", "prepare", "vision", "select", "prefill", "decode",
    "passes", "drafts right", "fresh", "age mean / max", "equal ticks", "off [mm]", "off [mrad]", "off else",
    "paper GMAC", "true GFLOP", "7B: TMAC", "7B: TFLOP",
)  # fmt: skip
PAIRED_COLUMNS = (
    "configuration", "equal ticks", "points", "95 % interval", "won / lost", "p", "fresh, points",
    "rows p50 / p95 / p99 / max", "jitter, reusing / all",
)  # fmt: skip
NAMES = ("configuration", "knob")  # columns of words
WIDTH = 300  # characters of the table where there is no terminal
SMALLEST = 0.001  # a smaller p says nothing more
Record = dict[str, Any]


def table(records: Sequence[Record], title: str) -> Table:
    """One row per configuration; times in milliseconds; off: mean deviation of the action from full recomputation."""
    return drawn(title, COLUMNS, _rows(records))


def paired_table(records: Sequence[Record]) -> Table:
    """One row per configuration: against the former default, where it was run, or full recomputation, tick by tick.

    jitter: p95 / p50 of the tick.
    """
    title = f"tick by tick against {_other(records)}; rows: fresh visual tokens of ticks that reuse any"
    return drawn(title, PAIRED_COLUMNS, _paired_rows(records))


def markdown(records: Sequence[Record]) -> str:
    """Both tables for a document."""
    tables = ((COLUMNS, _rows(records)), (PAIRED_COLUMNS, _paired_rows(records)))
    made = (
        "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows)) for head, rows in tables
    )
    return f"\nTick by tick against {_other(records)}:\n\n".join(made)


def drawn(title: str, head: Sequence[str], rows: Iterable[list[str]]) -> Table:
    """Draw a table for a terminal: names to the left, figures to the right."""
    made = Table(title=title)
    for name in head:
        made.add_column(escape(name), justify="left" if name in NAMES else "right")
    for row in rows:
        made.add_row(*row)
    return made


def _other(records: Sequence[Record]) -> str:
    return FORMER if records[0]["against"][FORMER] else "full recomputation"


def _paired_rows(records: Sequence[Record]) -> Iterator[list[str]]:
    for record in records:
        told, rows, jitter = record["against"][FORMER] or record["against"]["full"], record["rows"], record["jitter"]
        spread = told["interval95"]
        yield [
            record["name"],
            f"{record['equal_share']:.1%}",
            f"{told['difference_points']:+.1f}",
            "-" if spread is None else f"{spread[0]:+.1f} to {spread[1]:+.1f}",
            f"{told['won']} / {told['lost']}",
            f"< {SMALLEST:g}" if told["p"] < SMALLEST else f"{told['p']:.2g}",
            f"{told['fresh_points']:+.1f}",
            "-" if rows is None else " / ".join(f"{rows[name]:.0f}" for name in ("p50", "p95", "p99", "max")),
            " / ".join("-" if value is None else f"{value:.2f}" for value in (jitter["reusing"], jitter["all"])),
        ]


def _rows(records: Sequence[Record]) -> Iterator[list[str]]:
    for record in records:
        large, off = record["openvla_7b"], record["deviation"]
        right = record["accepted_drafts"]
        yield [
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
        ]


def _joined(off: dict[str, float], suffix: str, scale: float, digits: int) -> str:
    """Deviations whose names end so, times `scale`, in one cell."""
    return " ".join(f"{scale * value:.{digits}f}" for name, value in off.items() if name.endswith(suffix)) or "-"


def front_table(records: Sequence[Record], title: str) -> Table:
    """Show the best trade-offs alone: what is slower than another row is more often equal."""
    head = ("configuration", "tick p50", "p95", "max", "x", "passes", "fresh", "equal ticks")
    return drawn(title, head, map(_front_row, front(records)))


def _front_row(record: Record) -> list[str]:
    shares = (f"{record['fresh_share']:.0%}", f"{record['equal_share']:.1%}")
    return [record["name"], *_tick(record), f"{record['passes']:.2f}", *shares]


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
