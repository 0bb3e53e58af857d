"""The scripted expert: the action it would take towards a goal, from the state alone (no memory).

It moves at speeds that double from level to level, like a hand on a pad with few positions: an action is then one of a
few clearly different ones, wide of the errors a camera leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .environment import CUBE_HALF, FINGER_TRAVEL, SIDES, Environment
from .tasks import Goal

Vector = NDArray[np.float64]

MAX_STEP = 0.03  # metres per action
LEVELS = 5  # speeds: MAX_STEP, half of it, ...; slower is a stop
GAIN = 0.5  # share of the remaining way taken per action
HOVER = 0.12  # metres: height of the tool on its way
GRASP = 0.016  # metres: height of the tool when it grasps
FUNNEL = (0.010, 0.045)  # metres off the cube: inside the first fully down, outside the second at hover height
STEEP = 0.04  # metres below the funnel at which the tool only rises
LIFT = 0.20  # metres: height to which a gripped cube is lifted
CARRY = 0.10  # metres: height on the way to the plate
RELEASE = 0.020  # metres: height of the tool when it lets go; lower, the fingers would rub on the table
LET_FALL = 0.016  # metres above the table from which a cube may drop
ON_PLATE = 0.03  # metres off the plate's centre within which a cube is let go
PUSHED = 0.225  # metres to the side where a push ends
CAGE = (0.014, 0.032, 0.014)  # metres: a cube this near, in x, y and z, moves with the open fingers
GRIP = CUBE_HALF / FINGER_TRAVEL  # opening when the fingers hold a cube
GRIPPED = (GRIP - 0.06, GRIP + 0.12)


@dataclass(frozen=True)
class Situation:
    """What the expert sees: tool, cube and plate [3] and [2] in metres, opening 0..1."""

    tool: Vector
    cube: Vector
    plate: Vector
    opening: float

    @property
    def between(self) -> bool:
        """The cube is between the fingers."""
        off = self.cube - self.tool
        return bool(np.linalg.norm(off[:2]) < 0.015 and abs(off[2]) < 0.012)

    @property
    def gripped(self) -> bool:
        """The fingers hold the cube."""
        return self.between and GRIPPED[0] < self.opening < GRIPPED[1]


def expert_action(env: Environment, goal: Goal | None = None) -> Vector:
    """Compute the action [7] (m, rad, opening) towards `goal` (default: the running one)."""
    goal = goal or env.goal
    situation = Situation(env.pose.position, env.cube_position(goal.colour), env.plate_position, env.opening)
    if goal.skill == "pick":
        way, opening = _pick(situation)
    elif goal.skill == "put":
        way, opening = _put(situation)
    else:
        way, opening = _push(situation, SIDES[goal.side])
    return np.array([*speed(way * GAIN), 0.0, 0.0, 0.0, opening])


def speed(step: Vector) -> Vector:
    """`step` [3] at the nearest of the speeds, axis by axis, after cutting it to MAX_STEP."""
    cut = step.copy()
    cut[:2] *= min(1.0, MAX_STEP / max(float(np.linalg.norm(cut[:2])), 1e-9))
    share = np.minimum(np.abs(cut) / MAX_STEP, 1.0)
    level = np.round(np.log2(np.maximum(share, 1e-9)))
    return np.sign(cut) * np.where(level > -LEVELS, MAX_STEP * 2.0**level, 0.0)


def _funnel(offset: Vector, z: float, low: float, high: float) -> Vector:
    """Way [3] along a funnel: at `low` over the goal, at `high` away from it; a tool that is too low rises first."""
    share = float(np.clip((np.linalg.norm(offset) - FUNNEL[0]) / (FUNNEL[1] - FUNNEL[0]), 0.0, 1.0))
    height = low + share * (high - low)
    freedom = float(np.clip(1.0 - (height - z) / STEEP, 0.0, 1.0))
    return np.append(offset * freedom, height - z)


def _grasp(situation: Situation) -> tuple[Vector, float]:
    """Go to the cube with open fingers, close them around it."""
    low = max(GRASP, situation.cube[2] - 0.004)
    way = _funnel(situation.cube[:2] - situation.tool[:2], situation.tool[2], low, max(HOVER, low))
    return way, 0.0 if situation.between else 1.0


def _rise(situation: Situation, height: float) -> Vector:
    return np.array([0.0, 0.0, height - situation.tool[2]])


def _pick(situation: Situation) -> tuple[Vector, float]:
    return (_rise(situation, LIFT), 0.0) if situation.gripped else _grasp(situation)


def _put(situation: Situation) -> tuple[Vector, float]:
    offset = situation.plate - situation.cube[:2]
    if np.linalg.norm(offset) < ON_PLATE and situation.cube[2] < CUBE_HALF + LET_FALL:
        let_go = situation.opening > GRIPPED[1] + 0.1 or not situation.between
        return _rise(situation, HOVER if let_go else RELEASE), 1.0
    if situation.gripped:
        return _funnel(offset, situation.tool[2], RELEASE, CARRY), 0.0
    return _grasp(situation)


def _push(situation: Situation, side: float) -> tuple[Vector, float]:
    """Straddle the cube with open fingers and let the rear one push it sideways."""
    left = PUSHED - side * situation.cube[1]
    if left < 0.005:
        return _rise(situation, HOVER), 1.0
    off = situation.cube - situation.tool
    if (np.abs(off) < CAGE).all() and situation.opening > 0.8:
        return np.array([off[0], side * (left + 0.02), GRASP - situation.tool[2]]), 1.0
    return _grasp(situation)[0], 1.0
