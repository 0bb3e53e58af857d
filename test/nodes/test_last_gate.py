"""Whatever happens before it, no message leaves the command node that is not finite, outside limits, or against a hold.

Random histories of inputs, faults and changes of parameters are played to the node itself, on a clock of the test;
what it would publish is judged by rules of this file, not by those of the node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from tools.faults.peers import AT_HOME, JOINTS, JointedArm
from vla_entropy_ros.control import Command, Kinematics, Limits, Motion, Pose, limits_of, read_chain
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.nodes.command import arm, hazards, joint_arm
from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common import listen
from vla_entropy_ros.nodes.common.messages import chunk_message, pose_from, pose_message, stop_message

from .arm import HOME
from .histories import NOW, events

RATE = 50.0  # hertz
TIGHT = 2e-6  # metres, radians and per second: twice what the node may round by
KINEMATICS = Kinematics(read_chain(JointedArm.description, "base_link", "tool"))
NOT_A_NUMBER = JointedArm.description.replace('velocity="2"', 'velocity="nan"')
KINDS = ("pose_stamped", "twist_stamped", "joint_trajectory", "chunk")


def stamp(seconds: float) -> Time:
    nanoseconds = max(0, round(seconds * 1e9))
    return Time(sec=nanoseconds // 10**9 % 2**31, nanosec=nanoseconds % 10**9)


@dataclass
class Played:
    """The node under a clock of its own: time passes only in `tick`, and what it publishes is judged at once."""

    kind: str
    now: float = NOW
    steady: float = 0.0
    violations: list[str] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        values = {"command_type": self.kind, "rate": RATE, "action_scale": 1.0}
        self.node = CommandNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
        self.at = HOME
        self.joints = np.array(AT_HOME)
        self.last: Any = None
        self.numbers = {"a": 0, "b": 0}
        self._patch()

    @property
    def arm(self) -> Any:
        """The node's arm, whatever measures it."""
        return self.node._arm

    def _patch(self) -> None:
        node: Any = self.node
        node._now = lambda: self.now
        node._output._publisher = SimpleNamespace(publish=self._judge, wait_for_all_acked=lambda _: True)
        node._openings = SimpleNamespace(publish=self._judge_opening)
        if self.kind == "joint_trajectory":
            node._arm._on_description(String(data=JointedArm.description))

    # What may happen.

    def tick(self, periods: float) -> None:
        self.now += periods / RATE
        self.steady += periods / RATE
        self._run(self.node._tick)

    def measure(self, jump: float, age: float, spoiled: float | None) -> None:
        """The arm where it was told to be, or `jump` further; one number replaced by `spoiled`."""
        if self.kind == "joint_trajectory":
            positions = self.joints + jump
            if spoiled is not None:
                positions[1] = spoiled
            message = JointState(name=list(JOINTS), position=positions.tolist())
            message.header.stamp = stamp(self.now - age)
            self._run(self.arm._on_joints, message, self._info("driver"))
            return
        position = self.at.position + np.array([jump, 0.0, 0.0])
        if spoiled is not None:
            position[1] = spoiled
        pose = pose_message(Pose(position, self.at.quaternion), stamp(self.now - age), "base_link")
        self._run(self.arm._on_pose, pose, self._info("driver"))

    def offer(self, actions: list[list[float]], age: float, source: str, frame: str) -> None:
        message = chunk_message(np.array(actions), ACTION_NAMES, 0.1, stamp(self.now - age), frame)
        self._run(self.node._hazards._hear, message, self._info(source))

    def order(self, what: str) -> None:
        node = self.node
        orders: dict[str, Callable[[], object]] = {
            "stop": lambda: node._hazards._hear(stop_message(stamp(self.now), "base_link"), self._info("a")),
            "emergency": lambda: node._on_stop(Bool(data=True)),
            "release": lambda: node._on_release(Trigger.Request(), Trigger.Response()),
            "enable": lambda: node._on_enable(SetBool.Request(data=True), SetBool.Response()),
            "disable": lambda: node._on_enable(SetBool.Request(data=False), SetBool.Response()),
            "jump of time": lambda: setattr(self, "now", self.now - 100.0),
            "twin": lambda: setattr(node._diagnostics.twins, "_heard", self.steady),
            "other description": lambda: self.describe(NOT_A_NUMBER),
            "description": lambda: self.describe(JointedArm.description),
        }
        self._run(orders[what])

    def describe(self, text: str) -> None:
        if self.kind == "joint_trajectory":
            self.arm._on_description(String(data=text))

    def set(self, name: str, value: Any) -> None:
        self._run(self.node.set_parameters, [Parameter(name, value=value)])

    def break_down(self, numbers: list[float], moving: bool) -> None:
        """Whatever the node computes next is nonsense."""
        commander: Any = self.node._commander
        state = Motion.TRACKING if moving else Motion.HOLDING
        nonsense = Command(Pose(np.array(numbers[:3]), np.array(numbers[3:7])), numbers[7], state, None)
        commander.command = lambda now, pose: nonsense
        self.tick(1.0)
        del commander.command

    def _run(self, callback: Callable[..., object], *args: Any) -> None:
        self.node._guard_callback(callback)(*args)

    def _info(self, source: str) -> dict[str, Any]:
        return {"publisher_gid": {"data": source.encode() * 16}}

    # What may leave.

    @property
    def may_move(self) -> bool:
        node = self.node
        hazard = node._hazards.problem() or node._diagnostics.twins.problem
        clear = node._guard.enabled and not node._guard.latched and hazard is None
        return clear and node._arm.problem(self.now) is None

    def _judge(self, message: Any) -> None:
        self.sent += 1
        limits = limits_of(self.node._settings.values)
        judge = {
            PoseStamped: self._judge_pose,
            JointTrajectory: self._judge_chunk if self.kind == "chunk" else self._judge_joints,
        }.get(type(message), self._judge_twist)
        judge(message, limits)

    def _judge_pose(self, message: PoseStamped, limits: Limits) -> None:
        try:
            pose = pose_from(message)
        except ValueError as error:
            self.violations.append(str(error))
            return
        here = self.node._arm.pose
        assert here is not None
        low = np.minimum(np.minimum(limits.workspace_low, here.position), (self.last or here).position) - TIGHT
        high = np.maximum(np.maximum(limits.workspace_high, here.position), (self.last or here).position) + TIGHT
        if not ((low <= pose.position) & (pose.position <= high)).all():
            self.violations.append(f"{pose.position} outside the workspace, from {here.position}")
        step = float(np.linalg.norm(pose.position - (self.last or here).position))
        ahead = float(np.linalg.norm(pose.position - here.position))
        back = float(np.linalg.norm((self.last or here).position - here.position))
        if not self.may_move and step > TIGHT and ahead > back + TIGHT:
            self.violations.append(f"moved {step} m although it must not, {ahead} m from where it is")
        if step > limits.max_speed / RATE + TIGHT and ahead > back + TIGHT and ahead > limits.max_speed / RATE + TIGHT:
            self.violations.append(f"a step of {step} m")
        self.last = self.at = pose

    def _judge_twist(self, message: Any, limits: Limits) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        speed, turn = (math.sqrt(v.x**2 + v.y**2 + v.z**2) for v in (linear, angular))
        if not (speed <= limits.max_speed + TIGHT and turn <= limits.max_turn_speed + TIGHT):
            self.violations.append(f"{speed} m/s, {turn} rad/s")
        if not self.may_move and (speed or turn):
            self.violations.append(f"{speed} m/s, {turn} rad/s although it must not move")
        if speed <= limits.max_speed:
            shift = np.array([linear.x, linear.y, linear.z]) / RATE
            self.at = Pose(self.at.position + shift, self.at.quaternion)

    def _judge_joints(self, message: JointTrajectory, limits: Limits) -> None:
        joints = np.array(message.points[0].positions)
        if tuple(message.joint_names) != JOINTS or not np.isfinite(joints).all():
            self.violations.append(f"joints {message.joint_names}: {joints}")
            return
        measured = self.arm.joints
        before = self.joints if self.last is None else self.last
        reach = np.maximum.reduce(
            [np.full(len(JOINTS), 1.5), *(np.abs(v) for v in (before, measured) if v is not None)]
        )
        if (np.abs(joints) > reach + TIGHT).any():
            self.violations.append(f"joints {joints} out of range")
        step = np.abs(joints - before).max()
        if not self.may_move and step > TIGHT and measured is not None:
            if (np.abs(joints - measured) > np.abs(before - measured) + TIGHT).any():
                self.violations.append(f"joints moved {step} although they must not")
        elif self.may_move and step > 1.5 / RATE + TIGHT and np.abs(joints - measured).max() > 1.5 / RATE + TIGHT:
            self.violations.append(f"a step of {step} of a joint")
        self.last = self.joints = joints

    def _judge_chunk(self, message: JointTrajectory, limits: Limits) -> None:
        actions = np.array([point.positions for point in message.points])
        if not np.isfinite(actions).all():
            self.violations.append(f"actions {actions}")
        moved = np.linalg.norm(actions[:, :3], axis=1).max()
        if moved > limits.max_translation + TIGHT:
            self.violations.append(f"an action of {moved} m")
        if not self.may_move and actions[:, :6].any():
            self.violations.append(f"actions {actions} although it must not move")

    def _judge_opening(self, message: Any) -> None:
        values = self.node._settings.values
        ends = sorted((values["gripper.closed"], values["gripper.open"]))
        if not ends[0] - 1e-3 <= message.data <= ends[1] + 1e-3:
            self.violations.append(f"gripper {message.data}, valid is {ends}")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(events, min_size=5, max_size=60))
