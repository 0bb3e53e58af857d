"""Whether what the arm is told stays inside the limits, one target at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_entropy_ros.control import Kinematics, Limits, Pose

STILL = 1e-9  # metres, radians and parts of a quaternion: what is nearer than this is the same
ROUNDING = 1e-6  # metres and radians that a step may be longer: poses travel as quaternions
SOLVED = 1e-3  # metres that inverse kinematics may miss the workspace's edge by


@dataclass(frozen=True)
class Sending:
    """How a message was sent: when, on the monotonic clock [s], as which of its publisher's, and by whom."""

    sent: float
    number: int
    publisher: bytes

    @classmethod
    def of(cls, info: Any, wall: float, monotonic: float) -> Sending:
        """From rclpy's message info, and what both clocks show at this moment [s]."""
        sent = info["source_timestamp"] * 1e-9 - wall + monotonic
        return cls(min(sent, monotonic), info["publication_sequence_number"], bytes(info["publisher_gid"]["data"]))


@dataclass(frozen=True)
class Target:
    """A target: how it was sent, its pose, and its joints [n] where it names them.

    still: it asks for no motion, as it lies where the arm was measured shortly before, or where the last target lay.
    """

    sending: Sending
    pose: Pose
    joints: NDArray[np.float64] | None = None
    still: bool = False

    @property
    def sent(self) -> float:
        """When it was sent, on the monotonic clock [s]."""
        return self.sending.sent

    def differs(self, other: Target) -> bool:
        """Whether it lies elsewhere or is turned: in a corner of the workspace an arm can only turn."""
        return not alike(self.pose, other.pose)


def alike(one: Pose, other: Pose) -> bool:
    """Whether two poses are the same."""
    a, b = one.quaternion, other.quaternion  # of which the negative one is the same orientation
    turn = min(np.abs(a - b).max(), np.abs(a + b).max())
    return bool(max(turn, np.abs(one.position - other.position).max()) <= STILL)


@dataclass(frozen=True)
class Bounds:
    """What targets must obey: limits, the period of commands [s], and for an arm with joints its kinematics."""

    limits: Limits
    period: float
    kinematics: Kinematics | None = None

    def broken(self, last: Target | None, target: Target) -> Iterator[str]:
        """Yield what `target` breaks, given the one before.

        A step is bounded by speed times period whatever time has passed, unless targets were lost on their way here.
        """
        slack = STILL if self.kinematics is None else SOLVED
        low, high = np.array(self.limits.workspace_low) - slack, np.array(self.limits.workspace_high) + slack
        if (target.pose.position < low).any() or (target.pose.position > high).any():
            yield f"target {target.pose.position.round(4).tolist()} outside the workspace"
        if self.kinematics is not None and target.joints is not None:
            for joint, value in zip(self.kinematics.chain.moving, target.joints, strict=True):
                if not joint.low - STILL <= value <= joint.high + STILL:
                    yield f"joint '{joint.name}' at {value:.4f}, valid is {joint.low:g} to {joint.high:g}"
        if last is not None and last.sending.publisher == target.sending.publisher:
            time = self.period * max(1, target.sending.number - last.sending.number)
            yield from self._leaps(last, target, time)

    def _leaps(self, last: Target, target: Target, time: float) -> Iterator[str]:
        """Yield the steps that are too long for `time` [s]; those of a hold may give the lead back."""
        limits, kinematics = self.limits, self.kinematics
        steps = [
            ("the target", float(np.linalg.norm(target.pose.position - last.pose.position)), limits.max_speed * time),
            ("the turn", (target.pose.rotation * last.pose.rotation.inv()).magnitude(), limits.max_turn_speed * time),
        ]
        if target.still:
            leads = (limits.lead_translation, limits.lead_rotation)
            steps = [(what, step, lead) for (what, step, _), lead in zip(steps, leads, strict=True)]
        elif kinematics is not None and target.joints is not None and last.joints is not None:
            speeds = np.minimum(kinematics.speed, limits.max_joint_speed)
            moved = np.abs(target.joints - last.joints)
            named = zip(kinematics.names, moved, speeds, strict=True)
            steps = [(f"joint '{name}'", float(step), float(speed) * time) for name, step, speed in named]
        for what, step, allowed in steps:
            if step > allowed + ROUNDING:
                yield f"{what} leaps by {step:.4f}, valid is {allowed:.4f}, {target.sent - last.sent:.3f} s later"
