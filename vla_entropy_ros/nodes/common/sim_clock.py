"""Whether a node's time goes on: simulated time may stand still, or never have begun."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...control.times import NO_CLOCK

STILL = 1.0  # seconds after which time that has not gone on stands still
LATE = 1.0  # seconds between two looks after which the node itself was held up, and has heard no /clock either


class Standstill:
    """Watches a node's time `now` [s] against the steady clock.

    Call `look` several times a second, on the thread that hears /clock. Time of the system never stands still, so this
    serves whatever use_sim_time is.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last: float | None = None
        self._since = self._looked = time.monotonic()

    def look(self) -> None:
        """See whether time has gone on."""
        now, steady = self._now(), time.monotonic()
        if now != self._last or steady - self._looked > LATE:
            self._last, self._since = now, steady
        self._looked = steady

    def problem(self) -> str | None:
        """Why time can't be relied on as of the last look, and what to do; None when it goes on."""
        still = self._looked - self._since
        if self._last is None or still <= STILL:
            return None
        if not self._last > 0.0:
            return NO_CLOCK
        return (
            f"/clock stands still at {self._last:.2f} s for {still:.1f} s: is the simulator paused or gone "
            "(ros2 topic info -v /clock)? Let it go on, or set use_sim_time:=false"
        )
