"""Poses, the limits of a motion, and how one action moves a pose."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

Vector = NDArray[np.float64]
INSTANT = 1e-6  # seconds
OUTSIDE = 0.1  # metres outside the workspace from which an arm is not moved back in
NEARLY = 1e-6  # share of a limit: rounding
POSE_FIELDS = ("x", "y", "z", "roll", "pitch", "yaw")  # metres, and rad about the fixed axes (REP-103)


@dataclass(frozen=True)
class Pose:
    """Position [3] in metres and orientation [4] as a quaternion (x, y, z, w)."""

    position: Vector
    quaternion: Vector

    @property
    def rotation(self) -> Rotation:
        """The orientation as a rotation."""
        return Rotation.from_quat(self.quaternion)

    @property
    def roll_pitch_yaw(self) -> Vector:
        """The orientation [3] in rad, as turns about the fixed axes (REP-103)."""
        return self.rotation.as_euler("xyz")

    @property
    def fields(self) -> Vector:
        """Values [6] of `POSE_FIELDS`, in m and rad."""
        return np.concatenate((self.position, self.roll_pitch_yaw))


@dataclass(frozen=True)
class Limits:
    """Bounds of a motion: per control period, from the measured pose, and in space.

    max_translation [m] and max_rotation [rad] per action; max_speed [m/s] and max_turn_speed [rad/s] of the target;
    max_joint_speed [rad/s or m/s] of every joint; lead_translation [m] and lead_rotation [rad]: how far the target may
    run ahead of the measured pose; workspace_low and workspace_high [3] in metres.
    """

    max_translation: float = 0.05
    max_rotation: float = 0.2
    workspace_low: tuple[float, float, float] = (0.2, -0.4, 0.005)
    workspace_high: tuple[float, float, float] = (0.75, 0.4, 0.6)
    lead_translation: float = 0.06
    lead_rotation: float = 0.3
    max_speed: float = 0.6
    max_turn_speed: float = 2.5
    max_joint_speed: float = 1.5

    def __post_init__(self) -> None:
        """Refuse limits that are not finite, not positive, or an empty workspace."""
        for name in (field.name for field in fields(self) if not field.name.startswith("workspace")):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}, expected a positive number")
        for axis, low, high in zip("xyz", self.workspace_low, self.workspace_high, strict=True):
            if not low < high:
                raise ValueError(f"workspace.{axis}.low {low:g} must lie below workspace.{axis}.high {high:g}")

    def outside(self, position: Vector) -> str | None:
        """By how much `position` [3] lies outside the workspace, where that is more than OUTSIDE; None otherwise."""
        for axis, at, low, high in zip("xyz", position.tolist(), self.workspace_low, self.workspace_high, strict=True):
            if not low - OUTSIDE <= at <= high + OUTSIDE:
                return (
                    f"{axis} is {at:.3f} m, more than {OUTSIDE:g} outside the workspace ({low:g} to {high:g}): look at "
                    f"the driver, move the arm inside, or set workspace.{axis}.low and .high"
                )
        return None


def is_orientation(quaternion: Vector) -> bool:
    """Whether a quaternion [4] as somebody sent it can be normalised: finite, and not near nothing."""
    length = float(np.linalg.norm(quaternion))
    return bool(np.isfinite(length)) and length > 0.5


def clamp_norm(vector: Vector, longest: float) -> Vector:
    """Return `vector` scaled down to length `longest` where it is longer; the direction stays."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)


def turn_angle(one: Pose, other: Pose) -> float:
    """Angle in radians between two orientations."""
    return 2.0 * float(np.arccos(min(abs(float(one.quaternion @ other.quaternion)), 1.0)))


def clamp_workspace(position: Vector, limits: Limits) -> Vector:
    """Nearest point [3] to `position` inside the workspace."""
    return np.clip(position, limits.workspace_low, limits.workspace_high)


def keep_inside(position: Vector, start: Vector, limits: Limits) -> Vector:
    """Nearest point [3] to `position` that lies inside the workspace or, axis by axis, no farther out than `start`.

    What starts outside may come back or stay there: nobody asked for the way to the nearest wall.
    """
    return np.clip(position, np.minimum(limits.workspace_low, start), np.maximum(limits.workspace_high, start))


