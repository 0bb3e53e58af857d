"""Where the arm is measured to be: what every kind of measurement tells, and the measured pose."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from ...control import Limits, Plausibility, Pose
from ...control.plausibility import pose_distance, pose_excess
from ...control.times import stamp_problem
from ..common.listen import Speakers, subscribe
from ..common.messages import pose_in, seconds
from ..common.sim_clock import Standstill

V = TypeVar("V")

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches every publisher
CALM = 0.5  # seconds without a refused measurement after which the others count again


class Arm(Protocol):
    """Measured state of the arm that a command starts from."""

    @property
    def pose(self) -> Pose | None:
        """Where the tool was measured last and could be; None before."""

    def problem(self, now: float) -> str | None:
        """Why the measured pose can't be relied on at time `now` [s]; None when it can."""

    def jump(self, now: float) -> str | None:
        """What was measured that the arm can't have done; None when all follows from what was before."""

    def several(self) -> str | None:
        """Who tells the same thing, where they are more than one; None otherwise."""

    def confirm(self, now: float) -> str | None:
        """Trust where the arm is measured now; why that can't be done, None when it is."""

    def forget(self) -> None:
        """Trust whatever is measured next: time itself has jumped."""


class Measurement:
    """What one topic tells: whether it comes, in time and in order, and from whom.

    now: the node's time [s]; timeout: the age [s] from which a message does not count.
    """

    def __init__(self, node: Node, topic: str, now: Callable[[], float], timeout: Callable[[], float]) -> None:
        self._topic, self._now, self._timeout = topic, now, timeout
        self._full_name = node.resolve_topic_name(topic)
        self._speakers = Speakers(node, topic)
        self._standstill = Standstill(now)
        self._arrived: float | None = None  # when the last message came, on the monotonic clock [s]
        self._good = -math.inf  # when the last one that was not refused came, likewise
        self._fault: tuple[str, float] | None = None  # why one was refused, and when on the monotonic clock [s]

    def refuse(self, reason: str) -> None:
        """Count a message as refused."""
        self._fault = reason, time.monotonic()

    def silence(self) -> str | None:
        """Why nothing is told; None while messages come that are not refused, and time goes on."""
        self._standstill.look()
        if (still := self._standstill.problem()) is not None:
            return still
        if self._fault is not None and (self._fault[1] >= self._good or time.monotonic() - self._fault[1] < CALM):
            return self._fault[0]
        if self._arrived is None:
            return (
                f"no {self._topic} yet: nothing has come on {self._full_name}; is the driver running, and remapped "
                f"(ros2 topic info -v {self._full_name})?"
            )
        quiet = time.monotonic() - self._arrived
        if quiet > max(self._timeout(), CALM):
            return f"no {self._topic} for {quiet:.1f} s on {self._full_name}: has its publisher ended?"
        return None

    def _accept(self, read: Callable[[], V], stamp: Time) -> tuple[V, float, float] | None:
        """What `read` makes of a message, its time and now [s]; None where it raises ValueError or `stamp` is wrong."""
        try:
            value = read()
        except ValueError as error:
            self.refuse(str(error))
            return None
        at, now = seconds(stamp), self._now()
        if (reason := stamp_problem(self._topic, at, now, self._timeout())) is not None:
            self.refuse(reason)
            return None
        self._good = time.monotonic()
        return value, at, now


def outside(limits: Limits, pose: Pose | None, topic: str) -> str | None:
    """Why an arm measured at `pose` by `topic` is not moved: it is far outside the workspace, or nowhere."""
    if pose is None:
        return f"no {topic} that could be used yet"
    reason = limits.outside(pose.position)
    return None if reason is None else f"the tool is measured far off by {topic}: {reason}"


class PoseArm(Measurement):
    """Measures the arm by `current_pose`, which must be in `frame`."""

    def __init__(
        self,
        node: Node,
        frame: str,
        now: Callable[[], float],
        timeout: Callable[[], float],
        limits: Callable[[], Limits],
    ) -> None:
        super().__init__(node, "current_pose", now, timeout)
        self._frame = frame
        self._measured: Pose | None = None
        self._stamp = -math.inf
        self._limits = limits
        self._plausible = Plausibility(pose_excess(self._topic, limits, timeout), pose_distance)
        subscribe(node, PoseStamped, self._topic, self._on_pose, NEWEST)

    @property
    def pose(self) -> Pose | None:
        """Where the tool was measured last and could be."""
        return self._measured

    def problem(self, now: float) -> str | None:
        """Why the measured pose can't be relied on at time `now` [s]; None when it can."""
        if (reason := self.silence() or self.jump(now)) is not None:
            return reason
        if (reason := stamp_problem(self._topic, self._stamp, now, self._timeout())) is not None:
            return reason
        return outside(self._limits(), self._measured, self._topic)

    def jump(self, now: float) -> str | None:
        """A pose that the arm can't have reached; None when all follows from what was before."""
        reason = self._plausible.problem(now)
        if reason is None and (newest := self._plausible.newest) is not None:
            self._measured, self._stamp = newest
        return reason

    def several(self) -> str | None:
        """Who tells the pose, where they are more than one."""
        names = self._speakers.several
        return None if names is None else f"several publish {self._full_name}: {names}; keep one"

    def confirm(self, now: float) -> str | None:
        """Trust where the arm is measured now; why that can't be done, None when it is."""
        return self._plausible.confirm(now) or self.jump(now)

    def forget(self) -> None:
        """Trust whatever is measured next."""
        self._plausible.forget()
        self._fault = None

    def _on_pose(self, message: PoseStamped, info: Mapping[str, Any]) -> None:
        self._speakers.note(info)
        self._arrived = time.monotonic()
        accepted = self._accept(lambda: pose_in(self._frame, message, self._topic), message.header.stamp)
        if accepted is not None and self._plausible.judge(*accepted):
            self._measured, self._stamp = accepted[:2]
