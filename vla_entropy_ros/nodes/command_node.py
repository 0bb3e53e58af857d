"""Action chunks in, pose and gripper commands out at a fixed rate; no valid chunk, no motion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float64
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from ..control import ChunkError, Command, Commander, Limits, Pose
from ..settings import default_settings
from .diagnostics import ERROR, OK, STALE, WARN, Diagnostics, Report, Samples
from .messages import chunk_from, pose_from, pose_message, seconds
from .parameters import Parameters, Values
from .settings import COMMAND_SETTINGS
from .spin import Stop, run

LOG_PERIOD = 5.0  # seconds between two lines about the same refusal
FAREWELL = 0.3  # seconds the last command has to arrive


def limits_of(values: Values) -> Limits:
    """Limits of all parameter values; ValueError in one line when they do not fit together."""
    low, high = (tuple(values[f"workspace_{axis}_{side}"] for axis in "xyz") for side in ("low", "high"))
    names = ("max_translation", "max_rotation", "lead_translation", "lead_rotation")
    return Limits(workspace_low=low, workspace_high=high, **{name: values[name] for name in names})


class CommandNode(Node):
    """Wires a Commander to topics; sends only while enabled and while the measured pose is known and fresh."""

    def __init__(self, stop: Stop | None = None, **node_options: Any) -> None:
        super().__init__("command", **node_options)
        self._settings = Parameters(self, COMMAND_SETTINGS, default_settings("command"), limits_of, self._apply)
        values = self._settings.values
        self._frame: str = values["action_frame"]
        self._commander = Commander(limits_of(values), self._frame, values["stale_after"])
        self._enabled: bool = values["enabled"]
        self._anchored = False
        self._pose: Pose | None = None
        self._pose_time = -math.inf
        self._pose_fault = "no current pose yet"
        self._refusal = ""  # why the last chunk was refused; empty once one is accepted
        self._accepted = self._refused = 0
        self._sent = Samples()
        self._last_time = -math.inf
        self._command: Command | None = None
        self._targets = self.create_publisher(PoseStamped, "target_pose", 1)
        self._openings = self.create_publisher(Float64, "gripper_command", 1)
        self.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, 1)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # hears every publisher
        self.create_subscription(PoseStamped, "current_pose", self._on_pose, newest)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self._diagnostics = Diagnostics(self, "command", {"safety": self._report})
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # commands go on when simulated time stands still
        self.create_timer(1.0 / values["rate"], self._tick, clock=steady)

    def close(self) -> None:
        """Say farewell: the last thing on the wire holds the arm where it is."""
        if self._enabled:
            self._hold("the node is going")
            self._targets.wait_for_all_acked(Duration(seconds=FAREWELL))

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _apply(self, values: Values) -> None:
        self._commander.limits = limits_of(values)
        self._commander.stale_after = values["stale_after"]

    def _on_pose(self, message: PoseStamped) -> None:
        if message.header.frame_id != self._frame:
            self._pose_fault = f"current_pose is in frame '{message.header.frame_id}', expected '{self._frame}'"
            return
        try:
            self._pose = pose_from(message)
        except ValueError as error:
            self._pose_fault = f"current_pose: {error}"
            return
        self._pose_time = seconds(message.header.stamp)
        self._pose_fault = ""

    def _pose_problem(self, now: float) -> str:
        """Why the measured pose can't be relied on; empty when it can."""
        if self._pose is None or self._pose_fault:
            return self._pose_fault
        age = abs(now - self._pose_time)
        return f"current_pose is {age:.2f} s old" if age > self._settings.values["pose_timeout"] else ""

    def _on_chunk(self, message: JointTrajectory) -> None:
        if not self._enabled:
            return
        try:
            chunk = chunk_from(message)
        except ChunkError as error:
            self._commander.stop(str(error))
            self._refuse(error)
            return
        try:
            self._commander.offer(chunk, self._now())
        except ChunkError as error:
            self._refuse(error)
        else:
            self._accepted += 1
            self._refusal = ""

    def _refuse(self, error: ChunkError) -> None:
        self._refused += 1
        self._refusal = str(error)
        self.get_logger().error(self._refusal, throttle_duration_sec=LOG_PERIOD)

    def _tick(self) -> None:
        """Send the command of this instant, or nothing."""
        now = self._now()
        jumped_back, self._last_time = now < self._last_time, now
        if not self._enabled:
            return
        if problem := self._pose_problem(now):
            self._commander.stop(problem)
            self._command = None
            return
        assert self._pose is not None
        if jumped_back or not self._anchored:
            self._anchor(self._pose, now)
        self._send(self._commander.command(now, self._pose))

    def _anchor(self, pose: Pose, now: float) -> None:
        """Start from `pose`, with chunks observed from `now` on."""
        self._commander.anchor(pose, not_before=now)
        self._anchored = True

    def _send(self, command: Command) -> None:
        self._command = command
        self._targets.publish(pose_message(command.pose, self.get_clock().now().to_msg(), self._frame))
        if command.opening is not None:
            self._openings.publish(Float64(data=float(command.opening)))
        self._sent.add(1.0)

    def _hold(self, reason: str) -> None:
        """Drop what runs and command the measured pose, if it can be relied on."""
        self._commander.stop(reason)
        now = self._now()
        if self._pose is not None and not self._pose_problem(now):
            self._send(self._commander.command(now, self._pose))

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Start from where the arm is, with chunks observed from now on; or hold it there and fall silent."""
        now = self._now()
        problem = self._pose_problem(now)
        response.success = not (request.data and problem)
        response.message = f"not enabled: {problem}" if not response.success else ""
        if request.data:
            self._enabled, self._anchored = response.success, False
            self._refusal = ""
            if self._enabled and self._pose is not None:
                self._anchor(self._pose, now)
        elif self._enabled:
            self._hold("disabled")
            self._enabled, self._command = False, None
        return response

    def _report(self) -> Report:
        """Is the arm under control, and if it is held, why?"""
        values: dict[str, object] = {
            "enabled": self._enabled,
            "commands [Hz]": f"{self._sent.rate:.1f}",
            "chunks accepted": self._accepted,
            "chunks refused": self._refused,
            "last refusal": self._refusal or "-",
        }
        if not self._enabled:
            return Report(OK, "disabled", values)
        if problem := self._pose_problem(self._now()):
            return Report(STALE, f"no commands: {problem}", values)
        if self._command is None or self._command.state == "idle":
            return Report(OK, "waiting for a chunk", values)
        if self._command.state == "holding":
            return Report(ERROR if self._refusal else WARN, f"holding: {self._command.reason}", values)
        return Report(OK, "tracking", values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command node; returns the exit status."""
    return run("command", CommandNode, CommandNode.close, args)
