"""The last look at a command before it leaves, independent of whatever made it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chunk import ACTION_NAMES, FARTHEST
from .kinematics import Joints, Kinematics
from .pose import Limits, Pose, Velocity

TOLERANCE = 1e-6  # metres, radians, and per second: rounding
AXES = "xyz"

Numbers = list[float]
Place = tuple[Numbers, Numbers]  # position and quaternion


class GateError(ValueError):
    """A command that must not leave; the message is one line."""


class Gate:
    """Lets a command pass or raises GateError, and remembers what passed last.

    period: seconds from one command to the next, for which the speed limits hold. A command that does not move must
    be what passed last; the first after one that moves may also be nearer to where the arm is measured. A gripper stays
    while held.
    """

    def __init__(self, limits: Limits, period: float = math.inf) -> None:
        self.limits = limits
        self.period = period
        self._held = False
        self._place: Place | None = None
        self._resting = False  # what passed last did not move
        self._joints: tuple[tuple[str, ...], Numbers] | None = None  # by name
        self._opening: float | None = None  # share of the way from one end to the other

    @property
    def held(self) -> bool:
        """Whether whatever moves is refused."""
        return self._held

    def hold(self) -> None:
        """Refuse whatever moves until `free`."""
        self._held = True

    def free(self) -> None:
        """Let what moves pass again."""
        self._held = False

    def forget(self) -> None:
        """Let the next command start from where the arm is measured: it was moved by others, or anchored anew."""
        self._place = self._joints = None
        self._resting = False

    def pose(self, pose: Pose, moving: bool, measured: Pose | None) -> None:
        """Check a target pose for an arm measured at `measured`, None where nobody knows."""
        position, quaternion = _finite("position", pose.position, 3), _finite("quaternion", pose.quaternion, 4)
        if abs(_length(quaternion) - 1.0) > TOLERANCE:
            raise GateError(f"not sent: a quaternion of length {_length(quaternion):.6g}, expected 1")
        target = position, quaternion
        here = None if measured is None else (measured.position.tolist(), measured.quaternion.tolist())
        if moving:
            here = self._may_move(here)
            self._check_workspace(position, here[0])
            self._check_lead(target, here)
            self._check_step(target, self._place or here)
        else:
            self._check_rest(target, here)
        self._resting = not moving
        self._place = target

    def velocity(self, velocity: Velocity, moving: bool, measured: Pose | None) -> None:
        """Check a velocity: zero, or within the speed limits and not out of the workspace."""
        linear, angular = _finite("velocity", velocity.linear, 3), _finite("turning", velocity.angular, 3)
        if not moving:
            if any(linear) or any(angular):
                raise GateError("not sent: a velocity that is not zero from an arm at rest")
            return
        position, _ = self._may_move(None if measured is None else (measured.position.tolist(), []))
        limits = self.limits
        _at_most(_length(linear), limits.max_speed, "a speed of {:.4g} m/s, valid is up to {:.4g} (limits.max_speed)")
        _at_most(
            _length(angular), limits.max_turn_speed,
            "turning at {:.4g} rad/s, valid is up to {:.4g} (limits.max_turn_speed)",
        )  # fmt: skip
        for axis, at, speed, low, high in zip(
            AXES, position, linear, limits.workspace_low, limits.workspace_high, strict=True
        ):
            if (speed < 0.0 and not at > low) or (speed > 0.0 and not at < high):
                said = f"{speed:.4g} m/s along {axis} from {at:.4f} m, where the workspace ends"
                raise GateError(f"not sent: {said} (workspace.{axis}.low to .high: {low:g} to {high:g})")

    def joints(
        self, names: Sequence[str], joints: Joints, moving: bool, measured: Joints | None, kinematics: Kinematics | None
    ) -> None:
        """Check joint positions [n] of the joints `names` of `kinematics`, for joints measured at `measured` [n]."""
        if kinematics is None or tuple(names) != kinematics.names:
            raise GateError(f"not sent: joints {', '.join(names)}, which are not those of the robot description")
        target = _finite("joint positions", joints, len(names))
        here = None if measured is None else _finite("measured joints", measured, len(names))
        last = self._joints[1] if self._joints is not None and self._joints[0] == kinematics.names else None
        if moving:
            self._check_joint_motion(target, self._may_move(here), last, kinematics)
        else:
            self._check_joint_rest(target, here, last, kinematics)
        self._joints = kinematics.names, target

    def actions(self, actions: NDArray[np.float64], moving: bool) -> None:
        """Check a chunk's actions [H, 7]; one that does not move has no translation and no rotation."""
        table = np.asarray(actions, np.float64)
        if table.ndim != 2 or not len(table) or table.shape[1] != len(ACTION_NAMES) or not np.isfinite(table).all():
            raise GateError(f"not sent: actions of shape {table.shape}, expected finite [H >= 1, {len(ACTION_NAMES)}]")
        if np.abs(table).max() > FARTHEST:
            raise GateError(f"not sent: an action of {np.abs(table).max():.4g}, valid is up to {FARTHEST:g} m or rad")
        if not (table[:, 6].min() >= -TOLERANCE and table[:, 6].max() <= 1.0 + TOLERANCE):
            raise GateError("not sent: a gripper's opening outside 0 to 1")
        if not moving:
            if table[:, :6].any():
                raise GateError("not sent: actions that move from an arm at rest")
            return
        self._may_move(True)
        farthest = math.sqrt(np.square(table[:, :3]).sum(1).max())
        cosine, sine = np.cos(table[:, 3:6] / 2).prod(1), np.sin(table[:, 3:6] / 2).prod(1)
        largest = 2.0 * math.acos(min(np.abs(cosine + sine).min(), 1.0))
        limits = self.limits
        _at_most(
            farthest, limits.max_translation, "an action of {:.4g} m, valid is up to {:.4g} (limits.max_translation)"
        )
        _at_most(largest, limits.max_rotation, "an action of {:.4g} rad, valid is up to {:.4g} (limits.max_rotation)")

    def opening(self, value: float, one_end: float, other_end: float) -> None:
        """Check the gripper's command, which lies between two ends in the gripper's own unit."""
        low, high = min(one_end, other_end), max(one_end, other_end)
        slack = TOLERANCE * max(1.0, high - low)
        if not (math.isfinite(value) and low - slack <= value <= high + slack):
            raise GateError(
                f"not sent: gripper_command {value:g}, valid is {low:g} to {high:g} (gripper.open, .closed)"
            )
        share = (value - one_end) / (other_end - one_end) if high > low else 0.0
        if self._held and not (self._opening is not None and abs(share - self._opening) <= TOLERANCE):
            raise GateError("not sent: a gripper that moves, against the hold")
        self._opening = share

    def _may_move(self, here: Any) -> Any:
        """What is measured; GateError while held, or when nothing is."""
        if self._held:
            raise GateError("not sent: motion, against the hold")
        if here is None:
            raise GateError("not sent: motion of an arm that is measured nowhere")
        return here

    def _check_workspace(self, position: Numbers, here: Numbers) -> None:
        last = here if self._place is None else self._place[0]
        limits = self.limits
        for number, axis in enumerate(AXES):
            low, high = limits.workspace_low[number], limits.workspace_high[number]
            nearest = min(low, here[number], last[number]), max(high, here[number], last[number])
            if not nearest[0] - TOLERANCE <= position[number] <= nearest[1] + TOLERANCE:
                said = f"{axis} at {position[number]:.4f} m, valid is {low:g} to {high:g}"
                raise GateError(f"not sent: {said} (workspace.{axis}.low, workspace.{axis}.high)")

    def _check_lead(self, target: Place, here: Place) -> None:
        lead = "{0:.4g} {2} ahead of where the arm is measured, valid is up to {1:.4g} (limits.lead_{3})"
        _at_most(_apart(target, here), self.limits.lead_translation, lead, "m", "translation")
        _at_most(_turned(target, here), self.limits.lead_rotation, lead, "rad", "rotation")

    def _check_step(self, target: Place, before: Place) -> None:
        step = "a step of {0:.4g} {2} from one command to the next, valid is up to {1:.4g} (limits.{3}, rate)"
        _at_most(_apart(target, before), self.limits.max_speed * self.period, step, "m", "max_speed")
        _at_most(_turned(target, before), self.limits.max_turn_speed * self.period, step, "rad", "max_turn_speed")

    def _check_rest(self, target: Place, here: Place | None) -> None:
        """A hold stays; where it begins it may come nearer to where the arm is measured, within the lead."""
        last = self._place
        if last is not None and _apart(target, last) <= TOLERANCE and _turned(target, last) <= TOLERANCE:
            return
        if here is None:
            raise GateError("not sent: a hold elsewhere than at the last target, of an arm that is measured nowhere")
        if last is not None and self._resting:
            away = f"{_apart(target, last):.4g} m and {_turned(target, last):.4g} rad"
            raise GateError(f"not sent: a hold {away} from where it began")
        allowed = self.limits.lead_translation, self.limits.lead_rotation
        if last is not None:
            farthest = _apart(last, here), _turned(last, here)
            allowed = min(allowed[0], farthest[0]), min(allowed[1], farthest[1])
        _at_most(
            _apart(target, here), allowed[0], "a hold {:.4g} m from where the arm is measured, valid is up to {:.4g}"
        )
        _at_most(
            _turned(target, here),
            allowed[1],
            "a hold turned by {:.4g} rad from the measured pose, valid is up to {:.4g}",
        )

    def _check_joint_motion(self, target: Numbers, here: Numbers, last: Numbers | None, kinematics: Kinematics) -> None:
        before = here if last is None else last
        for number, name in enumerate(kinematics.names):
            at, low, high = target[number], float(kinematics.low[number]), float(kinematics.high[number])
            nearest = min(low, here[number], before[number]), max(high, here[number], before[number])
            if not nearest[0] - TOLERANCE <= at <= nearest[1] + TOLERANCE:
                raise GateError(f"not sent: joint '{name}' at {at:.4f}, its range is {low:g} to {high:g}")
            speed = min(float(kinematics.speed[number]), self.limits.max_joint_speed)
            said = (
                "a step of {0:.4g} of joint '{2}', valid is up to {1:.4g} (limits.max_joint_speed, rate, its own speed)"
            )
            _at_most(abs(at - before[number]), speed * self.period, said, name)

    def _check_joint_rest(
        self, target: Numbers, here: Numbers | None, last: Numbers | None, kinematics: Kinematics
    ) -> None:
        if last is not None and all(abs(a - b) <= TOLERANCE for a, b in zip(target, last, strict=True)):
            return
        if here is None:
            raise GateError(
                "not sent: a hold elsewhere than at the last positions, of joints that are measured nowhere"
            )
        for number, joint in enumerate(kinematics.chain.moving):
            slides = joint.kind == "prismatic"
            allowed = self.limits.lead_translation if slides else self.limits.lead_rotation
            if last is not None:
                allowed = min(allowed, abs(last[number] - here[number]))
            said = "a hold of joint '{2}' {0:.4g} from where it is measured, valid is up to {1:.4g}"
            _at_most(abs(target[number] - here[number]), allowed, said, joint.name)


