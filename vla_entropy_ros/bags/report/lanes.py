"""Lanes of the timeline: instructions, goals, what the arm did, warnings; and what happened at one instant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .moments import Moment
from .run import COMMAND, Goal, Run, Span
from .timeline import MOST_BARS, Axis, Bar, Lane, Mark, longest

LONGEST = 160  # signs of a text that came from a bag, on a bar or in a row
MOST_LANES = 6  # of warnings
MOST_MARKS = 100  # parameters
ENDS = {"done": "good", "running": "calm", "timed out": "warn", "cancelled": "quiet", "held": "bad"}
LEVELS = {1: "warn", 2: "bad", 3: "stale"}
LEVEL_WORDS = {1: "warning", 2: "error", 3: "stale"}
STATES = {"tracking": "good", "disabled": "quiet", "waiting": "calm", "holding": "bad", "no commands": "bad"}


def shortened(text: str, longest: int = LONGEST) -> str:
    """A text of at most so many signs."""
    return text if len(text) <= longest else text[: longest - 3].rstrip() + "..."


def lasted(span: Span) -> str:
    """From when to when, in words."""
    return f"{span.begin:.2f} to {span.end:.2f} s ({span.seconds:.2f} s)"


def lanes(run: Run, axis: Axis) -> list[Lane]:
    """All lanes that have anything."""
    told = [span for span in run.holds if span.who != COMMAND]
    every = [
        Lane("Goals", [_goal(goal, axis) for goal in run.goals[:MOST_BARS]]),
        Lane("Instruction", [_plain(axis, span, "instruction") for span in longest(run.instructions)]),
        Lane("Command node", [_state(axis, span) for span in longest(run.states)]),
        Lane("Holds", [_plain(axis, span, "bad") for span in longest(told)]),
        *_warnings(run, axis),
    ]
    return [lane for lane in every if lane.bars]


def bands(run: Run, axis: Axis) -> list[Bar]:
    """Holds, over everything."""
    return [axis.bar(span, "band", "", _words(span)) for span in longest(run.holds)]


def marks(run: Run, axis: Axis) -> list[Mark]:
    """Parameters that were set."""
    return [
        Mark(axis.percent(change.time), "set", shortened(f"{change.time:.2f} s, {change.node}: {change.line}"))
        for change in run.changes[:MOST_MARKS]
    ]


def episodes(run: Run, axis: Axis) -> list[Mark]:
    """Where episodes begin."""
    return [
        Mark(axis.percent(tick.time), "episode", f"episode {tick.numbers['episode']:.0f} begins at {tick.time:.2f} s")
        for tick in run.episodes[:MOST_BARS]
    ]


def pins(moments: Sequence[Moment], axis: Axis) -> list[Mark]:
    """The moments that are shown as pictures, numbered."""
    return [
        Mark(axis.percent(moment.tick.time), str(number), shortened("; ".join(cause.kind for cause in moment.causes)))
        for number, moment in enumerate(moments, start=1)
    ]


def _plain(axis: Axis, span: Span, style: str) -> Bar:
    return axis.bar(span, style, shortened(span.words), _words(span))


def _state(axis: Axis, span: Span) -> Bar:
    style = next((style for begin, style in STATES.items() if span.words.startswith(begin)), "calm")
    return axis.bar(span, style, shortened(span.words), _words(span))


def _goal(goal: Goal, axis: Axis) -> Bar:
    span = Span(goal.begin, goal.end, "goal", f"{goal.number}: {goal.instruction}")
    how = goal.state + (f", {goal.why}" if goal.why else "")
    return axis.bar(
        span, ENDS.get(goal.state, "quiet"), shortened(f"{span.words}: {how}"), f"{_words(span)}: {shortened(how)}"
    )


def _warnings(run: Run, axis: Axis) -> Iterator[Lane]:
    """A lane for each task that warned."""
    names = list(dict.fromkeys(span.who for span in run.warnings))
    for name in names[:MOST_LANES]:
        told = [span for span in run.warnings if span.who == name]
        styled = [(span, LEVELS.get(span.level, "bad")) for span in longest(told)]
        bars = [axis.bar(span, style, shortened(span.words), _words(span)) for span, style in styled]
        yield Lane(shortened(name, 40), bars)


def _words(span: Span) -> str:
    return shortened(f"{lasted(span)}, {span.who}: {span.words}", 2 * LONGEST)
