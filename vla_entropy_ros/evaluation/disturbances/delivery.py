"""Pictures that get lost on their way, or come late."""

from __future__ import annotations

from .effect import Effect


class Dropped(Effect):
    """Some pictures never come."""

    punctual = False

    def delivery(self) -> float | None:
        """None for a share of `strength` of all."""
        return None if self.rng.random() < self.strength else 0.0


class Late(Effect):
    """Pictures come late, each by its own time, and so out of order."""

    punctual = False

    def delivery(self) -> float | None:
        """Up to `strength` seconds."""
        return float(self.rng.uniform(0.0, self.strength))
