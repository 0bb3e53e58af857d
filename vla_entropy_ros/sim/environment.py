"""The simulated tabletop: reset, command, advance, look."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .render import SceneCamera  # first: it chooses the GL library before MuJoCo loads

# isort: split
import mujoco

from ..control.chunk import ACTION_NAMES
from ..control.pose import Pose
from .arm import HOME, JOINTS, InverseKinematics, tool_pose
from .tasks import COLOURS, Goal, Task, find_task

CONTROL_STEP = 0.02  # seconds between joint targets
CUBE_HALF = 0.02
FINGER_TRAVEL = 0.04  # metres of one finger from closed to open
LIFTED = 0.08  # metres above the table at which a cube counts as picked up
HOLD_TIME = 0.3  # seconds it must stay there
AREA_LOW, AREA_HIGH = np.array([0.37, -0.16]), np.array([0.59, 0.16])  # where cubes are placed, metres
PLATE_LOW, PLATE_HIGH = np.array([0.40, -0.12]), np.array([0.56, 0.12])  # where the plate is placed, metres
CLEARANCE = 0.095  # metres between cube centres
PLATE_CLEARANCE = 0.10  # metres between the plate's centre and those of cubes
PLATE_RADIUS = 0.045  # metres: a cube whose centre is this near lies on the plate
LANE = 0.055  # metres to either side of a push that are free of other cubes
ZONE = 0.205  # metres to the side: beyond it a cube is in the painted zone
SIDES = {"left": -1.0, "right": 1.0}  # of the image; the robot's y axis points to the image's right
IN_FRONT = 0.97  # of the way from the camera to a cube's centre: what is hit later is the cube, or what it lies on
TRIES = 400  # layouts drawn before the rules are given up for an episode (one in 10,000 or fewer)
VARIED = ("geom_rgba", "light_diffuse", "cam_pos", "cam_quat")  # of the model: by jitter and disturbances
START_SPREAD = np.array([0.06, 0.10, 0.04])  # half range of the tool's start position, metres

Spot = NDArray[np.float64]  # [2] metres on the table


def lane_free(spot: Spot, side: float, others: list[Spot]) -> bool:
    """Whether nothing stands between `spot` and the zone on that side; places [2] in metres."""
    return not any(abs(o[0] - spot[0]) < LANE and side * (o[1] - spot[1]) > -CLEARANCE for o in others)


class Environment:
    """One arm, three of four cubes, a plate, two zones, one task; a seed fixes everything about an episode.

    Lengths in metres, angles in radians, times in seconds. Use it from one thread: it owns a GL context. `render()`
    raises RenderError where the machine lacks the GL library; everything else works without.
    """

    def __init__(self, image_size: int = 224, jitter: bool = False) -> None:
        """Build the scene; `jitter` varies lighting, colours and camera from episode to episode (training)."""
        path = resources.files("vla_entropy_ros.sim") / "scene.xml"
        self.model = mujoco.MjModel.from_xml_path(str(Path(str(path))))
        self.data = mujoco.MjData(self.model)
        self.image_size = image_size
        self.jitter = jitter
        self.joint_names = tuple(self.model.joint(i).name for i in range(JOINTS + 2))
        self._original = {name: getattr(self.model, name).copy() for name in VARIED}
        self._ambient = self.model.vis.headlight.ambient.copy()
        self._site = self.model.site("tool").id
        self._finger_qpos = slice(JOINTS, JOINTS + 2)
        self._cube_qpos = {c: self.model.body(f"{c}_cube").jntadr[0] for c in COLOURS}
        self._cube_body = {c: self.model.body(f"{c}_cube").id for c in COLOURS}
        self._mocap = {name: self.model.body(name).mocapid[0] for name in ("shadow", "plate")}
        self._ik = InverseKinematics(self.model)
        self._camera: SceneCamera | None = None
        self.task: Task = find_task("pick_red")
        self.reset(self.task.name, 0)

    def reset(self, task: str, seed: int) -> None:
        """Start an episode of `task`; ValueError lists the valid names."""
        self.task = find_task(task)
        rng = np.random.default_rng([seed, *self.task.name.encode()])
        mujoco.mj_resetData(self.model, self.data)
        self._vary(rng)
        self._place_objects(rng)
        self._place_arm(rng)
        self._held_since: float | None = None
        self._reached = 0

    def _vary(self, rng: np.random.Generator) -> None:
        """Lighting, colours and camera of this episode."""
        for name, value in self._original.items():
            getattr(self.model, name)[:] = value
        self.model.vis.headlight.ambient[:] = self._ambient
        if not self.jitter:
            return
        scene = self.model.geom_group == 0
        colours = self._original["geom_rgba"][scene, :3]
        self.model.geom_rgba[scene, :3] = np.clip(colours + rng.uniform(-0.05, 0.05, colours.shape), 0, 1)
        self.model.light_diffuse[:] = self._original["light_diffuse"] * rng.uniform(0.75, 1.25)
        self.model.vis.headlight.ambient[:] = self._ambient * rng.uniform(0.75, 1.25)
        self.model.cam_pos[:] = self._original["cam_pos"] + rng.uniform(-0.006, 0.006, 3)

    def _place_objects(self, rng: np.random.Generator) -> None:
        """Put the plate, the task's cubes and others up to three on the table; the rest far away."""
        wanted = list(dict.fromkeys(goal.colour for goal in self.task.goals))
        others = [c for c in COLOURS if c not in wanted]
        self.present = tuple(str(c) for c in (*wanted, *rng.permutation(others)[: 3 - len(wanted)]))
        for _ in range(TRIES):
            plate, spots = rng.uniform(PLATE_LOW, PLATE_HIGH), rng.uniform(AREA_LOW, AREA_HIGH, (3, 2))
            if self._allowed(plate, dict(zip(self.present, spots, strict=True))):
                break
        self.data.mocap_pos[self._mocap["plate"], :2] = plate
        for number, colour in enumerate(COLOURS):
            joint = self.model.jnt_qposadr[self._cube_qpos[colour]]
            half_yaw = rng.uniform(-0.3, 0.3) / 2
            spot = spots[self.present.index(colour)] if colour in self.present else np.array([0.3 + 0.1 * number, 2.0])
            height = CUBE_HALF if colour in self.present else -0.68
            self.data.qpos[joint : joint + 7] = [*spot, height, np.cos(half_yaw), 0, 0, np.sin(half_yaw)]

    def _allowed(self, plate: Spot, spots: dict[str, Spot]) -> bool:
        """Whether cubes are apart from each other and from the plate, and the lanes of pushes are free."""
        pairs = [(a, b) for a in spots for b in spots if a < b]
        if any(np.linalg.norm(spots[a] - spots[b]) < CLEARANCE for a, b in pairs):
            return False
        if any(np.linalg.norm(spot - plate) < PLATE_CLEARANCE for spot in spots.values()):
            return False
        return all(
            lane_free(spots[goal.colour], SIDES[goal.side], [s for c, s in spots.items() if c != goal.colour])
            for goal in self.task.goals
            if goal.side
        )

    def _place_arm(self, rng: np.random.Generator) -> None:
        """Open gripper, tool pointing down somewhere above the table."""
        self.data.qpos[:JOINTS] = HOME
        mujoco.mj_kinematics(self.model, self.data)
        down = tool_pose(self.data, self._site).quaternion
        start = np.array([0.46, 0.0, 0.17]) + rng.uniform(-1, 1, 3) * START_SPREAD
        self._ik.reset(HOME)
        joints = self._ik.solve(Pose(start, down), iterations=60)
        self.data.qpos[:JOINTS] = joints
        self.data.qpos[self._finger_qpos] = FINGER_TRAVEL
        self.data.ctrl[:JOINTS] = joints
        self.data.ctrl[self._finger_qpos] = FINGER_TRAVEL
        mujoco.mj_forward(self.model, self.data)
        self._target = self.pose
        self._update_shadow()

    def redirect(self, task: Task) -> None:
        """Ask for something else from now on: what was reached before counts no more."""
        self.task, self._reached, self._held_since = task, 0, None

    def set_target(self, pose: Pose, opening: float | None = None) -> None:
        """Where the tool shall go, and the gripper's opening [0..1]; ValueError if any of it is not finite."""
        values = [*pose.position, *pose.quaternion, 0.0 if opening is None else opening]
        if not np.isfinite(values).all():
            raise ValueError("target refused: not a finite number")
        self._target = pose
        if opening is not None:
            self.data.ctrl[self._finger_qpos] = FINGER_TRAVEL * float(np.clip(opening, 0.0, 1.0))

    def advance(self, seconds: float = CONTROL_STEP) -> None:
        """Let `seconds` pass, in steps of CONTROL_STEP; the arm follows its target."""
        for _ in range(max(1, round(seconds / CONTROL_STEP))):
            self.data.ctrl[:JOINTS] = self._ik.solve(self._target)
            mujoco.mj_step(self.model, self.data, nstep=round(CONTROL_STEP / self.model.opt.timestep))
            self._judge()
        self._update_shadow()

    def _judge(self) -> None:
        """Count a goal as reached when its condition has held for HOLD_TIME; then the next one counts."""
        if self.success or not self._holds(self.goal):
            self._held_since = None
        elif self._held_since is None:
            self._held_since = self.time
        elif self.time - self._held_since >= HOLD_TIME:
            self._reached += 1
            self._held_since = None

    def _holds(self, goal: Goal) -> bool:
        """Picked: lifted. Put: lies on the plate, let go. Pushed: lies in the zone."""
        cube = self.cube_position(goal.colour)
        if goal.skill == "pick":
            return bool(cube[2] - CUBE_HALF >= LIFTED)
        if cube[2] > CUBE_HALF + 0.01:
            return False
        if goal.skill == "put":
            return bool(np.linalg.norm(cube[:2] - self.plate_position) < PLATE_RADIUS and self.opening > 0.8)
        return bool(SIDES[goal.side] * cube[1] > ZONE)

    def _update_shadow(self) -> None:
        """Keep the cast shadow below the hand."""
        self.data.mocap_pos[self._mocap["shadow"], :2] = self.data.site_xpos[self._site, :2]
        mujoco.mj_kinematics(self.model, self.data)

    def render(self) -> NDArray[np.uint8]:
        """Camera image [size, size, 3], RGB."""
        if self._camera is None:
            self._camera = SceneCamera(self.model, "front", self.image_size)
        return self._camera.render(self.data)

    def close(self) -> None:
        """Release the renderer."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    @property
    def time(self) -> float:
        """Simulated seconds since the reset."""
        return float(self.data.time)

    @property
    def pose(self) -> Pose:
        """Measured pose of the point between the finger tips."""
        return tool_pose(self.data, self._site)

    @property
    def opening(self) -> float:
        """Measured opening of the gripper, 0 closed to 1 open."""
        return float(self.data.qpos[self._finger_qpos].sum() / (2 * FINGER_TRAVEL))

    @property
    def joint_positions(self) -> NDArray[np.float64]:
        """Positions [9]: seven joints in radians, two fingers in metres."""
        return self.data.qpos[: JOINTS + 2].copy()

    @property
    def joint_velocities(self) -> NDArray[np.float64]:
        """Velocities [9]: radians and metres per second."""
        return self.data.qvel[: JOINTS + 2].copy()

    @property
    def state(self) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Measured state by name: the joints [rad, m], then the tool's pose [m, rad] and the gripper's opening [0..1].

        The pose's fields are named like those of an action: x, y, z, roll, pitch, yaw, gripper.
        """
        return (*self.joint_names, *ACTION_NAMES), np.array([*self.joint_positions, *self.pose.fields, self.opening])

    @property
    def instruction(self) -> str:
        """What the running goal asks for."""
        return self.goal.instruction

    @property
    def goal(self) -> Goal:
        """The goal to reach now; the last one once all are reached."""
        return self.task.goals[min(self._reached, len(self.task.goals) - 1)]

    @property
    def reached(self) -> int:
        """Number of goals reached, one after the other."""
        return self._reached

    @property
    def success(self) -> bool:
        """Whether all goals were reached."""
        return self._reached == len(self.task.goals)

    def project(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where a world point [3] appears in the image: [2], right and down, 0..1 inside the picture."""
        camera = self.model.camera("front").id
        axes = self.data.cam_xmat[camera].reshape(3, 3)
        right, up, back = axes.T @ (point - self.data.cam_xpos[camera])
        scale = 0.5 / (-back * np.tan(np.radians(self.model.cam_fovy[camera]) / 2))
        return np.array([0.5 + right * scale, 0.5 - up * scale])

    def in_sight(self, point: NDArray[np.float64], colour: str) -> bool:
        """Whether nothing but the cube of that colour stands between the camera and a world point [3]."""
        eye = self.data.cam_xpos[self.model.camera("front").id]
        way, hit = point - eye, np.zeros(1, np.int32)
        distance = mujoco.mj_ray(self.model, self.data, eye, way, None, 1, -1, hit)  # as a share of the way
        return distance < 0 or distance > IN_FRONT or self.model.geom_bodyid[hit[0]] == self._cube_body[colour]

    def cube_position(self, colour: str) -> NDArray[np.float64]:
        """Centre [3] of a cube."""
        return self.data.xpos[self._cube_body[colour]].copy()

    @property
    def plate_position(self) -> Spot:
        """Centre [2] of the plate."""
        return self.data.mocap_pos[self._mocap["plate"], :2].copy()