def integrate(target: Pose, action: Vector, limits: Limits, tool: bool = False) -> Pose:
    """Pose after `action` [>= 6] moves `target`, its step clamped, and no farther out of the workspace.

    The deltas are in the fixed frame (rotations about its axes, REP-103), or with `tool` in the axes of `target`.
    """
    step = clamp_norm(np.asarray(action[:3], np.float64), limits.max_translation)
    step = target.rotation.apply(step) if tool else step
    position = keep_inside(target.position + step, target.position, limits)
    if not np.any(action[3:6]):
        return Pose(position, target.quaternion)
    turn = Rotation.from_rotvec(clamp_norm(Rotation.from_euler("xyz", action[3:6]).as_rotvec(), limits.max_rotation))
    return Pose(position, (target.rotation * turn if tool else turn * target.rotation).as_quat())


def step_toward(start: Pose, end: Pose, translation: float, rotation: float) -> Pose:
    """The pose nearest to `end` within `translation` [m] and `rotation` [rad] of `start`."""
    position = start.position + clamp_norm(end.position - start.position, translation)
    if turn_angle(end, start) <= rotation:
        return Pose(position, end.quaternion)
    turn = clamp_norm((end.rotation * start.rotation.inv()).as_rotvec(), rotation)
    return Pose(position, (Rotation.from_rotvec(turn) * start.rotation).as_quat())


def within(one: Pose, other: Pose, translation: float, rotation: float) -> bool:
    """Whether two poses are no farther apart than `translation` [m] and `rotation` [rad]."""
    apart = float(np.linalg.norm(one.position - other.position))
    return apart <= translation and turn_angle(one, other) <= rotation


def limit_lead(target: Pose, measured: Pose, limits: Limits) -> Pose:
    """Pull `target` back until it leads the measured pose by no more than the limits allow."""
    return step_toward(measured, target, limits.lead_translation, limits.lead_rotation)


def beyond_lead(target: Pose, measured: Pose, limits: Limits) -> float:
    """How far `target` lies beyond the lead in translation or in rotation, as a share of it; 0 within, or nearly."""
    apart = float(np.linalg.norm(target.position - measured.position)) / limits.lead_translation
    beyond = max(apart, turn_angle(target, measured) / limits.lead_rotation) - 1.0
    return beyond if beyond > NEARLY else 0.0


def slow(last: Pose, target: Pose, elapsed: float, limits: Limits, period: float = math.inf) -> Pose:
    """How far towards `target` the speed limits let a target move in `elapsed` seconds from `last`.

    period: seconds between two commands: one that comes late is no longer a step than one in time.
    """
    elapsed = min(max(elapsed, 0.0), period)
    return step_toward(last, target, limits.max_speed * elapsed, limits.max_turn_speed * elapsed)


def interpolate(start: Pose, end: Pose, share: float) -> Pose:
    """Pose at `share` (0..1) of the way from `start` to `end`."""
    if share >= 1.0:
        return end
    position = start.position + share * (end.position - start.position)
    if end.quaternion is start.quaternion:
        return Pose(position, end.quaternion)
    turns = Rotation.from_quat(np.stack((start.quaternion, end.quaternion)))
    return Pose(position, Slerp((0.0, 1.0), turns)([share]).as_quat()[0])


@dataclass(frozen=True)
class Velocity:
    """Linear [3] in m/s and angular [3] in rad/s, both in the fixed frame."""

    linear: Vector
    angular: Vector


AT_REST = Velocity(np.zeros(3), np.zeros(3))


def velocity(last: Pose, target: Pose, elapsed: float, measured: Pose, limits: Limits) -> Velocity:
    """Velocity that brings `last` to `target` in `elapsed` seconds, within the speed limits.

    Nothing leads out of the workspace from where the arm is measured. Zero where no time has passed.
    """
    if elapsed <= INSTANT:
        return AT_REST
    linear = clamp_norm((target.position - last.position) / elapsed, limits.max_speed)
    outward = (measured.position <= limits.workspace_low) & (linear < 0)
    outward |= (measured.position >= limits.workspace_high) & (linear > 0)
    turn = (target.rotation * last.rotation.inv()).as_rotvec() / elapsed
    return Velocity(np.where(outward, 0.0, linear), clamp_norm(turn, limits.max_turn_speed))


def limited(pose: Pose, actions: Vector, limits: Limits, tool: bool = False) -> Vector:
    """Actions [H, 7] as they come out when they are done in turn from `pose` inside the limits."""
    result = []
    for action in actions:
        after = integrate(pose, action, limits, tool)
        step, turn = after.position - pose.position, after.rotation * pose.rotation.inv()
        if tool:
            step, turn = pose.rotation.inv().apply(step), pose.rotation.inv() * after.rotation
        result.append([*step, *turn.as_euler("xyz"), np.clip(action[6], 0.0, 1.0)])
        pose = after
    return np.array(result)
