"""The action chunk a policy publishes, and what makes one unfit to execute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


class ChunkError(ValueError):
    """A chunk that must not be executed; the message is one line."""


@dataclass(frozen=True)
class ActionChunk:
    """Consecutive actions that answer one observation.

    stamp: time of the observation [s]; period: time one action lasts [s]; frame: where the deltas are expressed;
    actions [H, 7]: translation deltas [m], fixed-axis roll, pitch, yaw deltas [rad] (REP-103), gripper opening [0..1].
    """

    stamp: float
    period: float
    actions: NDArray[np.float64]
    frame: str

    @property
    def end(self) -> float:
        """Time at which the last action has run out [s]."""
        return self.stamp + self.period * len(self.actions)


def check_chunk(chunk: ActionChunk, frame: str) -> None:
    """Raise ChunkError unless `chunk` is a finite [H >= 1, 7] array in `frame` with a positive period."""
    shape = np.shape(chunk.actions)
    if len(shape) != 2 or shape[0] < 1 or shape[1] != len(ACTION_NAMES):
        raise ChunkError(f"chunk of shape {shape} refused: expected [H >= 1, {len(ACTION_NAMES)}]")
    if not np.isfinite(chunk.actions).all():
        bad = sorted({ACTION_NAMES[column] for column in np.argwhere(~np.isfinite(chunk.actions))[:, 1]})
        raise ChunkError(f"chunk refused: not a finite number in {', '.join(bad)}")
    if not (np.isfinite(chunk.period) and chunk.period > 0):
        raise ChunkError(f"chunk refused: period {chunk.period} s, expected more than 0")
    if chunk.frame != frame:
        raise ChunkError(f"chunk refused: frame '{chunk.frame}', expected '{frame}'")
