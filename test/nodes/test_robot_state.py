"""The robot's state over DDS, for a policy that needs one: the right values by stamp, or no action and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, JointState

from vla_entropy_ros.control import Pose
from vla_entropy_ros.engine import Observation, Policy, Result, SettingError, State
from vla_entropy_ros.nodes.common.messages import pose_message, seconds
from vla_entropy_ros.nodes.policy.robot_state import KEPT, SPARE, History, RobotState, sources_of

from .robot import Robot

ERROR, OK = DiagnosticStatus.ERROR, DiagnosticStatus.OK
JOINTS = ("shoulder", "elbow")


class Sensed:
    """The robot of a policy that needs its state; remembers the states that the policy was given."""

    def __init__(self, stage: Any, checkpoint: Path, needed: tuple[str, ...], patch: pytest.MonkeyPatch) -> None:
        self.stage, self.checkpoint = stage, checkpoint
        self.states: list[State | None] = []
        self.heard = 0
        load, infer = Policy.load, Policy.infer

        def loaded(*arguments: Any, **options: Any) -> Policy:
            policy = load(*arguments, **options)
            policy.info = replace(policy.info, state_names=needed)
            return policy

        def inferred(policy: Policy, observation: Observation) -> Result:
            self.states.append(observation.state)
            return infer(policy, observation)

        patch.setattr(Policy, "load", loaded)
        patch.setattr(Policy, "infer", inferred)
        for name in ("_on_joints", "_on_pose"):
            patch.setattr(RobotState, name, self._counted(getattr(RobotState, name)))

    def _counted(self, take: Callable[[RobotState, Any], None]) -> Callable[[RobotState, Any], None]:
        def counted(state: RobotState, message: Any) -> None:
            take(state, message)
            self.heard += 1

        return counted

    def begin(self, **overrides: Any) -> Sensed:
        """Configure and activate."""
        self.robot = Robot(self.stage, self.checkpoint, **overrides).activate()
        return self

    def joints(self, stamp: Time, **positions: float) -> None:
        """Publish joints as measured at that time; each call is heard before it returns."""
        message = JointState(name=list(positions), position=list(positions.values()))
        message.header.stamp = stamp
        self._publish(JointState, "joint_states", message)

    def pose(self, stamp: Time, pose: Pose, frame: str = "base_link") -> None:
        """Publish the pose as measured at that time."""
        self._publish(PoseStamped, "current_pose", pose_message(pose, stamp, frame))

    def _publish(self, kind: type, topic: str, message: Any) -> None:
        """Publish with a publisher of its own."""
        before = self.heard
        self.stage.publisher(kind, topic).publish(message)
        self.stage.until(lambda: self.heard > before, f"{topic} to arrive")

    def answered(self, image: Image) -> None:
        """An image gives an action."""
        self.robot.see(image)
        self.stage.until(
            lambda: any(chunk.header.stamp == image.header.stamp for chunk in self.robot.chunks), "a chunk"
        )

    def refused(self, said: str, image: Image | None = None) -> None:
        """An image, without one that of now, gives no action, and the observation task says why."""
        before = self.robot.statistics.refused
        self.robot.see(image)
        self.robot.quiet(lambda: self.robot.statistics.refused > before, "a refusal")
        self.robot.node._diagnostics.publish()
        status = self.stage.diagnostic("policy: observation", lambda status: said in status.message)
        assert status.level == ERROR


def later(stamp: Time, offset: float) -> Time:
    """A time `offset` seconds after another."""
    nanoseconds = stamp.sec * 10**9 + stamp.nanosec + round(offset * 1e9)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


@pytest.fixture
def sensed(stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sensed]]:
    """Makes the robot of a policy that needs the state of that name."""
    return lambda *needed, **overrides: Sensed(stage, checkpoint, needed, monkeypatch).begin(**overrides)  # type: ignore[return-value]


def test_a_policy_without_state_subscribes_to_none(robot: Robot) -> None:
    assert robot.node.count_subscribers("joint_states") == robot.node.count_subscribers("current_pose") == 0
    robot.tick()


def test_values_are_those_measured_nearest_to_the_image(sensed: Callable[..., Sensed]) -> None:
    one = sensed(*JOINTS)
    image = one.robot.image()
    stamp = image.header.stamp
    for number, offset in enumerate((-0.15, -0.04, 0.03, 0.1)):
        one.joints(later(stamp, offset), elbow=10.0 + number, gripper=0.0, shoulder=20.0 + number)
    one.answered(image)
    (state,) = one.states
    assert state is not None
    assert state.names == JOINTS
    assert state.values.tolist() == [22.0, 12.0]
    assert state.stamp == pytest.approx(seconds(stamp) + 0.03)
    one.robot.node._diagnostics.publish()
    status = one.stage.diagnostic("policy: observation", lambda status: status.level == OK)
    assert {value.key: value.value for value in status.values}["state beside the image p50 / p95 / max [ms]"] == (
        "30.0 / 30.0 / 30.0"
    )


def test_two_publishers_may_own_different_joints_and_the_pose_is_in_fixed_axes(sensed: Callable[..., Sensed]) -> None:
    needed = ("j1", "hand", "px", "pz", "turn")
    one = sensed(*needed, **{"state.names": "shoulder, gripper, x,z , yaw"})
    image = one.robot.image()
    stamp = image.header.stamp
    turned = Pose(np.array([0.4, -0.1, 0.3]), Rotation.from_euler("xyz", [0.2, -0.3, 1.1]).as_quat())
    one.joints(later(stamp, -0.02), shoulder=0.7)
    one.joints(later(stamp, 0.05), gripper=0.04)
    one.pose(later(stamp, -0.01), turned)
    one.answered(image)
    (state,) = one.states
    assert state is not None
    assert state.names == needed
    np.testing.assert_allclose(state.values, [0.7, 0.04, 0.4, 0.3, 1.1], atol=1e-9)
    assert state.stamp == pytest.approx(seconds(stamp) + 0.05)  # of the part that is farthest away


@pytest.mark.parametrize("rate", [50.0, 10.0])
def test_common_rates_serve_an_image_of_any_moment(sensed: Callable[..., Sensed], rate: float) -> None:
    one = sensed("shoulder")
    inputs, began = one.robot.node._inputs, one.robot.now()
    assert inputs is not None
    assert (state := inputs.robot_state) is not None
    for number in range(5):
        one.joints(later(began, number / rate), shoulder=float(number))
        for phase in (0.0, 0.4, 0.99):  # of the time until the next sample, which has not come yet
            stamp = seconds(began) + (number + phase) / rate
            assert state.at(stamp).values.tolist() == [number]


def test_a_joint_that_nobody_tells_is_named(sensed: Callable[..., Sensed], capfd: pytest.CaptureFixture[str]) -> None:
    one = sensed(*JOINTS)
    one.refused("the state lacks shoulder, elbow: no joint_states yet; the policy needs shoulder, elbow")
    one.joints(one.robot.now(), shoulder=0.1, wrist=0.2)
    said = (
        "the state lacks elbow: the policy needs shoulder, elbow, joint_states has shoulder, wrist: check state.names"
    )
    one.refused(said)
    one.robot.node._diagnostics.publish()
    assert "the state lacks shoulder, elbow" in capfd.readouterr().err
    image = one.robot.image()
    one.joints(image.header.stamp, elbow=0.3, shoulder=0.1)
    one.answered(image)
    one.robot.node._diagnostics.publish()
    one.stage.diagnostic("policy: observation", lambda status: status.level == OK)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_joint_that_is_no_number_is_named(sensed: Callable[..., Sensed], value: float) -> None:
    one = sensed(*JOINTS)
    image = one.robot.image()
    one.joints(image.header.stamp, shoulder=0.1, elbow=value)
    one.refused("the state's elbow is not a finite number on joint_states: check the driver", image)
    assert one.states == []


def test_a_joint_that_is_too_old_is_named(sensed: Callable[..., Sensed]) -> None:
    one = sensed(*JOINTS)
    image = one.robot.image()
    one.joints(image.header.stamp, shoulder=0.1)
    one.joints(later(image.header.stamp, -3.0), elbow=0.2)
    said = "the state's elbow is 3.00 s older than the image, valid is up to 0.2: check the rate and the clock of joint"
    one.refused(said, image)
    image = one.robot.image()
    one.joints(image.header.stamp, shoulder=0.1)
    one.joints(later(image.header.stamp, 1.5), elbow=0.2)
    one.refused("the state's elbow is 1.50 s newer than the image", image)


def test_a_message_that_is_of_no_use_is_said(sensed: Callable[..., Sensed]) -> None:
    one = sensed("shoulder", "x")
    message = JointState(name=["shoulder", "elbow"], position=[0.1])
    one._publish(JointState, "joint_states", message)
    one.refused("the state lacks shoulder: joint_states refused: 2 names (shoulder, elbow), 1 positions; expected")
    here = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    one.joints(one.robot.now(), shoulder=0.1)
    one.pose(one.robot.now(), here, frame="map")
    one.refused("the state lacks x: current_pose is in frame 'map', expected 'base_link': let its publisher set")
    one.pose(one.robot.now(), Pose(here.position * np.nan, here.quaternion))
    one.refused("the state lacks x: current_pose: pose refused: position (nan, nan, nan), quaternion (0, 0, 0, 1) in")
    image = one.robot.image()
    one.pose(image.header.stamp, here)
    one.joints(image.header.stamp, shoulder=0.1)
    one.answered(image)


def test_joint_states_without_joints_are_told_as_received(sensed: Callable[..., Sensed]) -> None:
    one = sensed("shoulder")
    one._publish(JointState, "joint_states", JointState())
    one.refused("the state lacks shoulder: joint_states refused: it names no joints, expected at least one")


def test_names_of_another_number_are_refused_at_configure(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Sensed(stage, checkpoint, JOINTS, monkeypatch)
    robot = Robot(stage, checkpoint, **{"state.names": "a,b,c"})
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    said = "state.names has 3 names (a, b, c), the policy's state has 2 (shoulder, elbow)"
    assert said in capfd.readouterr().err
    robot.node._diagnostics.publish()
    stage.diagnostic("policy: inference", lambda status: status.level == ERROR and said in status.message)


def test_names_for_a_policy_without_state_have_no_effect_and_that_is_said(
    stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = Robot(stage, checkpoint, **{"state.names": "a,b,c"}).activate()
    assert "state.names has no effect" in capfd.readouterr().err
    robot.tick()


def test_names_are_the_checkpoints_own_unless_they_are_given() -> None:
    assert sources_of("", JOINTS) == JOINTS
    assert sources_of(" a , x", JOINTS) == ("a", "x")
    with pytest.raises(SettingError, match="has 1 names"):
        sources_of("a", JOINTS)


def test_a_history_finds_the_nearest_of_late_and_early_samples_and_forgets() -> None:
    history = History()
    assert history.nearest(1.0) is None
    for stamp in (10.0, 10.2, 10.1):
        history.add(stamp, stamp * 2)
    assert [history.nearest(stamp) for stamp in (0.0, 10.06, 10.19, 99.0)] == [
        (10.0, 20.0), (10.1, 20.2), (10.2, 20.4), (10.2, 20.4)
    ]  # fmt: skip
    history.add(3.0, 6.0)  # time has gone back
    assert history.nearest(10.0) == (3.0, 6.0)
    for number in range(5 * SPARE):
        history.add(4.0 + number * KEPT / SPARE, 0.0)
    assert len(history._stamps) <= 2 * SPARE + 2


def test_a_robot_that_is_cleaned_up_subscribes_no_more(sensed: Callable[..., Sensed]) -> None:
    one = sensed("shoulder", "x")
    topics = ("/joint_states", "/current_pose")
    assert [one.robot.node.count_subscribers(topic) for topic in topics] == [1, 1]
    assert one.robot.change(Transition.TRANSITION_DEACTIVATE)
    assert one.robot.change(Transition.TRANSITION_CLEANUP)
    node = one.stage.tester
    one.stage.until(lambda: [node.count_subscribers(topic) for topic in topics] == [0, 0], "the end of both")
