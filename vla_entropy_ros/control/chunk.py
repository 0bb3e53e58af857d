"""The action chunk a policy publishes, and what makes one unfit to execute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

PERIODS = (0.001, 60.0)  # seconds: an action that lasts longer is no motion, and would never be stale
FARTHEST = 1e3  # metres, radians: limits cut what is large, but no policy means this
LONGEST = 1000  # actions
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
    """Raise ChunkError unless `chunk` is a finite [H >= 1, 7] array in `frame` with a sound period."""
    shape, actions = np.shape(chunk.actions), chunk.actions
    if len(shape) != 2 or shape[1] != len(ACTION_NAMES) or not 1 <= shape[0] <= LONGEST:
        expected = f"[H >= 1, {len(ACTION_NAMES)}], at most {LONGEST} actions"
        raise ChunkError(f"chunk of shape {shape} refused: expected {expected}")
    if not np.isfinite(actions).all():
        raise ChunkError(f"chunk refused: not a finite number in {_columns(~np.isfinite(actions))}")
    if np.abs(actions).max() > FARTHEST:
        far, most = _columns(np.abs(actions) > FARTHEST), float(np.abs(actions).max())
        raise ChunkError(f"chunk refused: {far} up to {most:g}, valid is up to {FARTHEST:g} m or rad")
    if not PERIODS[0] <= chunk.period <= PERIODS[1]:
        low, high = PERIODS
        raise ChunkError(
            f"chunk refused: period {chunk.period} s, expected more than 0: {low:g} to {high:g} "
            "(time_from_start of its first point; the policy's control_period)"
        )
    if chunk.frame != frame:
        raise ChunkError(
            f"chunk refused: frame '{chunk.frame}', expected '{frame}': give policy and command node one action_frame"
        )


def _columns(bad: NDArray[np.bool_]) -> str:
    """Names of the columns in which something of `bad` [H, 7] holds."""
    return ", ".join(name for name, column in zip(ACTION_NAMES, bad.T, strict=True) if column.any())


def scaled(actions: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Actions [H, 7] with their motion scaled; the gripper's column stays as it is.

    Rotations are scaled as rotation vectors: angle by angle would change their axis.
    """
    if scale == 1.0:
        return actions
    result = actions.copy()
    result[:, :3] *= scale
    turns = Rotation.from_rotvec(Rotation.from_euler("xyz", actions[:, 3:6]).as_rotvec() * scale)
    result[:, 3:6] = turns.as_euler("xyz")
    return result


def blended(old: NDArray[np.float64], new: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Actions `new` [H, 7], mixed by `share` (0..1) with `old` [K, 7] as far as the two overlap."""
    overlap = min(len(old), len(new))
    if share <= 0.0 or overlap == 0:
        return new
    result = new.copy()
    result[:overlap] = (1.0 - share) * new[:overlap] + share * old[:overlap]
    result[:overlap, 6] = new[:overlap, 6]  # half a grip is no grip
    return result
