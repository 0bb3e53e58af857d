"""A run over a shared axis of time: lanes of bars, panels of curves, as shapes in SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...draw import NAMES
from ...stages import PARTS
from .found import TOTAL
from .run import AGE, BUDGETS, ENTROPY, FRESH, OLDEST, PERIOD, REUSED, TIMES, Run, Span, Tick

WIDTH, HEIGHT = 1000.0, 100.0  # of a panel's own coordinates; the page stretches them
MOST_BARS = 2000  # ticks drawn in one panel, spans in a lane: a screen has no more columns
ROOM = 1.25  # of the axis above what it shows
MOST_PERIODS = 3.0  # control periods, or medians if those are longer, that the axis shows
RARE = 98.0  # percentile of what a panel shows whole: a few longer ticks are cut off, and marked
MOST_CUT = 30  # of those that are marked
ORDER = (1, 2, 3, 4, 6, 5, 0)  # codes of tokens from the bottom up, the reused ones at last


class Shape(NamedTuple):
    """A path, and its class in the page's style."""

    style: str
    path: str


class Mark(NamedTuple):
    """Something at one instant: where [% from the left], in which style, its words."""

    left: float
    style: str
    words: str


@dataclass(frozen=True)
class Panel:
    """Curves over time. unit: of the axis; axis: its numbers and where they stand [% from the bottom]."""

    title: str
    unit: str
    shapes: Sequence[Shape]
    axis: Sequence[tuple[str, float]]
    legend: Sequence[tuple[str, str]]
    cut: Sequence[Mark] = ()
    is_low: bool = False


class Bar(NamedTuple):
    """Something that lasted: from where and how wide [%], in which style, a short text on it, more words beside it."""

    left: float
    width: float
    style: str
    text: str
    words: str


@dataclass(frozen=True)
class Lane:
    """Bars over time."""

    title: str
    bars: Sequence[Bar]


class Axis:
    """Where times [s] stand from left to right."""

    def __init__(self, duration: float) -> None:
        self.duration = max(duration, 1e-3)

    def percent(self, time: float) -> float:
        """Percent from the left."""
        return round(100 * min(max(time / self.duration, 0.0), 1.0), 3)

    def across(self, time: float) -> str:
        """In a panel's own coordinates."""
        return f"{WIDTH * min(max(time / self.duration, 0.0), 1.0):.2f}"

    def bar(self, span: Span, style: str, text: str, words: str) -> Bar:
        """A span as a bar."""
        left = self.percent(span.begin)
        return Bar(left, round(self.percent(span.end) - left, 3), style, text, words)


def longest(spans: Sequence[Span]) -> list[Span]:
    """Of very many spans the longest ones, in order."""
    kept = sorted(range(len(spans)), key=lambda place: -spans[place].seconds)[:MOST_BARS]
    return [spans[place] for place in sorted(kept)]


def thinned(ticks: Sequence[Tick], weight: Callable[[Tick], float]) -> list[Tick]:
    """Of ticks that fall into one column the one of most weight."""
    if len(ticks) <= MOST_BARS:
        return list(ticks)
    begin, end = ticks[0].time, ticks[-1].time
    best: dict[int, Tick] = {}
    for tick in ticks:
        column = int((tick.time - begin) / max(end - begin, 1e-9) * MOST_BARS)
        if column not in best or weight(tick) > weight(best[column]):
            best[column] = tick
    return [best[column] for column in sorted(best)]


def latency(run: Run, axis: Axis) -> Panel | None:
    """Stages of each tick, one on the other, and the control period."""
    ticks = thinned([tick for tick in run.ticks if TOTAL in tick.numbers], lambda tick: tick.numbers[TOTAL])
    if not ticks:
        return None
    totals = [tick.numbers[TOTAL] for tick in ticks]
    periods = [tick.numbers[PERIOD] for tick in ticks if PERIOD in tick.numbers]
    usual = max([*periods, float(np.median(totals))])
    top = max(
        ROOM * max(periods, default=0.0), min(ROOM * float(np.percentile(totals, RARE)), MOST_PERIODS * usual), 1.0
    )
    stacks = [_stage_ends(tick) for tick in ticks]
    levels = [[tick_stack[number] for tick_stack in stacks] for number in range(len(PARTS) + 1)]
    shapes = _stack(axis, ticks, levels, [f"stage{number}" for number in range(len(PARTS) + 1)], top)
    shapes.append(_line(axis, ticks, AGE, top, "age"))
    shapes.append(_line(axis, ticks, PERIOD, top, "period"))
    cut = [
        Mark(axis.percent(tick.time), "cut", f"{tick.numbers[TOTAL]:.0f} ms at {tick.time:.2f} s")
        for tick in sorted(ticks, key=lambda tick: -tick.numbers[TOTAL])[:MOST_CUT]
        if tick.numbers[TOTAL] > top
    ]
    legend = [(f"stage{number}", name) for number, name in enumerate((*PARTS, "rest"))]
    legend += [("age", "age of the image when it began")] * any(AGE in tick.numbers for tick in ticks)
    return Panel(
        "Tick",
        "ms",
        _there(shapes),
        round_numbers(top),
        [*legend, *[("period", "control period")] * bool(periods)],
        cut,
    )


