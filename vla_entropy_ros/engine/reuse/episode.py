"""Where in an episode the policy is, and what ends one."""

from __future__ import annotations

from ..observation import NEW_EPISODE, Observation, View, interruption, view_of


class Episode:
    """Ticks since the episode began, ticks of the schedule, and why the next tick computes everything, if it does."""

    def __init__(self) -> None:
        self.begin(NEW_EPISODE)

    def begin(self, reason: str) -> None:
        """Start over; the next tick computes everything because of `reason`."""
        self.reason: str | None = reason
        self.tick = 0
        self.t = 0  # the paper's t: restarts with each instruction
        self._last: tuple[View, str] | None = None  # what was seen and asked

    def interruption(self, observation: Observation, max_gap: float) -> str | None:
        """Why `observation` cannot continue the episode, or None; max_gap: longest time between two of them [s]."""
        return None if self._last is None else interruption(self._last[0], view_of(observation), max_gap)

    def follow(self, observation: Observation) -> bool:
        """Take note of an observation that continues the episode; True for a new instruction.

        That restarts the schedule.
        """
        instructed = self._last is not None and observation.instruction != self._last[1]
        if instructed:
            self.restart_schedule()
        self._last = (view_of(observation), observation.instruction)
        return instructed

    def restart_schedule(self) -> None:
        """Look at the whole scene again."""
        self.t = 0

    def advance(self) -> None:
        """A tick is done."""
        self.tick += 1
        self.t += 1
        self.reason = None
