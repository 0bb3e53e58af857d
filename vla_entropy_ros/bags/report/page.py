"""The page: one file of HTML with everything in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...draw import COLOURS, NAMES
from . import lanes, timeline, words
from .found import TOTAL
from .lanes import LEVEL_WORDS, LONGEST, shortened
from .moments import APART, Moment
from .run import Run
from .spans import series

TEMPLATE = "page.html"
MOST_ROWS = 100  # of a table
AGAIN = 10.0  # seconds: a warning that comes back so soon is the same one
SHORT = 100  # signs of a text below a picture
MOST_TOLD = 3  # instructions in the title
GREY = (70, 76, 84)  # of what is reused, as in the overlay's legend
CHIP, PIN = 16.0, 2.4  # percent of the timeline that a parameter's chip and a picture's number take


def render(
    run: Run, bag: str, began: int | None, moments: Sequence[Moment], pictures: Sequence[bytes | str], left_out: int
) -> str:
    """The page as text. bag: its name; pictures: a JPEG file of each moment, or why there is none."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "page"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    axis, figures = timeline.Axis(run.duration), run.figures()
    content = {
        "bag": shortened(bag),
        "date": words.date(began),
        "policy": run.topics.policy,
        "modes": [shortened(mode) for mode in run.modes],
        "instructions": [shortened(text) for text in figures["instructions"][:MOST_TOLD]],
        "further": len(figures["instructions"][MOST_TOLD:]),
        "tiles": words.tiles(run, figures),
        "untold": [*run.notes, *run.missing],
        "cards": [_card(moment, picture) for moment, picture in zip(moments, pictures, strict=True)],
        "left_out": left_out,
        "names": NAMES,
        "colours": _colours(),
        **_timeline(run, axis, moments),
        **_tables(run),
    }
    return environment.get_template(TEMPLATE).render(content)


def _timeline(run: Run, axis: timeline.Axis, moments: Sequence[Moment]) -> dict[str, Any]:
    panels = (
        timeline.latency(run, axis),
        timeline.tokens(run, axis),
        timeline.oldest(run, axis),
        timeline.entropy(run, axis),
    )
    shown = timeline.thinned(run.ticks, lambda tick: tick.numbers.get(TOTAL, 0.0))
    return {
        "duration": axis.duration,
        "lanes": lanes.lanes(run, axis),
        "bands": lanes.bands(run, axis),
        "episodes": lanes.episodes(run, axis),
        "panels": [panel for panel in panels if panel is not None],
        "axis": [(text, left) for text, left in timeline.round_numbers(axis.duration, 8)],
        "chips": _rows(
            [(mark, change.line) for mark, change in zip(lanes.marks(run, axis), run.changes, strict=False)], CHIP
        ),
        "pins": _rows([(pin, pin.style) for pin in lanes.pins(moments, axis)], PIN),
        "hover": [[axis.percent(tick.time), "\n".join(words.lines(tick))] for tick in shown],
        "thinned": len(run.ticks) - len(shown),
    }


def _rows(marks: Sequence[tuple[timeline.Mark, str]], width: float) -> list[dict[str, Any]]:
    """Marks with the row that each stands in, so that none lies on another; width: what one takes [%]."""
    ends: list[float] = []
    placed = []
    for mark, text in marks:
        begin = min(mark.left, 100 - width)
        row = next((number for number, end in enumerate(ends) if end <= begin), len(ends))
        ends[row : row + 1] = [begin + width]
        placed.append(
            {
                "left": mark.left,
                "row": row,
                "text": shortened(text, 40),
                "words": mark.words,
                "last": mark.left > 100 - width,
            }
        )
    return placed


def _card(moment: Moment, picture: bytes | str) -> dict[str, Any]:
    """A moment as it is shown: its picture as a data URI, or why there is none."""
    tick = moment.tick
    is_drawn = isinstance(picture, bytes)
    return {
        "picture": "data:image/jpeg;base64," + base64.b64encode(picture).decode() if isinstance(picture, bytes) else "",
        "why_not": "" if is_drawn else picture,
        "place": words.place(tick),
        "facts": [line for line in (words.took(tick), words.tokens(tick), words.unsure(tick)) if line],
        "causes": [(cause.kind, shortened(cause.words, SHORT)) for cause in moment.causes],
    }


def _tables(run: Run) -> dict[str, Any]:
    """Rows of the tables, texts shortened."""
    rows: Mapping[str, Sequence[tuple[str, ...]]] = {
        "goals": [
            (str(goal.number), f"{goal.begin:.2f}", f"{goal.end - goal.begin:.2f}", goal.instruction, goal.state,
             goal.why, goal.until, "" if goal.ticks is None else str(goal.ticks))
            for goal in run.goals
        ],
        "holds": [
            (f"{one.first.begin:.2f}", f"{one.last.end:.2f}", f"{one.seconds:.2f}", str(one.times), one.first.who,
             one.first.words)
            for one in series(run.holds, APART)
        ],
        "changes": [
            (f"{change.time:.2f}", change.node, change.name, change.old or "not in the bag", change.new or "removed")
            for change in run.changes
        ],
        "warnings": [
            (f"{one.first.begin:.2f}", f"{one.last.end:.2f}", str(one.times),
             LEVEL_WORDS.get(one.first.level, str(one.first.level)), one.first.who, one.first.words)
            for one in series(run.warnings, AGAIN)
        ],
    }  # fmt: skip
    tables = {
        name: {"rows": [[shortened(text) for text in row] for row in told[:MOST_ROWS]], "more": len(told) - MOST_ROWS}
        for name, told in rows.items()
    }
    begins = {
        node: sorted((name, shortened(value, LONGEST // 2)) for name, value in told.items())
        for node, told in run.begins.items()
    }
    return {"tables": tables, "begins": begins}


def _colours() -> dict[int, str]:
    """Colours of the overlay by code, as CSS writes them."""
    return {code: f"rgb({red} {green} {blue})" for code, (red, green, blue) in ({0: GREY} | COLOURS).items()}
