"""The figures of an evaluation as a picture: success against tick, per disturbance, and against latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .report import CALM, families, median, rounds

HEIGHT, WIDTH = 3.8, 3.6  # inches of a panel
LINES, MARKS = ("-", "--", ":", "-."), ("o", "s", "^", "D")
BESIDE = 0.015  # by which share of the latency points of several configurations are set apart
APART = 0.6  # of the space between two disturbances, over which the configurations' points are spread


def plot(figures: dict[str, Any], path: Path, title: str) -> None:
    """Draw a row of panels for each question the figures answer; intervals are Wilson's at 95 %."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    each = families(figures)
    further = [draw for name, draw in (("disturbances", _disturbed), ("live", _live)) if name in figures]
    figure = pyplot.figure(
        figsize=(max(WIDTH * len(each) + 2.6, 9.0), 0.8 + HEIGHT * (1 + len(further))), layout="constrained"
    )
    parts = figure.subfigures(1 + len(further), 1, squeeze=False)[:, 0]
    first = None
    for number, family in enumerate(each):
        first = parts[0].add_subplot(1, len(each), number + 1, sharey=first)
        _ticks(first, figures["configurations"], family)
    for part, draw in zip(parts[1:], further, strict=True):
        draw(part.add_subplot(), figures)
    handles, labels = parts[0].axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _point(axes: Any, x: float, record: dict[str, Any], number: int, **more: Any) -> None:
    """One success rate with its interval, in the colour of its configuration."""
    y, (low, high) = 100 * record["success_rate"], record["interval95"]
    spread = [[y - 100 * low], [100 * high - y]]
    form = more.pop("marker", MARKS[0])
    axes.errorbar(x, y, yerr=spread, fmt=form, color=f"C{number % 10}", capsize=3, alpha=0.85, **more)


def _ticks(axes: Any, configurations: dict[str, Any], family: str) -> None:
    """Success against the median tick, a point per configuration."""
    for number, (name, record) in enumerate(configurations.items()):
        x, mine = median(record), record["families"][family]
        if x is not None and mine["success_rate"] is not None:
            _point(axes, x, mine, number, label=name)
    axes.set_title(family, fontsize=10)
    axes.set_xlabel("median tick [ms]")
    axes.set_ylabel("success [%]")
    axes.grid(alpha=0.3)


def _disturbed(axes: Any, figures: dict[str, Any]) -> None:
    """Success under each disturbance, all families together."""
    by_round = rounds(figures)
    for place, made in enumerate(by_round.values()):
        for number, record in enumerate(made.values()):
            off = APART * ((number + 0.5) / len(made) - 0.5)
            _point(axes, place + off, record, number, markersize=4)
    names = ["undisturbed" if label == CALM else label for label in by_round]
    axes.set_title("under disturbances, in lock-step", fontsize=10)
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
    axes.set_ylabel("success, all families [%]")
    axes.grid(alpha=0.3, axis="y")


def _live(axes: Any, figures: dict[str, Any]) -> None:
    """Success against the median latency of an answer, a line per configuration and time that an action lasts."""
    lasting = sorted({record["late"]["action_s"] for made in figures["live"].values() for record in made.values()})
    for number, name in enumerate(figures["configurations"]):
        for style, action in enumerate(lasting):
            records = (made[name] for made in figures["live"].values())
            told = (r for r in records if r["late"]["action_s"] == action and r["late"]["answer_ms"])
            off = 1.0 + BESIDE * (number - (len(figures["configurations"]) - 1) / 2)
            met = sorted(((off * r["late"]["answer_ms"]["p50"], r) for r in told), key=lambda pair: pair[0])
            for x, record in met:
                _point(axes, x, record, number, markersize=5, marker=MARKS[style % len(MARKS)])
            xs, ys = [x for x, _ in met], [100 * record["success_rate"] for _, record in met]
            axes.plot(xs, ys, LINES[style % len(LINES)], color=f"C{number % 10}", alpha=0.6)
    for style, action in enumerate(lasting):
        form = LINES[style % len(LINES)] + MARKS[style % len(MARKS)]
        axes.plot([], [], form, color="grey", label=f"actions of {action:g} s")
    axes.legend(fontsize=8)
    axes.set_title("while the world goes on", fontsize=10)
    axes.set_xlabel("median latency of an answer [ms]")
    axes.set_ylabel("success, all families [%]")
    axes.grid(alpha=0.3)
