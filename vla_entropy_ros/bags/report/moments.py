"""The ticks of a run that are worth looking at, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from .run import TOTAL, Run, Tick
from .spans import series

MOST = 24  # moments that are shown
FAR = 1.0  # seconds: a tick further from what happened does not show it
APART = 2.0  # seconds: holds of one kind that follow each other so closely are one story

SLOWEST, ENDED, HELD, SET = "slowest tick", "end of a goal", "hold", "parameter"
BEGUN, TOLD, FRESH = "new episode", "new instruction", "everything fresh"


class Cause(NamedTuple):
    """Why a tick is shown: its place among the ticks, a kind, and more words."""

    place: int
    kind: str
    words: str


@dataclass(frozen=True)
class Moment:
    """A tick that is shown, and why."""

    tick: Tick
    causes: tuple[Cause, ...]


def choose(run: Run, most: int = MOST) -> tuple[list[Moment], int]:
    """At most so many moments in the order of time, and how many are left out; the kinds take turns."""
    every = (_slowest, _ends, _holds, _changes, _episodes, _instructions, _fresh)
    kinds = [list(find(run)) for find in every] if run.ticks else []
    turns = [cause for turn in zip_longest(*kinds) for cause in turn if cause is not None]
    places = list(dict.fromkeys(cause.place for cause in turns))
    shown = sorted(places[:most])
    moments = [
        Moment(run.ticks[place], tuple(sorted((cause for cause in turns if cause.place == place), key=_order)))
        for place in shown
    ]
    return moments, len(places) - len(shown)


def _order(cause: Cause) -> int:
    """An episode's beginning comes first, what follows from it later."""
    return (BEGUN, TOLD, HELD, ENDED, SET, SLOWEST, FRESH).index(cause.kind)


def _slowest(run: Run) -> Iterator[Cause]:
    totals = [tick.numbers.get(TOTAL, -1.0) for tick in run.ticks]
    if (longest := max(totals)) >= 0:
        yield Cause(totals.index(longest), SLOWEST, f"{longest:.1f} ms")


def _ends(run: Run) -> Iterator[Cause]:
    for goal in run.goals:
        if goal.is_over and (place := _before(run, goal.end)) is not None:
            why = f": {goal.why}" if goal.why else ""
            yield Cause(place, ENDED, f"goal {goal.number} {goal.state}{why}")


def _holds(run: Run) -> Iterator[Cause]:
    for found in series(run.holds, APART):
        place = _before(run, found.first.begin)
        if place is not None:
            yield Cause(place, HELD, f"{found.first.who}: {found.first.words}")


def _changes(run: Run) -> Iterator[Cause]:
    for change in run.changes:
        if (place := _after(run, change.time)) is not None:
            yield Cause(place, SET, f"{change.node}: {change.line}")


def _episodes(run: Run) -> Iterator[Cause]:
    for tick in run.episodes:
        yield Cause(run.ticks.index(tick), BEGUN, f"episode {tick.numbers['episode']:.0f}")


def _instructions(run: Run) -> Iterator[Cause]:
    for span in run.instructions:
        if (place := _after(run, span.begin)) is not None:
            yield Cause(place, TOLD, span.words)


def _fresh(run: Run) -> Iterator[Cause]:
    """The first of several ticks in which everything was fresh for the same reason."""
    last = ""
    for place, tick in enumerate(run.ticks):
        reason = tick.says("reason")
        if reason and reason != last:
            yield Cause(place, FRESH, reason)
        last = reason


def _before(run: Run, time: float) -> int | None:
    """The last tick up to `time`, unless it is too long ago."""
    place = int(np.searchsorted(_times(run), time + 1e-9, side="right")) - 1
    return place if place >= 0 and time - run.ticks[place].time <= FAR else None


def _after(run: Run, time: float) -> int | None:
    """The first tick from `time` on, unless it came much later."""
    place = int(np.searchsorted(_times(run), time - 1e-9))
    return place if place < len(run.ticks) and run.ticks[place].time - time <= FAR else None


def _times(run: Run) -> list[float]:
    return [tick.time for tick in run.ticks]
