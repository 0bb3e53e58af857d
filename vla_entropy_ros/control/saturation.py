"""How much of what a policy asks for the limits cut off: action by action, as a share, and beforehand by its range."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .pose import Limits, Pose, Vector, clamp_norm, keep_inside, turn_angle

TRANSLATION, ROTATION = "limits.max_translation", "limits.max_rotation"
SPEED, TURN_SPEED = "limits.max_speed", "limits.max_turn_speed"
LEAD, LEAD_ROTATION = "limits.lead_translation", "limits.lead_rotation"
WORKSPACE = "workspace"
GRIPPER = "the gripper's 0 to 1"
EXCESS = 1.0 + 1e-6  # rounding is no cut
SLIGHT = 0.05  # of the gripper's way: bins of tokens end a little beyond
RANGE = 2.0  # limits: an action of either sign fills as much
COLUMNS = {**dict.fromkeys(("x", "y", "z"), TRANSLATION), **dict.fromkeys(("roll", "pitch", "yaw"), ROTATION)}
ADVICE = {
    TRANSLATION: "are unnorm_key and the units (metres, radians) right? else lower action_scale or raise the limit",
    ROTATION: "are unnorm_key and the units (metres, radians) right? else lower action_scale or raise the limit",
    SPEED: "lower action_scale, or raise the limit",
    TURN_SPEED: "lower action_scale, or raise the limit",
    LEAD: "does the arm follow its targets, and is it free to move?",
    LEAD_ROTATION: "does the arm follow its targets, and is it free to move?",
    GRIPPER: "is the checkpoint's gripper column 0 closed to 1 open?",
    WORKSPACE: "do workspace.* and action_frame fit this robot and its task?",
}


def cut_by(start: Pose, action: Vector, period: float, limits: Limits, tool: bool = False) -> frozenset[str]:
    """Names of the limits that cut an `action` [7] of `period` seconds from `start`: as `integrate` and `slow` do."""
    step, turn = np.asarray(action[:3], np.float64), 0.0
    if np.any(action[3:6]):
        turn = float(Rotation.from_euler("xyz", action[3:6]).magnitude())
    length = float(np.linalg.norm(step))
    cuts = [
        (TRANSLATION, length, limits.max_translation),
        (SPEED, min(length, limits.max_translation), limits.max_speed * period),
        (ROTATION, turn, limits.max_rotation),
        (TURN_SPEED, min(turn, limits.max_rotation), limits.max_turn_speed * period),
    ]
    names = {name for name, asked, allowed in cuts if asked > allowed * EXCESS}
    if not -SLIGHT <= action[6] <= 1.0 + SLIGHT:
        names.add(GRIPPER)
    step = clamp_norm(step, limits.max_translation)
    end = start.position + (start.rotation.apply(step) if tool else step)
    if float(np.abs(keep_inside(end, start.position, limits) - end).max()) > limits.max_translation * (EXCESS - 1.0):
        names.add(WORKSPACE)
    return frozenset(names)


def held_back(target: Pose, measured: Pose, limits: Limits) -> frozenset[str]:
    """Names of the limits by which a `target` is farther ahead of the measured pose than it may be."""
    ahead = float(np.linalg.norm(target.position - measured.position))
    cuts = [
        (LEAD, ahead, limits.lead_translation),
        (LEAD_ROTATION, turn_angle(target, measured), limits.lead_rotation),
    ]
    return frozenset(name for name, asked, allowed in cuts if asked > allowed * EXCESS)


class Saturation:
    """Share of the actions of the last `window` seconds that were clipped; 0 while they are fewer than `least`."""

    def __init__(self, window: float = 10.0, least: int = 10) -> None:
        self.window, self.least = window, least
        self._actions: deque[tuple[float, frozenset[str]]] = deque()  # time, names of the limits
        self._counts: Counter[str] = Counter()
        self._clipped = 0

    def add(self, clipped: Sequence[frozenset[str]], now: float) -> None:
        """Count the actions of `Command.clipped` at `now` [s]; also without any, so that old ones are forgotten."""
        actions = self._actions
        if actions and now < actions[-1][0]:
            self.clear()
        for names in clipped:
            actions.append((now, names))
            self._counts.update(names)
            self._clipped += bool(names)
        while actions and actions[0][0] < now - self.window:
            _, names = actions.popleft()
            self._counts.subtract(names)
            self._clipped -= bool(names)

    def clear(self) -> None:
        """Forget all actions."""
        self._actions.clear()
        self._counts.clear()
        self._clipped = 0

    @property
    def actions(self) -> int:
        """How many actions there were."""
        return len(self._actions)

    @property
    def share(self) -> float:
        """Share of the actions (0..1) that any limit cut."""
        return self._clipped / self.actions if self.actions >= max(self.least, 1) else 0.0

    @property
    def by_limit(self) -> Mapping[str, float]:
        """Share of the actions by the name of the limit that cut them, largest first."""
        if self.share == 0.0:
            return {}
        return {name: count / self.actions for name, count in self._counts.most_common() if count > 0}

    @property
    def text(self) -> str:
        """The shares in a line."""
        parts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.by_limit.items())
        return f"{100 * self.share:.0f} % of actions clipped{f': {parts}' if parts else ''}"

    def problem(self, share: float) -> str | None:
        """What is clipped and what to look at, from `share` (0..1) of the actions on; None where it is less."""
        if not 0.0 < self.share >= share:
            return None
        return f"{self.text}; {ADVICE[next(iter(self.by_limit))]}"


@dataclass(frozen=True)
class Excess:
    """A column of an action space whose range (m or rad) is more than twice as large as a limit."""

    column: str
    spread: float
    parameter: str
    limit: float

    @property
    def factor(self) -> float:
        """The range over the limit; an action of either sign within the limit fills 2."""
        return self.spread / self.limit

    @property
    def text(self) -> str:
        """The excess in words."""
        unit = "m" if self.parameter == TRANSLATION else "rad"
        return f"{self.column} spans {self.spread:.3g} {unit}, {self.factor:.3g} times {self.parameter} {self.limit:g}"


def excess(low: Sequence[float], high: Sequence[float], names: Sequence[str], limits: Limits) -> list[Excess]:
    """Columns `names` whose range from `low` to `high` (1 % and 99 % of the actions) exceeds twice their limit.

    Only translations and rotations have one. Statistics that are no numbers exceed nothing.
    """
    allowed = {TRANSLATION: limits.max_translation, ROTATION: limits.max_rotation}
    found = []
    for name, least, most in zip(names, low, high, strict=True):
        parameter, spread = COLUMNS.get(name), float(most) - float(least)
        if parameter is not None and not math.isnan(spread) and spread > RANGE * allowed[parameter] * EXCESS:
            found.append(Excess(name, spread, parameter, allowed[parameter]))
    return found
