"""Things said again and again, as spans of time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from .run import Span

PATIENCE = 3  # times that what holds for a while may be late


class Said(NamedTuple):
    """What was said when [s]; empty words end what was said before. level: of diagnostics."""

    time: float
    words: str
    level: int = 0


def kind(words: str) -> str:
    """Words without their numbers: lines that differ in those alone tell the same."""
    return re.sub(r"[0-9.]+", "#", words)


def lasting(
    said: Iterable[Said], who: str, end: float, each: float = math.inf, same: Callable[[str], str] = kind
) -> list[Span]:
    """What was said as spans, in its first words: each lasts until something else is said, at last until `end` [s].

    each: seconds that a word holds for, unless it is said again in time; same: what words must agree in.
    """
    spans: list[Span] = []
    lasts: Span | None = None
    for one in [*said, Said(end, "")]:
        if lasts is not None:
            silent = one.time - lasts.end > PATIENCE * each
            if not silent and one.words and same(one.words) == same(lasts.words):
                lasts = replace(lasts, end=one.time, level=max(lasts.level, one.level))
                continue
            spans.append(replace(lasts, end=min(lasts.end + each, one.time) if silent else one.time))
        lasts = Span(one.time, one.time, who, one.words, one.level) if one.words else None
    return spans


class Series(NamedTuple):
    """Spans of one kind that follow each other closely: the first and the last one, how often, and seconds in all."""

    first: Span
    last: Span
    times: int
    seconds: float


def series(spans: Iterable[Span], apart: float) -> list[Series]:
    """Spans of the same source and kind, as series whose members are at most `apart` [s], in the order they begin."""
    found: list[Series] = []
    newest: dict[tuple[str, str], int] = {}
    for span in spans:
        place = newest.get((span.who, kind(span.words)))
        if place is not None and span.begin - found[place].last.end <= apart:
            before = found[place]
            found[place] = Series(before.first, span, before.times + 1, before.seconds + span.seconds)
        else:
            newest[span.who, kind(span.words)] = len(found)
            found.append(Series(span, span, 1, span.seconds))
    return found
