"""Action chunks in, commands of the chosen kind out at a fixed rate; no valid chunk, no motion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from ...control import ChunkError, Command, Commander, Gate, GateError, Guard, Pose, within
from ...control.kinematics import UnreachableError
from ...control.values import limits_of, rules_of
from ...settings import default_settings
from ..common.diagnostics import Diagnostics, Report
from ..common.listen import LATCHED
from ..common.messages import chunk_from, is_stop
from ..common.parameters import Parameters, TunableNode, Values
from ..common.process import Stop, run
from .arm import Arm, PoseArm
from .hazards import Hazards
from .joint_arm import JointArm
from .outputs import make_output
from .preview import Preview
from .settings import COMMAND_SETTINGS
from .situation import EMERGENCY, News, Situation, Tally, Trouble

LOG_PERIOD = 5.0  # seconds between two lines about the same refusal
FAREWELL = 0.3  # seconds the last command has to arrive
JUMP = 1.0  # seconds between two commands that are more than a delay
SERVO_RATE = 20.0  # hertz: MoveIt Servo stops when velocities come more rarely


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
        self._limits = limits_of(values)
        self._commander = Commander(self._limits, self._frame, rules_of(values))
        self._gate = Gate(self._limits, 1.0 / values["rate"])
        self._guard = Guard(values["enabled"])
        self._tally = Tally()
        self._trouble = Trouble()
        self._begun: Pose | None = None  # where motion starts from
        self._last_time = -math.inf
        self._command: Command | None = None
        self._news = News()
        self._arm = self._make_arm(values)
        self._output = make_output(values["command_type"], self, self._frame, self._gate, values["rate"])
        self._output.muted = values["dry_run"]
        self._openings = self.create_publisher(Float64, "gripper_command", 1)
        self._preview = Preview(self, self._frame)
        self._state = self.create_publisher(String, "~/state", LATCHED)
        self._diagnostics = Diagnostics(self, "command", {"safety": self._report}, stop)
        self._hazards = Hazards(self, self._on_chunk, self._on_conflict, self._on_stop, values["enabled"])
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/release", self._on_release)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # commands go on when simulated time stands still
        self.create_timer(1.0 / values["rate"], self._tick, clock=steady)
        self._say()

    def _make_arm(self, values: Values) -> Arm:
        given: tuple[Any, ...] = (lambda: self._now(), self._timeout, lambda: self._limits)
        if values["command_type"] == "joint_trajectory":
            return JointArm(self, self._frame, values["tool_frame"], *given)
        return PoseArm(self, self._frame, *given)

    def close(self) -> None:
        """Bring the arm to rest, as the last thing on the wire."""
        if self._guard.commanding:
            self._hold("the node is going")
            self._output.flush(FAREWELL)
            self._state.wait_for_all_acked(Duration(seconds=FAREWELL))  # and why

    def rest(self, reason: str) -> None:
        """Hold the arm after something in this node has failed."""
        if self._guard.commanding:
            self._hold(reason)

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _timeout(self) -> float:
        return float(self._settings.values["pose_timeout"])

    def _look(self, now: float) -> Trouble:
        """See what keeps the arm from moving at time `now` [s]."""
        listening = self._hazards.listening()
        if listening is not None:
            self._arm.confirm(now)  # nothing was sent for what was measured so far
        problem = self._arm.problem(now) or listening
        hazard = self._hazards.problem() or self._diagnostics.twins.problem
        self._trouble = Trouble(problem, problem and self._arm.jump(now), hazard)
        return self._trouble

    def _apply(self, values: Values) -> None:
        self._limits = self._commander.limits = self._gate.limits = limits_of(values)
        self._commander.rules = rules_of(values)
        if values["dry_run"] and not self._output.muted and self._guard.enabled:
            self._hold("a dry run begins")  # the last thing the arm hears
        if values["dry_run"] != self._output.muted:  # nothing of a dry run was sent, so nothing of it counts
            self._commander = Commander(self._limits, self._frame, rules_of(values))
            self._output.forget()
            self._begun = None
        self._output.muted = values["dry_run"]

    def _on_chunk(self, message: JointTrajectory) -> None:
        if not self._guard.enabled:
            return
        if is_stop(message):
            self._tally.stops += 1
            self._commander.stop("the policy says stop; its diagnostics say why")
            return
        try:
            chunk = chunk_from(message)
        except ChunkError as error:
            self._commander.stop(str(error))
            self._refuse(error)
            return
        try:
            self._commander.offer(chunk, now := self._now())
        except ChunkError as error:
            self._refuse(error)
            return
        self._tally.accept()
        if self._look(now)[::2] == (None, None) and self._arm.pose is not None:
            actions = self._commander.limited(chunk, self._arm.pose)
            self._output.forward(actions, chunk.period, message.header.stamp)
            self._preview.chunk(actions, self._arm.pose, self._limits, self._commander.rules.tool)

    def _on_conflict(self) -> None:
        """Hold at once: two policies that take turns move the arm to where neither means it to be."""
        if self._guard.enabled and (hazard := self._look(self._now()).hazard) is not None:
            self._commander.stop(hazard)
            self.get_logger().error(hazard, throttle_duration_sec=LOG_PERIOD)
            self._say()

    def _refuse(self, error: ChunkError) -> None:
        self._tally.refuse(str(error))
        self.get_logger().error(str(error), throttle_duration_sec=LOG_PERIOD)

    def _on_stop(self, message: Bool) -> None:
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
        since, self._last_time = now - self._last_time, now
        if since < 0.0:
            self._begun = None  # what the last chunk's stamp was does not count any more
            self._arm.forget()
        elif JUMP < since < math.inf:
            self._commander.stop(f"time jumped ahead by {since:.1f} s, or this node was held up for so long")
        if not self._guard.commanding:
            return
        problem, _, hazard = self._look(now)
        if problem is not None:
            self._rest(problem)
            return
        if hazard is not None:
            self._commander.stop(hazard)
        assert self._arm.pose is not None
        self._anchor(self._arm.pose, now)
        self._send(self._arm.pose, now)

    def _anchor(self, pose: Pose, now: float) -> None:
        """Start from `pose`, with chunks observed from `now` on, unless that is done; anew where it moved unsent."""
        begun, lead = self._begun, (self._limits.lead_translation, self._limits.lead_rotation)
        if begun is not None and (self._command is not None or within(begun, pose, *lead)):
            return
        self._commander.anchor(pose, not_before=now)
        self._gate.forget()
        self._output.forget()
        self._begun = pose

    def _send(self, pose: Pose, now: float) -> None:
        """Send the command of time `now` [s] to an arm measured at `pose`."""
        if self._guard.enabled and self._trouble.hazard is None:
            self._gate.free()
        else:
            self._gate.hold()
        command = self._commander.command(now, pose)
        try:
            self._output.move(command, self._arm, now)
        except (UnreachableError, GateError) as error:
            self._commander.stop(str(error))
            command = self._commander.command(now, pose)
            self._output.move(command, self._arm, now)
        self._grip(command)
        self._preview.target(command.pose)
        self._command = command
        self._tally.note(command)
        self._say()

    def _grip(self, command: Command) -> None:
        values = self._settings.values
        if command.opening is not None and not self._output.muted:
            closed, opened = values["gripper.closed"], values["gripper.open"]
            opening = float(closed + command.opening * (opened - closed))
            self._gate.opening(opening, closed, opened)
            self._openings.publish(Float64(data=opening))

    def _rest(self, reason: str) -> None:
        """Without a measured pose: bring the arm to rest once, then publish nothing."""
        self._commander.stop(reason)
        self._begun = None  # where the arm is later must be seen anew
        if self._command is not None:
            self._output.rest()
            self._command = None
        self._say()

    def _hold(self, reason: str) -> None:
        """Drop what runs and bring the arm to rest now, where it is measured if that can be relied on."""
        now = self._now()
        if self._look(now).problem is not None or self._arm.pose is None:
            self._rest(reason)
            return
        self._anchor(self._arm.pose, now)
        self._commander.stop(reason)
        self._send(self._arm.pose, now)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Start from where the arm is, with chunks observed from now on; or hold it there and publish nothing more."""
        now = self._now()
        if request.data:
            doubt, trouble = self._arm.confirm(now), self._look(now)
            reason = self._guard.switch_on(doubt or trouble.problem or trouble.hazard)
            response.success, response.message = reason is None, "" if reason is None else f"not enabled: {reason}"
            self._tally.forget()
            self._begun = None
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
        """Publish the state in a word and why, when it changes, and the diagnostics with it."""
        said = self._situation().line
        if self._news.is_one(said):
            self._state.publish(String(data=said))
            self._diagnostics.hurry()

    def _situation(self) -> Situation:
        return Situation(self._guard, self._command, self._trouble, self._tally.refusal)

    def _report(self) -> Report:
        """Is the arm under control, and if it is held, why?"""
        values = self._settings.values
        shown = {"dry run": self._output.muted}
        shown |= {name.replace("_", " "): values[name] for name in ("command_type", "action_scale")}
        self._look(self._now())
        several = self._arm.several() or self._hazards.crowd() or self._output.trouble(self._commander.moving)
        return self._situation().report(self._tally, shown, several, self._hazards.waiting, values["warn.clipped"])


def main(args: Sequence[str] | None = None) -> int:
    """Run the command node; returns the exit status."""
    return run("command", CommandNode, CommandNode.close, args)
