"""The simulated tabletop: reset, command, advance, look."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .render import Camera  # first: it chooses the GL library before MuJoCo loads

# isort: split
import mujoco

from ..control.pose import Pose
from .arm import HOME, JOINTS, InverseKinematics, tool_pose
from .tasks import COLOURS, Task, find_task

CONTROL_STEP = 0.02  # seconds between joint targets
CUBE_HALF = 0.02
FINGER_TRAVEL = 0.04  # metres of one finger from closed to open
LIFTED = 0.08  # metres above the table at which a cube counts as picked up
HOLD_TIME = 0.3  # seconds it must stay there
AREA_LOW, AREA_HIGH = np.array([0.36, -0.20]), np.array([0.60, 0.20])  # where cubes are placed, metres
CLEARANCE = 0.095  # metres between cube centres
START_SPREAD = np.array([0.06, 0.10, 0.04])  # half range of the tool's start position, metres


class Environment:
    """One arm, three of four cubes, one task; a seed fixes everything about an episode.

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
        self._original = {name: getattr(self.model, name).copy() for name in ("geom_rgba", "light_diffuse", "cam_pos")}
        self._ambient = self.model.vis.headlight.ambient.copy()
        self._site = self.model.site("tool").id
        self._finger_qpos = slice(JOINTS, JOINTS + 2)
        self._cube_qpos = {c: self.model.body(f"{c}_cube").jntadr[0] for c in COLOURS}
        self._cube_body = {c: self.model.body(f"{c}_cube").id for c in COLOURS}
        self._ik = InverseKinematics(self.model)
        self._camera: Camera | None = None
        self.task: Task = find_task("pick_red")
        self.reset(self.task.name, 0)

    def reset(self, task: str, seed: int) -> None:
        """Start an episode of `task`; ValueError lists the valid names."""
        self.task = find_task(task)
        rng = np.random.default_rng([seed, sorted(COLOURS).index(self.task.colour)])
        mujoco.mj_resetData(self.model, self.data)
        self._vary(rng)
        self._place_cubes(rng)
        self._place_arm(rng)
        self._held_since: float | None = None
        self.success = False

    def _vary(self, rng: np.random.Generator) -> None:
        """Lighting, colours and camera of this episode."""
        for name, value in self._original.items():
            getattr(self.model, name)[:] = value
        self.model.vis.headlight.ambient[:] = self._ambient
        if not self.jitter:
            return
        self.model.geom_rgba[:, :3] = np.clip(
            self._original["geom_rgba"][:, :3] + rng.uniform(-0.05, 0.05, (self.model.ngeom, 3)), 0, 1
        )
        self.model.light_diffuse[:] = self._original["light_diffuse"] * rng.uniform(0.75, 1.25)
        self.model.vis.headlight.ambient[:] = self._ambient * rng.uniform(0.75, 1.25)
        self.model.cam_pos[:] = self._original["cam_pos"] + rng.uniform(-0.006, 0.006, 3)

    def _place_cubes(self, rng: np.random.Generator) -> None:
        """Put the task's cube and two of the others on the table, apart from each other; the fourth far away."""
        others = [c for c in COLOURS if c != self.task.colour]
        present = [self.task.colour, *rng.permutation(others)[:2]]
        spots: list[NDArray[np.float64]] = []
        while len(spots) < len(present):
            spot = rng.uniform(AREA_LOW, AREA_HIGH)
            if all(np.linalg.norm(spot - other) > CLEARANCE for other in spots):
                spots.append(spot)
        self.present = tuple(str(c) for c in present)
        for number, colour in enumerate(COLOURS):
            joint = self.model.jnt_qposadr[self._cube_qpos[colour]]
            half_yaw = rng.uniform(-0.3, 0.3) / 2
            spot = spots[self.present.index(colour)] if colour in self.present else np.array([0.3 + 0.1 * number, 2.0])
            height = CUBE_HALF if colour in self.present else -0.68
            self.data.qpos[joint : joint + 7] = [*spot, height, np.cos(half_yaw), 0, 0, np.sin(half_yaw)]

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
        """Success: the task's cube stays lifted for HOLD_TIME."""
        if self.cube_position(self.task.colour)[2] - CUBE_HALF < LIFTED:
            self._held_since = None
        elif self._held_since is None:
            self._held_since = self.time
        elif self.time - self._held_since >= HOLD_TIME:
            self.success = True

    def _update_shadow(self) -> None:
        """Keep the cast shadow below the hand."""
        self.data.mocap_pos[0, :2] = self.data.site_xpos[self._site, :2]
        mujoco.mj_kinematics(self.model, self.data)

    def render(self) -> NDArray[np.uint8]:
        """Camera image [size, size, 3], RGB."""
        if self._camera is None:
            self._camera = Camera(self.model, "front", self.image_size)
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
    def instruction(self) -> str:
        """What the running task asks for."""
        return self.task.instruction

    def project(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where a world point [3] appears in the image: [2], right and down, 0..1 inside the picture."""
        camera = self.model.camera("front").id
        axes = self.data.cam_xmat[camera].reshape(3, 3)
        right, up, back = axes.T @ (point - self.data.cam_xpos[camera])
        scale = 0.5 / (-back * np.tan(np.radians(self.model.cam_fovy[camera]) / 2))
        return np.array([0.5 + right * scale, 0.5 - up * scale])

    def cube_position(self, colour: str) -> NDArray[np.float64]:
        """Centre [3] of a cube."""
        return self.data.xpos[self._cube_body[colour]].copy()
