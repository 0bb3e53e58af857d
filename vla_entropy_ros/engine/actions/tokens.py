"""Action token ids -> action in SI units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ActionError, CheckpointError
from ..files import listed, plain, shown

BINS = 256
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
EDGES = np.linspace(-1.0, 1.0, BINS)
MOST_ACTION = 1000.0  # metres or radians in one action: what is larger is no statistics of a robot
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2  # [255]


class ActionSpace:
    """Bins and ranges of the action tokens.

    `vocabulary` (V): ids V - 256 to V - 1 are actions, counting down from bin 0. Raises CheckpointError if the
    statistics of `unnorm_key` (empty: the only ones) are missing or unusable.
    """

    def __init__(self, vocabulary: int, norm_stats: Mapping[str, Any], unnorm_key: str | None) -> None:
        self.keys = tuple(norm_stats)
        self.key = self._choose(unnorm_key)
        self.first_id, self.last_id = vocabulary - BINS, vocabulary - 1
        self._q01, self._q99, self._mask = _ranges(self.key, norm_stats[self.key])

    def _choose(self, key: str | None) -> str:
        valid = f"valid are {listed(self.keys)}" if self.keys else "this checkpoint has no action statistics"
        if not key:
            if len(self.keys) != 1:
                raise CheckpointError(f"unnorm_key must be given: {valid}")
            return self.keys[0]
        if key not in self.keys:
            raise CheckpointError(f"unknown unnorm_key '{key}': {valid}")
        return key

    @property
    def range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Least and greatest value of each column of an action: q01 and q99 of the data set, where it scales them."""
        low, high = np.where(self._mask, self._q01, -1.0), np.where(self._mask, self._q99, 1.0)
        return tuple(low.tolist()), tuple(high.tolist())

    def decode(self, tokens: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """Actions [H, 7] (m, rad, gripper as stored) of H * 7 token ids; ActionError if one is no action token."""
        ids = np.asarray(tokens, np.int64)
        if wrong := ids[(ids < self.first_id) | (ids > self.last_id)].tolist():
            valid = f"{self.first_id} to {self.last_id}"
            raise ActionError(f"the policy put out token ids {wrong}, which are no actions: those are {valid}")
        value = CENTRES[np.clip(self.last_id - ids, 0, BINS - 2)].reshape(-1, len(ACTION_NAMES))
        return np.where(self._mask, 0.5 * (value + 1) * (self._q99 - self._q01) + self._q01, value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_switch(value: Any) -> bool:
    """True and false, as 1 and 0 too: OpenVLA hands them to numpy.where."""
    return type(value) in (bool, int) and value in (0, 1)


def _ranges(name: str, statistics: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    key = plain(name)
    action = statistics.get("action") if isinstance(statistics, Mapping) else None
    if not isinstance(action, Mapping) or not {"q01", "q99"} <= set(action):
        raise CheckpointError(f"statistics of '{key}' lack action.q01 or action.q99")
    count = len(ACTION_NAMES)
    for column_name in ("q01", "q99", "mask"):
        column, is_mask = action.get(column_name, [True] * count), column_name == "mask"
        valid = _is_switch if is_mask else _is_number
        if not isinstance(column, list) or not all(map(valid, column)):
            what = "true and false" if is_mask else "numbers"
            raise CheckpointError(
                f"statistics of '{key}': action.{column_name} {shown(column)}: expected a list of {what}"
            )
        if len(column) != count:
            raise CheckpointError(f"statistics of '{key}' describe {len(column)} action dimensions: valid is {count}")
    low, high = action["q01"], action["q99"]
    if not all(-MOST_ACTION <= one <= other <= MOST_ACTION for one, other in zip(low, high, strict=True)):
        raise CheckpointError(
            f"statistics of '{key}' are no ranges: q01 must be at most q99, and both within {MOST_ACTION:g}, in "
            "metres, radians and opening"
        )
    mask = np.asarray(action.get("mask", [True] * count), np.bool_)
    return np.asarray(low, np.float64), np.asarray(high, np.float64), mask
