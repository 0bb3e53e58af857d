"""The stages of a tick: their names, told once, and how long each took."""

from __future__ import annotations

PARTS = ("preprocess", "vision", "select", "prefill", "decode")  # what the engine times, one stage after the other
TIMED = (*PARTS, "total")
STAGES = ("capture_age", *TIMED)  # what the policy node publishes: before them, how old the image was


def milliseconds(timings: object) -> dict[str, float]:
    """Duration of each stage and of the whole [ms], of the engine's Timings [s]."""
    return {name: getattr(timings, name) * 1e3 for name in TIMED}
