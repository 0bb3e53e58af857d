"""The knobs as a table and as pictures: what each value costs and keeps equal; an episode from tick to tick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..draw import COLOURS
from ..engine.reuse.selection import BY_ATTENTION, BY_VISUAL, CODES
from . import tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT_COLOUR = "tab:red"
COLUMNS = ("knob", "value", "tick p50", "prefill", "fresh", "equal ticks", "95 % interval")
Record = dict[str, Any]


def table(content: Record, title: str) -> Table:
    """One row per value of each knob, the default's marked by an asterisk; times in milliseconds."""
    rows = [_row("full recomputation", "", content["full"])]
    for knob, records in content["knobs"].items():
        rows += [_row(knob, record["value"] + (" *" if record["default"] else ""), record) for record in records]
    return tables.drawn(title, COLUMNS, rows)


def _row(knob: str, value: str, record: Record) -> list[str]:
    spread = record["equal_interval95"]
    return [
        knob,
        value,
        f"{record['tick_ms']:.2f}",
        f"{record['prefill_ms']:.2f}",
        f"{record['fresh_share']:.0%}",
        f"{record['equal_share']:.1%}",
        "-" if spread is None else f"{spread[0]:.1%} to {spread[1]:.1%}",
    ]


def plot_knobs(content: Record, path: Path, title: str) -> None:
    """A column of panels per knob: latency, fresh share, agreement with its 95 % interval; the default is marked."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    knobs, full = content["knobs"], content["full"]
    size = (2.9 * len(knobs), 8.0)
    figure, panels = pyplot.subplots(3, len(knobs), figsize=size, sharey="row", layout="constrained", squeeze=False)
    for column, (knob, records) in enumerate(knobs.items()):
        latency, fresh, agreement = panels[:, column]
        places = range(len(records))
        latency.plot(places, [record["tick_ms"] for record in records], "o-", color="tab:blue", label="tick")
        latency.plot(places, [record["prefill_ms"] for record in records], "s-", color="tab:cyan", label="prefill")
        latency.axhline(full["tick_ms"], color="tab:gray", linestyle=":", label="tick, full recomputation")
        fresh.plot(places, [100 * record["fresh_share"] for record in records], "o-", color="tab:green")
        _agreement(agreement, records)
        for axes in (latency, fresh, agreement):
            axes.set_xticks(list(places), [record["value"] for record in records], fontsize=8)
            axes.grid(alpha=0.3)
            for place in [place for place, record in enumerate(records) if record["default"]]:
                axes.axvline(place, color=DEFAULT_COLOUR, alpha=0.5, linestyle="--", label="default")
        latency.set_title(knob, fontsize=10)
    for axes, name in zip(
        panels[:, 0], ("median time [ms]", "fresh tokens [%]", "ticks as full recomputation [%]"), strict=True
    ):
        axes.set_ylabel(name)
    panels[0][0].set_ylim(bottom=0)
    panels[0][0].legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _agreement(axes: Axes, records: Sequence[Record]) -> None:
    for place, record in enumerate(records):
        share, spread = 100 * record["equal_share"], record["equal_interval95"]
        if spread is not None:
            axes.vlines(place, 100 * spread[0], 100 * spread[1], color="tab:purple", linewidth=1.5)
        axes.plot(place, share, "o", color=DEFAULT_COLOUR if record["default"] else "tab:purple")
    axes.plot([100 * record["equal_share"] for record in records], color="tab:purple", alpha=0.4)


def plot_course(courses: Sequence[Record], path: Path, title: str) -> None:
    """A column per T: the budgets in force above, the fresh tokens by reason below, over the ticks of one episode."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    colours = {code: tuple(level / 255 for level in COLOURS[code]) for code in CODES[1:]}  # the overlay's
    size = (4.6 * len(courses), 6.5)
    figure, panels = pyplot.subplots(2, len(courses), figsize=size, sharey="row", layout="constrained", squeeze=False)
    for column, course in enumerate(courses):
        budgets, fresh = panels[:, column]
        ticks = range(len(course["reason"]))
        for name, label, code in (("k_vis", "visual", BY_VISUAL), ("k_attn", "attention", BY_ATTENTION)):
            values = [float("nan") if value is None else value for value in course[name]]
            budgets.plot(ticks, values, drawstyle="steps-mid", label=f"{name} ({label})", color=colours[code])
        reasons = course["fresh"]
        fresh.stackplot(ticks, list(reasons.values()), labels=list(reasons), step="mid", colors=list(colours.values()))
        for axes in (budgets, fresh):
            axes.grid(alpha=0.3)
            axes.set_ylim(bottom=0)
        fresh.set_xlabel("tick of the episode")
        budgets.set_title(f"T = {course['T']}" + (" (default)" if course["default"] else ""), fontsize=10)
    panels[0][0].set_ylabel("budget in force [tokens]")
    panels[1][0].set_ylabel("fresh visual tokens, by reason")
    panels[0][-1].legend(fontsize=8, frameon=False)
    panels[1][-1].legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
