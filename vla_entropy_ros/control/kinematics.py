"""Joint positions that bring the tip of a chain to a pose: damped least squares inside the joints' ranges."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .pose import Pose, turn_angle
from .urdf import Chain, Joint

DAMPING = 0.02**2  # [m^2, rad^2]: bounds the joints' steps near a singularity
ITERATIONS = 12
NEAR = (1e-4, 1e-3)  # metres, radians: close enough to stop
REACHED = (0.01, 0.05)  # metres, radians: what a solution may miss its pose by
OUTSIDE = 0.1  # rad or m: how far outside its range a joint may be measured

Joints = NDArray[np.float64]  # [n], rad or m


class UnreachableError(ValueError):
    """No joint positions near the last ones reach the pose; the message is one line."""


class Kinematics:
    """Forward and inverse kinematics of one chain; remembers nothing."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.names = chain.names
        self.low = np.array([joint.low for joint in chain.moving])  # [n], rad or m
        self.high = np.array([joint.high for joint in chain.moving])
        self.speed = np.array([joint.speed for joint in chain.moving])  # [n], rad/s or m/s

    def outside(self, joints: Joints) -> str | None:
        """Why the arm can't be commanded from `joints` [n], None when it can: one is more than OUTSIDE out of range."""
        low, high = self.low - OUTSIDE, self.high + OUTSIDE
        inside = (joints >= low) & (joints <= high)
        if inside.all():
            return None
        number = int(np.argmin(inside))
        at, bounds = joints[number], f"{self.low[number]:g} to {self.high[number]:g}"
        return (
            f"joint '{self.names[number]}' is at {at:.3f}, more than {OUTSIDE:g} outside its range {bounds}: move it "
            "inside by the robot's own means, or correct its <limit> in robot_description"
        )

    def forward(self, joints: Joints) -> Pose:
        """Pose of the tip in the base's frame at `joints` [n]."""
        return self._walk(joints)[0]

    def solve(self, target: Pose, start: Joints) -> Joints:
        """Joint positions [n] that bring the tip to `target`, nearest to `start`; or UnreachableError.

        A joint that starts outside its range stays there or moves inwards.
        """
        if not (np.isfinite(target.position).all() and np.isfinite(target.quaternion).all()):
            raise UnreachableError(f"the target {target.position} is not a finite pose")
        low, high = np.minimum(self.low, start), np.maximum(self.high, start)
        joints = np.array(start, np.float64)
        for _ in range(ITERATIONS):
            pose, jacobian = self._walk(joints)
            turn = (target.rotation * pose.rotation.inv()).as_rotvec()
            error = np.concatenate((target.position - pose.position, turn))
            if np.linalg.norm(error[:3]) < NEAR[0] and np.linalg.norm(turn) < NEAR[1]:
                break
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(6), error)
            joints = np.clip(joints + step, low, high)
        missed = self.forward(joints)
        distance, angle = float(np.linalg.norm(missed.position - target.position)), turn_angle(missed, target)
        if not (distance <= REACHED[0] and angle <= REACHED[1]):
            raise UnreachableError(
                f"the arm can't reach the target within {REACHED[0]} m, {REACHED[1]} rad: it misses it by "
                f"{distance:.3f} m, {angle:.3f} rad{self._at_ends(joints)}; narrow workspace.* to what it reaches"
            )
        return joints

    def _at_ends(self, joints: Joints) -> str:
        """Joints that stand at an end of their range, in words."""
        ends = (joints <= self.low) | (joints >= self.high)
        names = [name for name, end in zip(self.names, ends, strict=True) if end]
        return f", at the end of its range: {', '.join(names)}" if names else ""

    def _walk(self, joints: Joints) -> tuple[Pose, NDArray[np.float64]]:
        """Pose of the tip and the Jacobian [6, n] of its position and rotation there."""
        frame, axes, points, slides = np.eye(4), [], [], []
        values = iter(joints)
        for joint in self.chain.joints:
            frame = frame @ joint.origin
            if joint.kind == "fixed":
                continue
            axes.append(frame[:3, :3] @ joint.axis)
            points.append(frame[:3, 3])
            slides.append(joint.kind == "prismatic")
            frame = frame @ _motion(joint, float(next(values)))
        axis, point = np.stack(axes), np.stack(points)  # [n, 3]
        slide = np.array(slides)[:, None]
        linear = np.where(slide, axis, np.cross(axis, frame[:3, 3] - point))
        jacobian = np.concatenate((linear, np.where(slide, 0.0, axis)), 1).T
        return Pose(frame[:3, 3], Rotation.from_matrix(frame[:3, :3]).as_quat()), jacobian


def slow_joints(last: Joints, target: Joints, elapsed: float, speed: Joints, period: float = math.inf) -> Joints:
    """How far towards `target` [n] the joints may move in `elapsed` seconds from `last`, all scaled alike.

    period: seconds between two commands: one that comes late is no longer a step than one in time.
    """
    step = target - last
    elapsed = min(max(elapsed, 0.0), period)
    allowed = speed * elapsed if elapsed > 0.0 else np.zeros_like(speed)
    if np.all(np.abs(step) <= allowed):
        return target
    excess = np.abs(step) / np.maximum(allowed, 1e-12)
    return last + step / float(excess.max())


def _motion(joint: Joint, value: float) -> NDArray[np.float64]:
    result = np.eye(4)
    if joint.kind == "prismatic":
        result[:3, 3] = joint.axis * value
    else:
        result[:3, :3] = Rotation.from_rotvec(joint.axis * value).as_matrix()
    return result
