"""What happens to the scene in the middle of an episode: a cube is moved, a cloth held before it, the camera bumped."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

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
from .tasks import Goal, Task

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


def move_target(env: Environment, metres: float, rng: np.random.Generator, unseen: bool = False) -> bool:
    """Put the cube of the running goal at a drawn place at least `metres` away; False, and nothing moves, if none is.

    The place is where a reset may put a cube: in the area that the arm reaches, clear of cubes, plate and lanes, and of
    the hand. Also False for a cube that does not rest: one that the hand touches or holds stays where it is.
    unseen: only where the arm stands between the camera and the cube, before the move or after it.
    """
    colour = env.goal.colour
    if not rests(env, colour):
        return False
    place = env.cube_position(colour)
    hidden = not unseen or not env.in_sight(place, colour)
    for spot in rng.uniform(AREA_LOW, AREA_HIGH, (TRIES, 2)):
        away = np.linalg.norm(spot - place[:2]) >= metres
        if away and (hidden or not env.in_sight(np.array([*spot, CUBE_HALF]), colour)) and _free(env, colour, spot):
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


def hold_before(env: Environment, body: str, place: Spot, colour: NDArray[np.float64] | None = None) -> None:
    """Bring in what lies ready outside the scene: `body`, carried or cloth, at `place` [3], in `colour` if given."""
    number = env.model.body(body).mocapid[0]
    env.data.mocap_pos[number] = place
    eye = env.data.cam_xpos[env.model.camera("front").id]
    if body == "cloth":  # spread across the line of sight
        across, _ = Rotation.align_vectors([eye - place], [[0.0, 0.0, 1.0]])
        env.data.mocap_quat[number] = np.roll(across.as_quat(), 1)
    if colour is not None:
        env.model.geom_rgba[env.model.geom(body).id] = colour
    mujoco.mj_kinematics(env.model, env.data)


def before_target(env: Environment, share: float) -> Spot:
    """A place [3] on the line of sight to the cube of the running goal, at `share` of the way from the camera."""
    eye = env.data.cam_xpos[env.model.camera("front").id]
    return np.asarray(eye + share * (env.cube_position(env.goal.colour) - eye))


def tilt_camera(env: Environment, turn: NDArray[np.float64]) -> None:
    """Turn the camera by a rotation vector [3] in its own axes [rad]."""
    camera = env.model.camera("front").id
    before = Rotation.from_quat(np.roll(env.model.cam_quat[camera], -1))
    env.model.cam_quat[camera] = np.roll((before * Rotation.from_rotvec(turn)).as_quat(), 1)
    mujoco.mj_forward(env.model, env.data)


def dim(env: Environment, share: float) -> None:
    """Take `share` of the lamp's light away."""
    env.model.light_diffuse[:] *= 1.0 - share


def another_task(env: Environment, rng: np.random.Generator) -> Task:
    """Something else that the arm can be asked for now: to pick up or put on the plate a cube that it is not about."""
    others: list[Any] = [colour for colour in env.present if colour != env.goal.colour]
    skill = "put" if env.goal.skill == "put" else "pick"
    return Task((Goal(skill, str(rng.choice(others))),))
