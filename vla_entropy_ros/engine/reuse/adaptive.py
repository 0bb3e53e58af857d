"""An adaptive schedule (opt-in): motion, gripper events and uncertain actions drive the budgets and the time scale.

The paper names it as future work; the rule is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..actions.tokens import ACTION_NAMES
from ..tunables import Tunables

CALM, URGENT = 0.5, 1.5  # factors of k1, k2, row_budget and taper_rows when nothing happens, and when everything does
GRIPPER = ACTION_NAMES.index("gripper")
EVENT = 0.25  # change of the gripper's opening [share of its range] that counts as an event
MEMORY = 5  # ticks that an event keeps the budgets up


@dataclass
class Activity:
    """What the last ticks were like: share of changed patches, entropy of the action, ticks since a gripper event."""

    motion: float = 0.0
    uncertainty: float = 0.0
    since_event: int = MEMORY
    _opening: float | None = None

    @property
    def urgency(self) -> float:
        """0 calm to 1 urgent: the strongest of motion, uncertainty and a fading gripper event."""
        event = max(0.0, 1.0 - self.since_event / MEMORY)
        return float(np.clip(max(self.motion, self.uncertainty, event), 0.0, 1.0))

    def observe(self, static_share: float, entropy: NDArray[np.float64], action: NDArray[np.float64]) -> bool:
        """Take in one tick: share of static patches, token entropies [7], action [7]; True at a gripper event."""
        self.motion = 1.0 - static_share
        self.uncertainty = float(entropy.mean())
        opening = float(action[GRIPPER])
        event = self._opening is not None and abs(opening - self._opening) > EVENT
        self._opening = opening
        self.since_event = 0 if event else self.since_event + 1
        return event


def adapt(tunables: Tunables, activity: Activity, tokens: int) -> Tunables:
    """Tunables for the next tick: budgets from CALM to URGENT times their values, T shorter the more moves."""
    factor = CALM + (URGENT - CALM) * activity.urgency
    limits = {"k1": tokens // 2, "k2": tokens // 2, "row_budget": tokens, "taper_rows": tokens}
    budgets = {name: min(round(getattr(tunables, name) * factor), limit) for name, limit in limits.items()}
    T = max(1, round(tunables.T * (1.0 - 0.5 * activity.motion)))
    return replace(tunables, T=T, **budgets)
