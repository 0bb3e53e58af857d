"""What happens to the scene in the middle of an episode: the cube in question is put somewhere else."""

from __future__ import annotations

import mujoco
import numpy as np

from .environment import (
    AREA_HIGH,
    AREA_LOW,
    CLEARANCE,
    CUBE_HALF,
    PLATE_CLEARANCE,
    SIDES,
    TRIES,
    Environment,
    Spot,
    lane_free,
)

STILL = 0.01  # metres or radians per second: a cube that is slower, axis by axis, rests
LOW = 0.002  # metres off its height on the table within which a cube lies on it
HAND_CLEARANCE = 0.10  # metres from the tool to the cube's centre: open fingers spread 0.055 m to either side of it
TABLE = 0  # MuJoCo's world body: table, floor and paint


def rests(env: Environment, colour: str) -> bool:
    """Whether a cube lies still on the table and nothing else touches it."""
    body = env.model.body(f"{colour}_cube")
    first = env.model.jnt_dofadr[body.jntadr[0]]
    if abs(env.cube_position(colour)[2] - CUBE_HALF) > LOW or np.abs(env.data.qvel[first : first + 6]).max() > STILL:
        return False
    touching = env.model.geom_bodyid[env.data.contact.geom]  # [contacts, 2]
    mine = touching[(touching == body.id).any(axis=1)]
    return bool((mine == TABLE).any(axis=1).all())


def move_target(env: Environment, metres: float, rng: np.random.Generator) -> bool:
    """Put the cube of the running goal at a drawn place at least `metres` away; False, and nothing moves, if none is.

    The place is where a reset may put a cube: in the area that the arm reaches, clear of cubes, plate and lanes, and of
    the hand. Also False for a cube that does not rest: one that the hand touches or holds stays where it is.
    """
    colour = env.goal.colour
    if not rests(env, colour):
        return False
    here = env.cube_position(colour)[:2]
    for spot in rng.uniform(AREA_LOW, AREA_HIGH, (TRIES, 2)):
        if np.linalg.norm(spot - here) >= metres and _free(env, colour, spot):
            _put(env, colour, spot)
            return True
    return False


def _free(env: Environment, colour: str, spot: Spot) -> bool:
    """Whether a cube may stand there: clear of all others, and neither in their lanes nor they in its own."""
    others = {other: env.cube_position(other)[:2] for other in env.present if other != colour}
    if any(np.linalg.norm(spot - other) < CLEARANCE for other in others.values()):
        return False
    if np.linalg.norm(spot - env.plate_position) < PLATE_CLEARANCE:
        return False
    if np.linalg.norm([*spot, CUBE_HALF] - env.pose.position) < HAND_CLEARANCE:
        return False
    pushes = [goal for goal in env.task.goals if goal.side]
    own = [lane_free(spot, SIDES[goal.side], list(others.values())) for goal in pushes if goal.colour == colour]
    theirs = [lane_free(others[goal.colour], SIDES[goal.side], [spot]) for goal in pushes if goal.colour != colour]
    return all([*own, *theirs])


def _put(env: Environment, colour: str, spot: Spot) -> None:
    """Set a cube down, turned as it was."""
    joint = env.model.body(f"{colour}_cube").jntadr[0]
    place, motion = env.model.jnt_qposadr[joint], env.model.jnt_dofadr[joint]
    env.data.qpos[place : place + 3] = [*spot, CUBE_HALF]
    env.data.qvel[motion : motion + 6] = 0.0
    mujoco.mj_forward(env.model, env.data)