def tokens(run: Run, axis: Axis) -> Panel | None:
    """Fresh tokens by reason, above them the reused ones, and the budgets."""
    ticks = thinned([tick for tick in run.ticks if FRESH in tick.numbers], lambda tick: tick.numbers[FRESH])
    if not ticks:
        return None
    top = max(max(tick.numbers[FRESH] + tick.numbers.get(REUSED, 0.0) for tick in ticks), 1.0)
    ends = [np.cumsum([tick.by_code[code] for code in ORDER]).tolist() for tick in ticks]
    levels = [[end[number] for end in ends] for number in range(len(ORDER))]
    shapes = _stack(axis, ticks, levels, [f"code{code}" for code in ORDER], top)
    budgets = [sum(tick.numbers.get(key, 0.0) for key in BUDGETS) for tick in ticks]
    line = _steps(axis, ticks, [value or None for value in budgets], top, "budget")
    shapes += [line._replace(style="halo"), line]  # seen on any colour
    legend = [(f"code{code}", NAMES[code]) for code in ORDER]
    return Panel(
        "Tokens", f"of {top:.0f}", _there(shapes), round_numbers(top), [*legend, ("budget", "budgets k_vis + k_attn")]
    )


def oldest(run: Run, axis: Axis) -> Panel | None:
    """The longest age of what is reused."""
    return _curve(run, axis, OLDEST, "Oldest token", "ticks", 1.0)


def entropy(run: Run, axis: Axis) -> Panel | None:
    """How unsure the policy was of its actions."""
    return _curve(run, axis, ENTROPY, "Action entropy", "0 to 1", 0.05)


def _curve(run: Run, axis: Axis, key: str, title: str, unit: str, least: float) -> Panel | None:
    ticks = thinned([tick for tick in run.ticks if key in tick.numbers], lambda tick: tick.numbers[key])
    if not ticks:
        return None
    top = max(1.1 * max(tick.numbers[key] for tick in ticks), least)
    return Panel(title, unit, _there([_line(axis, ticks, key, top, "curve")]), round_numbers(top, 2), [], is_low=True)


def _stage_ends(tick: Tick) -> list[float]:
    """Where each stage ends [ms], one on the other; at last what is left of the total."""
    ends = np.cumsum([tick.numbers.get(key, 0.0) for key in TIMES]).tolist()
    return [*ends, max(tick.numbers[TOTAL], ends[-1])]


def _stack(
    axis: Axis, ticks: Sequence[Tick], levels: Sequence[Sequence[float]], styles: Sequence[str], top: float
) -> list[Shape]:
    """Bars one on the other, a path for each level; levels: where they end, per tick."""
    edges = _edges(ticks)
    shapes, below = [], [0.0] * len(ticks)
    for style, ends in zip(styles, levels, strict=True):
        parts = [
            f"M{axis.across(begin)} {_up(low, top)}V{_up(high, top)}H{axis.across(end)}V{_up(low, top)}z"
            for (begin, end), low, high in zip(edges, below, ends, strict=True)
            if min(high, top) > low
        ]
        shapes.append(Shape(style, "".join(parts)))
        below = list(ends)
    return shapes


def _edges(ticks: Sequence[Tick]) -> list[tuple[float, float]]:
    """From when to when each tick is drawn [s]: up to the next one, but no wider than is usual."""
    times = [tick.time for tick in ticks]
    gaps = np.diff(times)
    usual = 1.5 * float(np.median(gaps)) if len(gaps) else 0.1
    return [(time, time + min(gap, usual)) for time, gap in zip(times, [*gaps.tolist(), usual], strict=True)]


def _line(axis: Axis, ticks: Sequence[Tick], key: str, top: float, style: str) -> Shape:
    return _steps(axis, ticks, [tick.numbers.get(key) for tick in ticks], top, style)


def _steps(axis: Axis, ticks: Sequence[Tick], values: Iterable[float | None], top: float, style: str) -> Shape:
    """A line in steps, broken where there is no value."""
    path, before = "", None
    for (begin, end), value in zip(_edges(ticks), values, strict=True):
        if value is not None:
            joined = before is not None and begin - before < 1e-6
            path += f"{'V' if joined else f'M{axis.across(begin)} '}{_up(value, top)}H{axis.across(end)}"
        before = None if value is None else end
    return Shape(style, path)


def _up(value: float, top: float) -> str:
    """A value's place from the top, in a panel's own coordinates."""
    return f"{HEIGHT * (1 - min(max(value / top, 0.0), 1.0)):.1f}"


def _there(shapes: Iterable[Shape]) -> list[Shape]:
    return [shape for shape in shapes if shape.path]


def round_numbers(top: float, most: int = 4) -> list[tuple[str, float]]:
    """Round numbers of an axis from 0 to `top`, and where they stand [% from the bottom]."""
    from matplotlib.ticker import MaxNLocator

    values = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(0.0, top)
    return [(f"{value:g}", round(100 * value / top, 2)) for value in values if 0 <= value <= top]
