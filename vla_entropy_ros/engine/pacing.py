"""Which images become ticks: at most one per control period, and what a step in their stamps means."""

from __future__ import annotations

from enum import Enum

TOLERANCE = 0.25  # of the period: covers the jitter of a camera at the control rate
LATE = 1.0  # seconds: an image this much older than the last tick's is no late arrival, time has jumped back


class Verdict(Enum):
    """What to do with an image."""

    TICK = "tick"
    EARLY = "early"
    LATE = "late"
    JUMP = "jump"


class Pacer:
    """Remembers the last tick's stamp and the last image's."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._seen: float | None = None

    def judge(self, stamp: float, period: float) -> Verdict:
        """Verdict on an image of time `stamp` [s]; TICK and JUMP make it the last one."""
        step = float("inf") if self._last is None else stamp - self._last
        if -LATE < step < 0:
            return Verdict.LATE
        interval = 0.0 if self._seen is None else max(0.0, stamp - self._seen)  # of the camera
        self._seen = stamp
        if 0 <= step < period - min(TOLERANCE * period, interval / 2):  # the next image comes closer to the period
            return Verdict.EARLY
        self._last = stamp
        return Verdict.TICK if step > 0 else Verdict.JUMP

    def forget(self) -> None:
        """The next image is due whatever its stamp."""
        self._last = self._seen = None
