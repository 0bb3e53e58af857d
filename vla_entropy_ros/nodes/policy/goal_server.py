"""Instructions by topic and goals by service: what the policy is told to do, and word of how it fares."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Int32, String
from std_srvs.srv import Trigger

from ..common import goals
from ..common.diagnostics import OK, WARN
from ..common.facts import facts_message
from ..common.goals import EMERGENCY, Request, short
from ..common.listen import LATCHED, SafetyInput, type_name
from ..common.messages import positions_by_name
from ..common.process import one_line
from .goal import Goals, Scene
from .inference import LOG_PERIOD, Inference
from .inputs import typed

LOOK = 0.1  # seconds between two looks at the goal
ARM = "command/state"
BOOL = type_name(Bool)
# A reliable reader waits for what was lost, and takes what came meanwhile all at once: up to 0.8 s late.
FRESH = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
MEASURED = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # hears every publisher


@dataclass(frozen=True)
class Powers:
    """What the node lends to its goals.

    inference: None while nothing is loaded; stop: orders the arm to stop; refusal: why an instruction can't be
    followed, None where it can; values: of the parameters; hurry: has the diagnostics told soon.
    """

    inference: Callable[[], Inference | None]
    stop: Callable[[], None]
    refusal: Callable[[str], str | None]
    values: Callable[[], Mapping[str, Any]]
    hurry: Callable[[], None]


class GoalServer:
    """One goal at a time; the arm is ordered to stop where it ends. Everything here runs on the executor's thread."""

    def __init__(self, node: Node, powers: Powers) -> None:
        self._node, self._powers = node, powers
        self._name = node.get_fully_qualified_name()
        self._goals = Goals()
        self._arm: str | None = None
        self._looks = self._news = 0
        self._over = False  # a goal has ended, and nothing was asked for since
        self._until: SafetyInput | None = None
        self._measured: list[Any] = []
        self._status = node.create_publisher(DiagnosticArray, f"~/{goals.STATUS}", LATCHED)
        node.create_service(SetParametersAtomically, f"~/{goals.START}", self._on_start)
        node.create_service(Trigger, f"~/{goals.CANCEL}", self._on_cancel)
        node.create_subscription(Int32, f"~/{goals.BEAT}", self._on_beat, FRESH)
        node.create_subscription(String, ARM, self._on_arm, LATCHED)
        node.create_timer(LOOK, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def on_instruction(self, message: String) -> None:
        """Follow what the topic says; a goal of other words ends."""
        inference, text = self._powers.inference(), message.data.strip()
        if inference is None:
            return
        self._over = False
        if self._goals.now.running and text != self._goals.now.request.instruction:
            said = f"the topic 'instruction' says '{short(text)}'" if text else "an empty instruction came on the topic"
            self._goals.end(goals.CANCELLED, said, self._scene())
            self._close()
            self._tell_end()
        before = inference.instruction
        inference.instruct(text)
        if not text:
            self._node.get_logger().warning(
                "empty instruction refused: no action until a valid one arrives", throttle_duration_sec=LOG_PERIOD
            )
            if before is not None and inference.active:
                self._powers.stop()
        elif text != before:
            self._node.get_logger().info(f"instruction: {short(text)}", throttle_duration_sec=LOG_PERIOD)

    def lacking(self, empty: bool) -> str:
        """What is known of the instruction that is lacking, and what to do; empty: the last one was."""
        if self._over:
            return f"{self._goals.line()}; give another goal, or publish an instruction"
        return typed(self._node, empty)

    def _on_start(self, request: Any, response: SetParametersAtomically.Response) -> Any:
        """Take a goal whose names and values are those of Request; its number, or why not."""
        try:
            given = [(one.name, parameter_value_to_python(one.value)) for one in request.parameters]
            if twice := [name for name, count in Counter(name for name, _ in given).items() if count > 1]:
                raise ValueError(f"{short(twice[0])} is given twice")
            wanted = Request.of(dict(given))
            refusal = self._refusal(wanted)
            if refusal is None and self._goals.silence(wanted, time.monotonic()):
                response.result.reason = goals.unheard(wanted.client, self._name)
                return response  # no refusal yet: the way from a client is found a little later than the way to it
            if refusal is None:
                self._listen(wanted)
        except (ValueError, RuntimeError) as error:  # the latter: a value of no known type
            refusal = one_line(error)
        response.result.successful = refusal is None
        if refusal is not None:
            response.result.reason = refusal
            self._node.get_logger().warning(f"goal refused: {refusal}", throttle_duration_sec=LOG_PERIOD)
            return response
        scene = self._scene()
        if self._goals.now.running:
            self._goals.end(goals.CANCELLED, "another goal took its place", scene)
            self._tell_end()
        response.result.reason, self._over = str(self._goals.start(wanted, scene)), False
        inference = self._powers.inference()
        assert inference is not None
        inference.instruct(wanted.instruction)
        self._node.get_logger().info(f"instruction: {short(wanted.instruction)} (goal {self._goals.now.number})")
        self._publish()
        return response

    def _refusal(self, wanted: Request) -> str | None:
        """Why a goal can't begin now, in one line with what to do; None where it can."""
        inference, running = self._powers.inference(), self._goals.now.running
        if inference is None or not inference.active:
            state, step = ("inactive", "activate") if inference is not None else ("unconfigured", "configure")
            return f"the policy is {state}: ros2 lifecycle set {self._name} {step}"
        if running and not self._powers.values()["goal.preempt"]:
            return f"{self._goals.line()}: cancel it ({self._name}/{goals.CANCEL}), or set goal.preempt"
        if self._arm is not None and self._arm.startswith(EMERGENCY):
            return self._arm
        if inference.blocked is not None:
            return inference.blocked
        return self._powers.refusal(wanted.instruction)

    def _listen(self, wanted: Request) -> None:
        """Subscribe to what tells that the goal is done; ValueError in one line where nothing can."""
        until, node = wanted.until, self._node
        if until.kind == "still" and not any(map(node.count_publishers, ("current_pose", "joint_states"))):
            raise ValueError(f"until '{until.text}': nobody publishes current_pose or joint_states: take another end")
        heard = None
        if until.kind == "topic":
            try:
                full = node.resolve_topic_name(until.name)
                kinds = dict(node.get_topic_names_and_types()).get(full, [BOOL])
                if BOOL not in kinds:
                    raise ValueError(
                        f"until '{short(until.text)}': {full} is of {kinds[0]}, which can't be heard; expected {BOOL}"
                    )
                heard = SafetyInput(node, Bool, until.name, self._on_done)
            except (InvalidTopicNameException, RuntimeError):  # RCLError is one
                raise ValueError(f"until '{short(until.text)}': that is no name of a topic") from None
            if (mismatch := heard.mismatch()) is not None:
                heard.close()
                raise ValueError(f"until '{until.text}': {mismatch}")
        self._close()
        self._until = heard
        if until.kind == "still":
            self._measured = [
                node.create_subscription(PoseStamped, "current_pose", self._on_pose, MEASURED),
                node.create_subscription(JointState, "joint_states", self._on_joints, MEASURED),
            ]

    def _close(self) -> None:
        """End the subscriptions of a goal."""
        if self._until is not None:
            self._until.close()
            self._until = None
        for subscription in self._measured:
            self._node.destroy_subscription(subscription)
        self._measured = []

    def _on_cancel(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusal = self._goals.cancel(self._scene())
        response.success, response.message = refusal is None, refusal or self._goals.line()
        if refusal is None:
            self._finish()
        return response

    def _on_beat(self, message: Int32) -> None:
        self._goals.beat(int(message.data), time.monotonic())

    def _on_arm(self, message: String) -> None:
        self._arm = str(message.data)

    def _on_done(self, message: Bool) -> None:
        self._goals.say(bool(message.data), time.monotonic())
        self._check()

    def _on_pose(self, message: PoseStamped) -> None:
        place, turn = message.pose.position, message.pose.orientation
        values = {
            "position": np.array([place.x, place.y, place.z]),
            "orientation": np.array([turn.x, turn.y, turn.z, turn.w]),
        }
        self._goals.still.measure(values, time.monotonic())

    def _on_joints(self, message: JointState) -> None:
        try:
            values = {f"joints.{name}": np.array([value]) for name, value in positions_by_name(message).items()}
        except ValueError:
            return  # the command node says so
        self._goals.still.measure(values, time.monotonic())

    def _scene(self) -> Scene:
        inference = self._powers.inference()
        if inference is None:
            return Scene(time.monotonic(), active=False, arm=self._arm, fault="no policy is loaded")
        now = inference.statistics()
        answer = now.answer
        return Scene(
            now.taken,
            now.active,
            now.ticks,
            now.last_tick,
            entropy=None if answer is None else answer.result.uncertainty,
            hold=None if answer is None else answer.hold,
            fault=now.fault or now.blocked,
            arm=self._arm,
        )

    def _look(self) -> None:
        """See how the goal fares; say it now and then."""
        self._looks += 1
        if self._news:  # the diagnostics may have been told just before, and then wait for a second
            self._news -= 1
            self._powers.hurry()
        if not self._check() and self._looks % round(goals.HEARTBEAT / LOOK) == 0:
            self._publish()

    def _check(self) -> bool:
        """Whether the goal has ended just now; the arm is stopped then."""
        ended = self._goals.look(self._scene(), self._powers.values()["goal.patience"])
        if ended:
            self._finish()
        return ended

    def _finish(self) -> None:
        """Follow nothing any more, since the goal has ended."""
        self._over = True
        inference = self._powers.inference()
        if inference is not None:
            inference.instruct("")
            if inference.active:
                self._powers.stop()
        self._close()
        self._tell_end()

    def _tell_end(self) -> None:
        self._node.get_logger().info(self._goals.line())
        self._publish()
        self._news = 2

    def _publish(self) -> None:
        inference, scene = self._powers.inference(), self._scene()
        state = goals.UNCONFIGURED if inference is None else goals.ACTIVE if inference.active else goals.INACTIVE
        values = {**self._goals.facts(scene), "policy": state}
        well = self._goals.now.state in (goals.IDLE, goals.RUNNING, goals.DONE) and not values["hold"]
        stamp = self._node.get_clock().now().to_msg()
        self._status.publish(
            facts_message(f"{self._name}: goal", stamp, values, OK if well else WARN, self._goals.line())
        )
