"""The stages of a tick: their names, told once, and how long each took."""

from __future__ import annotations

from dataclasses import fields

from ..engine import Timings

TIMED = tuple(field.name for field in fields(Timings))  # what the engine times: one stage after the other, then the sum
PARTS = tuple(name for name in TIMED if name != "total")
STAGES = ("capture_age", *TIMED)  # what the policy node publishes: before them, how old the image was


def milliseconds(timings: Timings) -> dict[str, float]:
    """Duration of each stage and of the whole [ms]."""
    return {name: getattr(timings, name) * 1e3 for name in TIMED}
