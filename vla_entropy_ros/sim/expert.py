"""The scripted expert: the action it would take, from the state alone (no memory), smooth in what the camera sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .environment import CUBE_HALF, FINGER_TRAVEL, Environment

MAX_STEP = 0.03  # metres per action
GAIN = 0.5  # share of the remaining way taken per action
HOVER = 0.12  # metres: height of the tool on the way to a cube
GRASP = 0.016  # metres: height of the tool when it grasps
FUNNEL = (0.010, 0.045)  # metres off the cube: inside the first fully down, outside the second at hover height
LIFT = 0.20  # metres: height to which a gripped cube is lifted
GRIP = CUBE_HALF / FINGER_TRAVEL  # opening when the fingers hold a cube
GRIPPED = (GRIP - 0.06, GRIP + 0.12)


def expert_action(env: Environment, colour: str | None = None) -> NDArray[np.float64]:
    """Action [7] (m, rad, opening) towards picking up the cube of `colour` (default: the task's)."""
    tool = env.pose.position
    cube = env.cube_position(colour or env.task.colour)
    offset = cube[:2] - tool[:2]
    distance = float(np.linalg.norm(offset))
    between = distance < 0.015 and abs(cube[2] - tool[2]) < 0.012  # the cube is between the fingers
    share = float(np.clip((distance - FUNNEL[0]) / (FUNNEL[1] - FUNNEL[0]), 0.0, 1.0))
    height = max(GRASP + share * (HOVER - GRASP), cube[2] - 0.004)
    if between and GRIPPED[0] < env.opening < GRIPPED[1]:
        height, offset = LIFT, np.zeros(2)
    step = np.append(offset, height - tool[2]) * GAIN
    step[:2] *= min(1.0, MAX_STEP / max(float(np.linalg.norm(step[:2])), 1e-9))
    step[2] = np.clip(step[2], -MAX_STEP, MAX_STEP)
    return np.array([*step, 0.0, 0.0, 0.0, 0.0 if between else 1.0])