def _finite(what: str, values: Any, count: int) -> Numbers:
    """The numbers as floats; GateError unless there are `count` and all are finite."""
    numbers = np.asarray(values, np.float64).tolist()
    if not isinstance(numbers, list) or len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise GateError(f"not sent: {what} {numbers}, expected {count} finite numbers")
    return numbers


def _at_most(value: float, most: float, said: str, *words: str) -> None:
    """Raise GateError with `said`, which has places for value, most and words, unless `value` is at most `most`."""
    if not value <= most + TOLERANCE:
        raise GateError(f"not sent: {said.format(value, most, *words)}")


def _length(vector: Numbers) -> float:
    return math.hypot(*vector)


def _apart(one: Place, other: Place) -> float:
    """Distance in metres."""
    return math.dist(one[0], other[0])


def _turned(one: Place, other: Place) -> float:
    """Angle in radians; exact also where it is small."""
    (ax, ay, az, aw), (bx, by, bz, bw) = one[1], other[1]
    x = aw * bx - bw * ax - ay * bz + az * by
    y = aw * by - bw * ay - az * bx + ax * bz
    z = aw * bz - bw * az - ax * by + ay * bx
    return 2.0 * math.atan2(math.hypot(x, y, z), abs(ax * bx + ay * by + az * bz + aw * bw))
