"""Ticks from topics of one number each, of a bag without `~/status`: by when they were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .found import PASSES, TOTAL
from .run import FRESH, NUMBERS, Tick

ANCHORS = (TOTAL, FRESH, PASSES)  # the first that there is tells when ticks were
NEAR = 0.05  # seconds between two numbers of one tick, at most


def ticks_of(numbers: Mapping[str, Sequence[tuple[int, float]]], began: int) -> list[Tick]:
    """Ticks of numbers by key, each with the time it was recorded [ns]; began: of the bag [ns]."""
    anchor = next((key for key in ANCHORS if numbers.get(key)), None)
    if anchor is None:
        return []
    times = [recorded for recorded, _ in numbers[anchor]]
    gaps = np.diff(times)
    near = min(NEAR * 1e9, float(np.median(gaps)) / 2) if len(gaps) else NEAR * 1e9
    found: list[dict[str, float]] = [{} for _ in times]
    for key in NUMBERS:
        for recorded, value in numbers.get(key, ()):
            place = nearest(times, recorded)
            if abs(times[place] - recorded) <= near:
                found[place][key] = value
    return [Tick((recorded - began) * 1e-9, recorded, None, told) for recorded, told in zip(times, found, strict=True)]


def nearest(times: Sequence[int], time: int) -> int:
    """Where in `times`, which are in order, the nearest one stands."""
    after = int(np.searchsorted(times, time))
    choices = [place for place in (after - 1, after) if 0 <= place < len(times)]
    return min(choices, key=lambda place: abs(times[place] - time))
