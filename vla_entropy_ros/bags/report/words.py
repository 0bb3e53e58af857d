"""A tick, and what a run comes to, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ...draw import NAMES
from ...stages import PARTS
from .found import TOTAL
from .lanes import shortened
from .run import ENTROPY, FRESH, OLDEST, PERIOD, REUSED, TIMES, Run, Tick

SHOWN_STAGE = 0.05  # milliseconds: a shorter stage is not worth a word
FIRST_DATE = 10**18  # nanoseconds since 1970: an earlier time is no date, but a simulator's


class Tile(NamedTuple):
    """A figure at the head of the page: its name, its value, and what is to be known of it."""

    name: str
    value: str
    more: str
    style: str = ""


def place(tick: Tick) -> str:
    """When a tick was, and which one."""
    told = tick.numbers
    which = f", tick {told['tick']:.0f} of episode {told['episode']:.0f}" if {"tick", "episode"} <= told.keys() else ""
    return f"{tick.time:.2f} s{which}"


def cost(tick: Tick) -> str:
    """How long it took, and in which stages; empty where that is not known."""
    parts = [
        f"{name} {tick.numbers[key]:.1f}"
        for name, key in zip(PARTS, TIMES, strict=True)
        if tick.numbers.get(key, 0.0) >= SHOWN_STAGE
    ]
    return took(tick) + (f" ({', '.join(parts)})" if parts and TOTAL in tick.numbers else "")


def took(tick: Tick) -> str:
    """How long it took; empty where that is not known."""
    if TOTAL not in tick.numbers:
        return ""
    period = f" of {tick.numbers[PERIOD]:.0f}" if PERIOD in tick.numbers else ""
    return f"{tick.numbers[TOTAL]:.1f}{period} ms" + (", late" if tick.is_late else "")


def tokens(tick: Tick) -> str:
    """How many tokens were fresh, and why; empty where that is not known."""
    if FRESH not in tick.numbers:
        return ""
    fresh, every = tick.numbers[FRESH], tick.numbers[FRESH] + tick.numbers.get(REUSED, 0.0)
    why = ", ".join(f"{count} {NAMES[code]}" for code, count in tick.by_code.items() if count and code)
    age = f"; the oldest reused is {tick.numbers[OLDEST]:.0f} ticks old" if tick.numbers.get(OLDEST) else ""
    return f"{fresh:.0f} of {every:.0f} tokens fresh" + (f" ({why})" if why else "") + age


def remarks(tick: Tick) -> str:
    """Why everything was fresh, why it was held, how unsure the policy was; empty where nothing is known of it."""
    said = [
        f"{name}: {shortened(text)}"
        for name, key in (("all fresh", "reason"), ("held", "hold"))
        if (text := tick.says(key))
    ]
    return "; ".join([*said, unsure(tick)] if unsure(tick) else said)


def unsure(tick: Tick) -> str:
    """How unsure the policy was; empty where that is not known."""
    return f"action entropy {tick.numbers[ENTROPY]:.2f}" if ENTROPY in tick.numbers else ""


def lines(tick: Tick) -> list[str]:
    """All of it, a line each."""
    return [line for line in (place(tick), cost(tick), tokens(tick), remarks(tick)) if line]


def date(began: int | None) -> str:
    """When the bag began; empty where its clock is none of this world's."""
    if began is None or began < FIRST_DATE:
        return ""
    return datetime.fromtimestamp(began * 1e-9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def tiles(run: Run, figures: Mapping[str, Any]) -> list[Tile]:
    """The figures at the head of the page, of what is known."""
    return [tile for tile in (_duration(run), *_ticks(figures), *_work(run, figures)) if tile.value]


def _duration(run: Run) -> Tile:
    minutes, seconds = divmod(round(run.duration), 60)
    value = f"{minutes}:{seconds:02} min" if minutes else f"{run.duration:.1f} s"
    return Tile("duration", value, "first to last message")


def _ticks(figures: Mapping[str, Any]) -> Sequence[Tile]:
    count, total, share = figures["ticks"], figures["total_ms"], figures["fresh_share"]
    if not count:
        return []
    period = ", ".join(f"{value:g}" for value in figures["control_period_ms"])
    late = figures["late"]
    return [
        Tile("ticks", f"{count}", ""),
        Tile("tick, median", f"{total['p50']:.1f} ms" if total else "", "half were quicker"),
        Tile(
            "tick, p95",
            f"{total['p95']:.1f} ms" if total else "",
            f"longest {total['max']:.1f} ms" if total else "",
        ),
        Tile("late", f"{late}" if period else "", f"{late / count:.1%} above {period} ms", "bad" if late else "good"),
        Tile("fresh tokens", f"{share:.1%}" if share is not None else "", "of all tokens"),
    ]


def _work(run: Run, figures: Mapping[str, Any]) -> Sequence[Tile]:
    ends = Counter(goal.state for goal in run.goals)
    held = sum(span.seconds for span in run.holds)
    told = ", ".join(f"{count} {state}" for state, count in ends.items())
    return [
        Tile("episodes", f"{figures['episodes'] or ''}", ""),
        Tile("goals", f"{len(run.goals) or ''}", told, "good" if run.goals and ends["done"] == len(run.goals) else ""),
        Tile("holds", f"{len(run.holds)}" if run.holds else "", f"{held:.1f} s in all", "bad"),
        Tile("parameters set", f"{len(run.changes) or ''}", ""),
    ]