def test_nothing_leaves_that_is_not_finite_outside_limits_or_against_a_hold(
    monkeypatch: pytest.MonkeyPatch, kind: str, history: list[tuple[Any, ...]]
) -> None:
    played = Played(kind)
    clock = SimpleNamespace(monotonic=lambda: played.steady)
    for module in (arm, hazards, joint_arm, listen):
        monkeypatch.setattr(module, "time", clock)
    try:
        played.measure(0.0, 0.0, None)
        played.order("enable")
        for name, *given_ in history:
            getattr(played, name)(*given_)
            assert played.violations == []
    finally:
        played.node.destroy_node()


@pytest.mark.parametrize("kind", KINDS)
def test_the_histories_do_move_the_arm(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The property above is not one of a node that never sends anything."""
    played = Played(kind)
    clock = SimpleNamespace(monotonic=lambda: played.steady)
    for module in (arm, hazards, joint_arm, listen):
        monkeypatch.setattr(module, "time", clock)
    played.measure(0.0, 0.0, None)
    played.order("enable")
    played.offer([[0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]] * 3, 0.0, "a", "base_link")
    before, messages = played.sent, played.at.position[0] + played.joints[0]
    for _ in range(20):
        played.measure(0.0, 0.0, None)
        played.tick(1.0)
    assert played.violations == []
    assert played.sent > before or kind == "chunk"
    if kind != "chunk":
        assert played.at.position[0] + played.joints[0] > messages + 0.01
    played.node.destroy_node()
