"""Action chunks in, commands of the chosen kind out at a fixed rate; no valid chunk, no motion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from ...control import ChunkError, Command, Commander, Guard, Motion, Pose, UnreachableError, limits_of, rules_of
from ...settings import default_settings
from ..common.diagnostics import ERROR, OK, STALE, WARN, Diagnostics, Report, RollingWindow
from ..common.messages import chunk_from, is_stop, pose_message
from ..common.parameters import Parameters, TunableNode, Values
from ..common.process import Stop, run
from .arm import JointArm, PoseArm
from .outputs import make_output
from .settings import COMMAND_SETTINGS

LOG_PERIOD = 5.0  # seconds between two lines about the same refusal
FAREWELL = 0.3  # seconds the last command has to arrive
SERVO_RATE = 20.0  # hertz: MoveIt Servo stops when velocities come more rarely
EMERGENCY = "emergency stop: call ~/release, then ~/enable"


def check(values: Values) -> None:
    """Raise ValueError in one line when the values do not fit together."""
    limits_of(values)
    if values["command_type"] == "twist_stamped" and values["rate"] < SERVO_RATE:
        raise ValueError(f"rate {values['rate']:g} is too low for twist_stamped: valid is {SERVO_RATE:g} or more")


class CommandNode(TunableNode):
    """Wires a Commander to topics; sends only while enabled and while the measured pose is known and fresh."""

    def __init__(self, stop: Stop | None = None, **node_options: Any) -> None:
        super().__init__("command", **node_options)
        self._settings = Parameters(self, COMMAND_SETTINGS, default_settings("command"), check, self._apply)
        values = self._settings.values
        self._frame: str = values["action_frame"]
        self._commander = Commander(limits_of(values), self._frame, rules_of(values))
        self._guard = Guard(values["enabled"])
        self._anchored = False
        self._refusal: str | None = None  # why the last chunk was refused; None once one is accepted
        self._accepted = self._refused = self._stops = 0
        self._sent = RollingWindow()
        self._last_time = -math.inf
        self._command: Command | None = None
        self._said: str | None = None  # what was published on ~/state last
        joints = values["command_type"] == "joint_trajectory"
        self._arm = JointArm(self, self._frame, values["tool_frame"]) if joints else PoseArm(self, self._frame)
        self._output = make_output(values["command_type"], self, self._frame, limits_of(values), values["rate"])
        self._output.muted = values["dry_run"]
        self._openings = self.create_publisher(Float64, "gripper_command", 1)
        self._preview = self.create_publisher(PoseStamped, "~/preview", 1)
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._state = self.create_publisher(String, "~/state", kept)
        self.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, 1)
        self.create_subscription(Bool, "emergency_stop", self._on_emergency_stop, 10)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/release", self._on_release)
        self._diagnostics = Diagnostics(self, "command", {"safety": self._report})
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # commands go on when simulated time stands still
        self.create_timer(1.0 / values["rate"], self._tick, clock=steady)
        self._say()

    def close(self) -> None:
        """Bring the arm to rest, as the last thing on the wire."""
        if self._guard.commanding:
            self._hold("the node is going")
            self._output.flush(FAREWELL)

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _problem(self, now: float) -> str | None:
        """Why the measured pose can't be relied on; None when it can."""
        return self._arm.problem(now, self._settings.values["pose_timeout"])

    def _apply(self, values: Values) -> None:
        self._commander.limits = self._output.limits = limits_of(values)
        self._commander.rules = rules_of(values)
        if values["dry_run"] and not self._output.muted and self._guard.enabled:
            self._hold("a dry run begins")  # the last thing the arm hears
        self._output.muted = values["dry_run"]

    def _on_chunk(self, message: JointTrajectory) -> None:
        if not self._guard.enabled:
            return
        if is_stop(message):
            self._stops += 1
            self._commander.stop("the policy says stop; its diagnostics say why")
            return
        try:
            chunk = chunk_from(message)
        except ChunkError as error:
            self._commander.stop(str(error))
            self._refuse(error)
            return
        now = self._now()
        try:
            self._commander.offer(chunk, now)
        except ChunkError as error:
            self._refuse(error)
            return
        self._accepted += 1
        self._refusal = None
        if self._arm.pose is not None and self._problem(now) is None:
            actions = self._commander.limited(chunk, self._arm.pose)
            self._output.forward(actions, chunk.period, message.header.stamp)

    def _refuse(self, error: ChunkError) -> None:
        self._refused += 1
        self._refusal = str(error)
        self.get_logger().error(self._refusal, throttle_duration_sec=LOG_PERIOD)

    def _on_emergency_stop(self, message: Bool) -> None:
        """Hold the arm, now and until released; false asks for nothing."""
        if not message.data or self._guard.latched:
            return
        self._guard.trip()
        self.get_logger().error(EMERGENCY)
        if self._guard.commanding:
            self._hold(EMERGENCY)
        self._say()

    def _tick(self) -> None:
        """Send the command of this instant, or nothing."""
        now = self._now()
        if now < self._last_time:
            self._anchored = False  # what the last chunk's stamp was does not count any more
        self._last_time = now
        if not self._guard.commanding:
            return
        if (problem := self._problem(now)) is not None:
            self._rest(problem)
            return
        assert self._arm.pose is not None
        if not self._anchored:
            self._anchor(self._arm.pose, now)
        self._send(self._arm.pose, now)

    def _anchor(self, pose: Pose, now: float) -> None:
        """Start from `pose`, with chunks observed from `now` on."""
        self._commander.anchor(pose, not_before=now)
        self._anchored = True

    def _send(self, pose: Pose, now: float) -> None:
        """Send the command of time `now` [s] to an arm measured at `pose`."""
        command = self._commander.command(now, pose)
        try:
            self._output.move(command, self._arm, now)
        except UnreachableError as error:
            self._commander.stop(str(error))
            command = self._commander.command(now, pose)
            self._output.move(command, self._arm, now)
        self._grip(command)
        if self._preview.get_subscription_count():
            self._preview.publish(pose_message(command.pose, self.get_clock().now().to_msg(), self._frame))
        self._command = command
        self._sent.add(1.0)
        self._say()

    def _grip(self, command: Command) -> None:
        values = self._settings.values
        if command.opening is not None and not self._output.muted:
            closed, opened = values["gripper.closed"], values["gripper.open"]
            self._openings.publish(Float64(data=float(closed + command.opening * (opened - closed))))

    def _rest(self, reason: str) -> None:
        """Without a measured pose: bring the arm to rest once, then publish nothing."""
        self._commander.stop(reason)
        self._anchored = False  # where the arm is later must be seen anew
        if self._command is not None:
            self._output.rest()
            self._command = None
        self._say()

    def _hold(self, reason: str) -> None:
        """Drop what runs and bring the arm to rest now, where it is measured if that can be relied on."""
        self._commander.stop(reason)
        now = self._now()
        if self._arm.pose is not None and self._problem(now) is None:
            self._send(self._arm.pose, now)
        else:
            self._rest(reason)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Start from where the arm is, with chunks observed from now on; or hold it there and publish nothing more."""
        now = self._now()
        if request.data:
            reason = self._guard.switch_on(self._problem(now))
            response.success, response.message = reason is None, "" if reason is None else f"not enabled: {reason}"
            self._refusal, self._anchored = None, False
            if reason is None and self._arm.pose is not None:
                self._anchor(self._arm.pose, now)
        else:
            response.success = True
            if self._guard.enabled:
                self._hold("disabled")
                self._guard.switch_off()
                self._command = None
        self._say()
        return response

    def _on_release(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Release the emergency stop; the arm moves after the next ~/enable, on chunks observed from then on."""
        response.success = True
        response.message = "released; call ~/enable to let the arm move"
        if not self._guard.latched:
            response.message = "no emergency stop was latched"
        elif self._guard.commanding:
            self._hold("released")
            self._command = None
        self._guard.release()
        self._say()
        return response

    def _say(self) -> None:
        """Publish the state in a word and why, when it changes."""
        _, said = self._state_now()
        if said != self._said:
            self._said = said
            self._state.publish(String(data=said))

    def _state_now(self) -> tuple[bytes, str]:
        """Level and line of the diagnostics."""
        if self._guard.latched:
            return ERROR, f"holding: {EMERGENCY}"
        if not self._guard.enabled:
            return OK, "disabled"
        if (problem := self._problem(self._now())) is not None:
            return STALE, f"no commands: {problem}"
        if self._command is None or self._command.state is Motion.IDLE:
            return OK, "waiting for a chunk"
        if self._command.state is Motion.HOLDING:
            return WARN if self._refusal is None else ERROR, f"holding: {self._command.reason}"
        return OK, self._command.state.value

    def _report(self) -> Report:
        """Is the arm under control, and if it is held, why?"""
        level, said = self._state_now()
        values: dict[str, object] = {
            "enabled": self._guard.enabled,
            "emergency stop": self._guard.latched,
            "dry run": self._output.muted,
            "command type": self._settings.values["command_type"],
            "action scale": self._settings.values["action_scale"],
            "commands [Hz]": f"{self._sent.look().rate:.1f}",
            "chunks accepted": self._accepted,
            "chunks refused": self._refused,
            "stops ordered": self._stops,
            "last refusal": self._refusal or "-",
        }
        return Report(level, said, values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command node; returns the exit status."""
    return run("command", CommandNode, CommandNode.close, args)
