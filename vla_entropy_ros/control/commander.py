"""Action chunks in, the pose command of this instant out; no chunk, no motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chunk import ActionChunk, ChunkError, check_chunk
from .pose import Limits, Pose, integrate, interpolate, leash

NO_CHUNK = "no chunk yet"
SLACK = 1e-6  # seconds: rounding of stamps must not make an action start twice


@dataclass(frozen=True)
class Command:
    """What the arm is told now; state is 'idle', 'tracking' or 'holding', reason says why when it is not tracking.

    opening is the gripper's opening [0..1], or None as long as no action has said anything about it.
    """

    pose: Pose
    opening: float | None
    state: str
    reason: str = ""


class Commander:
    """Turns chunks into a smooth pose target at any rate, inside limits.

    An action starts when its chunk arrives and moves the target over one period. A later chunk takes over at the next
    command, its actions that lie wholly in the past skipped. `stale_after` [s] after the last action has run out, or
    after a malformed chunk, the target is held where the arm is.
    """

    def __init__(self, limits: Limits, frame: str, stale_after: float) -> None:
        self.limits = limits
        self.frame = frame
        self.stale_after = stale_after
        self._goal: Pose | None = None  # where the running action ends
        self._start: Pose | None = None  # where it began
        self._began = 0.0
        self._period = 0.0
        self._pending: list[np.ndarray] = []
        self._opening: float | None = None
        self._deadline: float | None = None
        self._last_stamp: float | None = None
        self._not_before = -np.inf
        self._reason = NO_CHUNK

    def anchor(self, pose: Pose, opening: float | None = None, not_before: float = -np.inf) -> None:
        """Forget all chunks and start over from `pose`; chunks observed before `not_before` [s] are refused."""
        self.stop(NO_CHUNK)
        self._goal = self._start = pose
        self._opening = opening if opening is not None else self._opening
        self._last_stamp = None
        self._not_before = not_before

    def stop(self, reason: str) -> None:
        """Drop what is running; the next command holds where the arm is."""
        self._goal = self._start = None
        self._pending.clear()
        self._deadline = None
        self._reason = reason

    def offer(self, chunk: ActionChunk, now: float) -> None:
        """Take over `chunk` at time `now` [s].

        Raises ChunkError when it is malformed or from another frame, which also stops the motion, and when it is out
        of order or too old, which does not: what runs goes on until it is stale itself.
        """
        try:
            check_chunk(chunk, self.frame)
        except ChunkError as error:
            self.stop(str(error))
            raise
        if chunk.stamp < self._not_before or (self._last_stamp is not None and chunk.stamp <= self._last_stamp):
            raise ChunkError("chunk refused: it answers an observation older than the last one")
        if now > chunk.end + self.stale_after:
            raise ChunkError(f"chunk refused: it ran out {now - chunk.end:.2f} s ago")
        self._last_stamp = chunk.stamp
        past = min(int((now - chunk.stamp + SLACK) / chunk.period), len(chunk.actions) - 1)
        self._pending = list(chunk.actions[past:])
        self._period = chunk.period
        self._began = now - chunk.period  # the first pending action starts at the next command
        self._deadline = now + chunk.period * len(self._pending) + self.stale_after
        self._reason = ""

    def command(self, now: float, measured: Pose) -> Command:
        """Command at time `now` [s], given the measured pose of the arm."""
        if self._deadline is not None and now > self._deadline:
            self.stop("chunks are stale")
        if self._goal is None or self._start is None:
            self._goal = self._start = measured
        while self._pending and now >= self._began + self._period - SLACK:
            self._begin(self._pending.pop(0), measured)
        share = (now - self._began) / self._period if self._period > 0 else 1.0
        pose = leash(interpolate(self._start, self._goal, min(max(share, 0.0), 1.0)), measured, self.limits)
        state = "tracking" if self._deadline is not None else "idle" if self._reason == NO_CHUNK else "holding"
        return Command(pose, self._opening, state, self._reason)

    def _begin(self, action: np.ndarray, measured: Pose) -> None:
        """Start one action from wherever the target stands."""
        assert self._goal is not None
        self._start = leash(self._goal, measured, self.limits)
        self._goal = integrate(self._start, action, self.limits)
        self._opening = float(np.clip(action[6], 0.0, 1.0))
        self._began += self._period
