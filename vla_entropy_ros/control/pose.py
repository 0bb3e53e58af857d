"""Poses, the limits of a motion, and how one action moves a pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Position [3] in metres and orientation [4] as a quaternion (x, y, z, w)."""

    position: Vector
    quaternion: Vector

    @property
    def rotation(self) -> Rotation:
        """The orientation as a rotation."""
        return Rotation.from_quat(self.quaternion)


@dataclass(frozen=True)
class Limits:
    """Bounds of a motion: per control period, from the measured pose, and in space.

    max_translation [m] and max_rotation [rad] per action; lead_translation [m] and lead_rotation [rad]: how far the
    target may run ahead of the measured pose; workspace_low and workspace_high [3] in metres.
    """

    max_translation: float = 0.05
    max_rotation: float = 0.2
    workspace_low: tuple[float, float, float] = (0.2, -0.4, 0.005)
    workspace_high: tuple[float, float, float] = (0.75, 0.4, 0.6)
    lead_translation: float = 0.06
    lead_rotation: float = 0.3

    def __post_init__(self) -> None:
        """Refuse limits that are not finite, not positive, or an empty workspace."""
        for name in ("max_translation", "max_rotation", "lead_translation", "lead_rotation"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}, expected a positive number")
        if not np.all(np.asarray(self.workspace_low) < np.asarray(self.workspace_high)):
            raise ValueError(f"workspace_low {self.workspace_low} must lie below workspace_high {self.workspace_high}")


def shorten(vector: Vector, longest: float) -> Vector:
    """Return `vector` scaled down to length `longest` where it is longer; the direction stays."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)


def turn_angle(one: Pose, other: Pose) -> float:
    """Angle in radians between two orientations."""
    return 2.0 * float(np.arccos(min(abs(float(one.quaternion @ other.quaternion)), 1.0)))


def clamp_workspace(position: Vector, limits: Limits) -> Vector:
    """Nearest point [3] to `position` inside the workspace."""
    return np.clip(position, limits.workspace_low, limits.workspace_high)


def integrate(target: Pose, action: Vector, limits: Limits) -> Pose:
    """Pose after `action` [>= 6] moves `target`, its step and the workspace clamped; deltas are in the fixed frame."""
    step = shorten(np.asarray(action[:3], np.float64), limits.max_translation)
    if not np.any(action[3:6]):
        return Pose(clamp_workspace(target.position + step, limits), target.quaternion)
    turn = shorten(Rotation.from_euler("xyz", action[3:6]).as_rotvec(), limits.max_rotation)
    rotation = Rotation.from_rotvec(turn) * target.rotation
    return Pose(clamp_workspace(target.position + step, limits), rotation.as_quat())


def leash(target: Pose, measured: Pose, limits: Limits) -> Pose:
    """Pull `target` back until it leads the measured pose by no more than the limits allow."""
    ahead = shorten(target.position - measured.position, limits.lead_translation)
    if turn_angle(target, measured) <= limits.lead_rotation:
        return Pose(measured.position + ahead, target.quaternion)
    turn = shorten((target.rotation * measured.rotation.inv()).as_rotvec(), limits.lead_rotation)
    rotation = Rotation.from_rotvec(turn) * measured.rotation
    return Pose(measured.position + ahead, rotation.as_quat())


def interpolate(start: Pose, end: Pose, share: float) -> Pose:
    """Pose at `share` (0..1) of the way from `start` to `end`."""
    if share >= 1.0:
        return end
    position = start.position + share * (end.position - start.position)
    if end.quaternion is start.quaternion:
        return Pose(position, end.quaternion)
    turns = Rotation.from_quat(np.stack((start.quaternion, end.quaternion)))
    return Pose(position, Slerp((0.0, 1.0), turns)([share]).as_quat()[0])
