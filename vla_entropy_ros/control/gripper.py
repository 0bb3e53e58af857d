"""A gripper that changes its side no sooner than it may."""

from __future__ import annotations

import math

MIDDLE = 0.5  # opening below which a gripper is closing


class GripperHold:
    """Keeps a side, open or closed, for a least time; what is asked meanwhile counts when the time is over."""

    def __init__(self) -> None:
        self._passed: float | None = None  # opening
        self._changed = -math.inf  # when the side changed last [s]

    def hold(self, opening: float | None, now: float, hold_time: float) -> float | None:
        """Opening [0..1] at `now` [s] where `opening` is asked for; hold_time: least time on a side [s], 0 for none."""
        if opening is None or hold_time <= 0.0:
            self._passed = opening
            return opening
        if self._passed is None or (opening < MIDDLE) == (self._passed < MIDDLE):
            self._passed = opening
        else:
            self._changed = min(self._changed, now)  # time went back
            if now - self._changed >= hold_time:
                self._passed, self._changed = opening, now
        return self._passed
