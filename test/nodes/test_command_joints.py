"""Joints as real drivers tell them: in pieces, from several publishers, with prefixes, jumping, and oddly described."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from vla_entropy_ros.control import Motion

from ..control.test_kinematics import ARM, URDF
from .test_command_outputs import HOME_JOINTS, JointedArm
from .test_command_trust import tracks_again

ERROR, WARN = DiagnosticStatus.ERROR, DiagnosticStatus.WARN
NAMES = list(ARM.names)


def moving(stage: Any, **overrides: Any) -> JointedArm:
    """An arm in motion."""
    arm = JointedArm(stage, {"chunk.stale_after": 50.0, **overrides})
    arm.ready()
    arm.offer()
    stage.until(lambda: arm.state() is Motion.TRACKING, "motion")
    return arm


def tell(arm: JointedArm, publisher: Any, names: list[str], positions: Any) -> None:
    message = JointState(name=names, position=list(map(float, positions)))
    message.header.stamp = arm.time()
    publisher.publish(message)


def test_joints_may_come_in_several_messages_from_several_publishers(stage: Any) -> None:
    arm = JointedArm(stage)
    arm.shape.publish(String(data=URDF))
    stage.until(lambda: arm.node._arm.kinematics is not None, "the description")  # type: ignore[attr-defined]
    other = stage.add(Node("wrist_driver")).create_publisher(JointState, "joint_states", 10)
    stage.until(lambda: other.get_subscription_count() > 0, "a listener")
    tell(arm, arm.joints, NAMES[:3], HOME_JOINTS[:3])
    lacking = f"/joint_states lacks {', '.join(NAMES[3:])} of the chain to"
    stage.until(lambda: lacking in arm.enable().message, "what is missing")

    def enabled() -> bool:
        tell(arm, arm.joints, NAMES[:3], HOME_JOINTS[:3])
        tell(arm, other, NAMES[3:], HOME_JOINTS[3:])
        time.sleep(0.02)
        return bool(arm.enable().success)

    stage.until(enabled, "the consent")
    assert arm.node._arm.several() is None
    assert arm.node._arm.pose is not None
    np.testing.assert_allclose(arm.node._arm.pose.position, ARM.forward(HOME_JOINTS).position)


def test_names_that_differ_by_a_prefix_are_said(stage: Any) -> None:
    arm = JointedArm(stage)
    arm.shape.publish(String(data=URDF))
    stage.until(lambda: arm.node._arm.kinematics is not None, "the description")  # type: ignore[attr-defined]
    tell(arm, arm.joints, [f"left/{name}" for name in NAMES], HOME_JOINTS)
    stage.until(lambda: "the names differ by the prefix 'left/'" in arm.enable().message, "the prefix")
    assert f"but has left/{NAMES[0]}" in arm.enable().message


def test_a_joint_that_jumps_is_named_and_the_arm_held(stage: Any) -> None:
    arm = moving(stage)
    arm.measure(joints=HOME_JOINTS + np.array([0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])[: len(NAMES)])
    stage.until(lambda: f"holding: joint '{NAMES[1]}' jumped 0.50 rad or m" in arm.said(), "the jump")
    arm.safety(ERROR, f"holding: joint '{NAMES[1]}' jumped")
    before = len(arm.trajectories)
    time.sleep(0.2)
    steps = np.array([one.points[0].positions for one in arm.trajectories[max(before - 1, 0) :]])
    assert not len(steps) or np.abs(np.diff(steps, axis=0)).max(initial=0.0) < 1e-9
    stage.until(tracks_again(arm), "motion once it has come back")


def test_a_second_publisher_of_zeros_moves_nothing(stage: Any) -> None:
    """As a driver of another robot, or a simulation that was left running, does."""
    arm = moving(stage)
    zeros = stage.add(Node("second_driver")).create_publisher(JointState, "joint_states", 10)
    stage.until(lambda: zeros.get_subscription_count() > 0, "a listener")
    end, seen = time.monotonic() + 1.5, False
    while time.monotonic() < end:
        for _ in range(4):
            arm.measure()
            time.sleep(0.02)
        tell(arm, zeros, NAMES, np.zeros(len(NAMES)))
        arm.offer([[0.0] * 6 + [1.0]])
        seen = seen or "jumped" in arm.said()
    assert seen
    joints = np.array([one.points[0].positions for one in arm.trajectories])
    assert np.abs(np.diff(joints, axis=0)).max() <= 1.5 / 50.0 + 1e-6
    assert np.abs(joints - HOME_JOINTS).max() < 0.1
    assert f"several tell joint '{NAMES[0]}' on /joint_states: /second_driver, /tester" in str(arm.node._arm.several())


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('velocity="3.0"', 'velocity="nan"', "velocity"),
        ('velocity="3.0"', 'velocity="-1"', "velocity"),
        ('upper="', 'upper="-9', "lower"),
    ],
)
def test_a_description_that_can_not_be_right_holds_the_arm_until_the_sound_one_comes(
    stage: Any, before: str, after: str, said: str
) -> None:
    arm = moving(stage)
    arm.shape.publish(String(data=URDF.replace(before, after, 1)))
    stage.until(lambda: arm.said().startswith("no commands: robot_description refused: "), "the refusal")
    assert NAMES[0] in arm.said()
    assert said in arm.said()
    for trajectory in arm.trajectories:
        assert np.isfinite(trajectory.points[0].positions).all()
    arm.shape.publish(String(data=URDF))
    stage.until(tracks_again(arm), "motion with the sound one")


def test_a_sound_description_that_differs_is_taken_once_somebody_agrees(stage: Any) -> None:
    arm = moving(stage)
    arm.shape.publish(String(data=URDF.replace('velocity="3.0"', 'velocity="2.0"', 1)))
    stage.until(lambda: "holding: robot_description has changed" in arm.said(), "the hold")

    def consents() -> bool:
        arm.measure()
        time.sleep(0.02)
        return bool(arm.enable().success)

    stage.until(consents, "the consent")
    stage.until(tracks_again(arm), "motion")


def test_a_description_of_a_volatile_publisher_is_heard(stage: Any) -> None:
    arm = JointedArm(stage)
    plain = stage.add(Node("plain")).create_publisher(String, "robot_description", QoSProfile(depth=1))
    stage.until(lambda: plain.get_subscription_count() > 0, "a listener")
    time.sleep(0.2)
    plain.publish(String(data=URDF))
    stage.until(lambda: arm.node._arm.kinematics is not None, "the description")  # type: ignore[attr-defined]


def test_a_joint_slightly_outside_its_range_moves_and_one_far_outside_is_named(stage: Any) -> None:
    low, high = ARM.low[0], ARM.high[0]
    assert low < high
    arm = JointedArm(stage, {"chunk.stale_after": 50.0})
    arm.shape.publish(String(data=URDF))
    stage.until(lambda: arm.node._arm.kinematics is not None, "the description")  # type: ignore[attr-defined]
    outside = HOME_JOINTS.copy()
    outside[0] = high + 0.3

    def named() -> bool:
        arm.measure(joints=outside)
        time.sleep(0.02)
        said = arm.enable().message
        return NAMES[0] in said and "range" in said

    stage.until(named, "the range")


def test_joints_that_were_moved_by_hand_while_disabled_are_held_where_they_are_now(stage: Any) -> None:
    arm = moving(stage)
    assert arm.enable(False).success
    assert arm.silent(arm.trajectories)
    moved = HOME_JOINTS + 0.3

    def consents() -> bool:
        arm.measure(joints=moved)
        time.sleep(0.02)
        return bool(arm.enable().success)

    before = len(arm.trajectories)
    stage.until(consents, "the consent")
    stage.until(lambda: len(arm.trajectories) > before + 3, "commands")
    for trajectory in arm.trajectories[before:]:
        np.testing.assert_allclose(trajectory.points[0].positions, moved, atol=1e-6)


def test_an_empty_description_is_refused_also_as_the_first_one(stage: Any) -> None:
    arm = JointedArm(stage)
    arm.shape.publish(String(data=""))
    stage.until(lambda: "robot_description refused: " in arm.enable().message, "the refusal")


def test_other_joints_need_no_positions_and_hold_nothing_up(stage: Any) -> None:
    """Wheels, for example, which tell velocities alone."""
    arm = moving(stage)
    wheels = stage.add(Node("base_driver")).create_publisher(JointState, "joint_states", 10)
    stage.until(lambda: wheels.get_subscription_count() > 0, "a listener")
    for _ in range(10):
        message = JointState(name=["left_wheel", "right_wheel"], velocity=[1.0, 1.0])
        message.header.stamp = arm.time()
        wheels.publish(message)
        time.sleep(0.02)
    stage.until(tracks_again(arm), "motion")
    assert arm.node._arm.problem(arm.node._now()) is None


def test_a_joint_that_stands_twice_in_a_message_is_named(stage: Any) -> None:
    arm = moving(stage)
    tell(arm, arm.joints, [*NAMES, NAMES[2]], [*HOME_JOINTS, 0.0])
    stage.until(lambda: f"joint '{NAMES[2]}' stands twice in one message" in arm.said(), "the name")


def test_joints_that_are_renamed_under_way_are_said(stage: Any) -> None:
    arm = moving(stage, pose_timeout=0.3)

    def said() -> bool:
        tell(arm, arm.joints, [f"r_{name}" for name in NAMES], HOME_JOINTS)
        time.sleep(0.02)
        return f"the last message told r_{NAMES[0]}" in arm.said()

    stage.until(said, "what came instead")
