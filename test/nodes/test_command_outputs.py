"""Each kind of command over DDS: it moves the arm, and comes to rest, in its own way."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, String
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.control import Motion
from vla_entropy_ros.nodes.command.joint_arm import JointArm
from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common.messages import chunk_from
from vla_entropy_ros.nodes.common.process import StartError
from vla_entropy_ros.sim.arm import HOME as HOME_JOINTS

from ..control.test_kinematics import ARM, TOOL, URDF
from .arm import FORWARD, PERIOD, Arm


def norm(twist: TwistStamped) -> float:
    """Length of both parts together."""
    linear, angular = twist.twist.linear, twist.twist.angular
    return float(np.linalg.norm([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]))


def test_twists_are_the_velocity_of_the_target_and_end_in_zero(stage: Any) -> None:
    twists: list[TwistStamped] = stage.listen(TwistStamped, "twist_command")
    arm = Arm(stage, {"command_type": "twist_stamped", "chunk.stale_after": 2.0}).ready()
    arm.offer([(0.02, 0, 0, 0, 0, 0.1, 1.0)])
    stage.until(lambda: arm.said().startswith("holding"), "the hold")
    stage.until(lambda: norm(twists[-1]) == 0.0, "rest")
    fast = max(twists, key=norm).twist
    assert fast.linear.x == pytest.approx(0.2, rel=0.3)  # 0.02 m in 0.1 s
    assert fast.angular.z == pytest.approx(1.0, rel=0.3)
    assert {twist.header.frame_id for twist in twists} == {"base_link"}
    before = len(twists)
    time.sleep(0.5)
    assert len(twists) - before >= 10  # at rest it goes on at more than 20 Hz, for Servo
    assert arm.targets == []


def test_twists_end_in_zero_even_when_nobody_knows_where_the_arm_is(stage: Any) -> None:
    twists: list[TwistStamped] = stage.listen(TwistStamped, "twist_command")
    arm = Arm(stage, {"command_type": "twist_stamped", "chunk.stale_after": 50.0}).ready()
    arm.offer([(0.02, 0, 0, 0, 0, 0, 1.0)] * 8)
    stage.until(lambda: bool(twists) and norm(twists[-1]) > 0, "motion")
    arm.measure(frame="elsewhere")
    stage.until(lambda: norm(twists[-1]) == 0.0, "rest")
    assert arm.silent(twists)


def test_servo_needs_a_rate(stage: Any) -> None:
    from rclpy.parameter import Parameter

    values = {"command_type": "twist_stamped", "rate": 10.0}
    with pytest.raises(StartError, match="rate 10 is too low for twist_stamped: valid is 20 or more"):
        CommandNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])


class JointedArm(Arm):
    """An arm that tells its joints, and whose shape is known."""

    def __post_init__(self) -> None:
        self.overrides = {"command_type": "joint_trajectory", "tool_frame": TOOL, **self.overrides}
        super().__post_init__()
        self.trajectories: list[JointTrajectory] = self.stage.listen(JointTrajectory, "joint_trajectory")
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.shape = self.stage.tester.create_publisher(String, "robot_description", kept)
        self.joints = self.stage.publisher(JointState, "joint_states")

    def connect(self) -> None:
        """The topics of this kind: nobody listens to `current_pose`."""
        self.chunks = self.stage.publisher(JointTrajectory, "action_chunk")

    def measure(self, pose: Any = None, age: float = 0.0, frame: str = "", joints: Any = HOME_JOINTS) -> None:
        """Publish where the joints are, in another order than the chain's and with others among them."""
        message = JointState(name=["finger", *reversed(ARM.names)], position=[0.04, *map(float, reversed(joints))])
        message.header.stamp = self.time(-age)
        self.joints.publish(message)

    def ready(self) -> Arm:
        """Described, measured and enabled."""
        self.shape.publish(String(data=URDF))
        arm = self.node._arm
        assert isinstance(arm, JointArm)
        self.stage.until(lambda: arm.kinematics is not None, "the description")
        return super().ready()


def test_joint_positions_follow_the_target_and_hold(stage: Any) -> None:
    arm = JointedArm(stage, {"chunk.stale_after": 2.0})
    refusal = arm.enable()
    assert (refusal.success, refusal.message) == (False, "not enabled: no robot_description yet on /robot_description")
    arm.ready()
    arm.offer()
    stage.until(lambda: arm.said().startswith("holding"), "the hold")
    stage.until(lambda: np.allclose(arm.trajectories[-1].points[0].positions, HOME_JOINTS), "the hold on the wire")
    assert {tuple(trajectory.joint_names) for trajectory in arm.trajectories} == {ARM.names}
    joints = np.array([trajectory.points[0].positions for trajectory in arm.trajectories])
    reached = [ARM.forward(row).position[0] for row in joints]
    assert max(reached) - ARM.forward(HOME_JOINTS).position[0] == pytest.approx(FORWARD[0], abs=2e-3)
    assert np.abs(np.diff(joints, axis=0)).max() < 0.2
    assert all(trajectory.points[0].time_from_start.nanosec == 40_000_000 for trajectory in arm.trajectories)


def test_a_target_out_of_reach_is_held(stage: Any) -> None:
    wide = {f"workspace.{axis}.{side}": value for axis in "xyz" for side, value in (("low", -5.0), ("high", 5.0))}
    limits = {
        "limits.max_translation": 0.5,
        "limits.lead_translation": 0.5,
        "limits.max_speed": 5.0,
        "chunk.stale_after": 50.0,
        **wide,
    }
    arm = JointedArm(stage, limits)
    arm.ready()
    arm.offer([(0.5, 0, 0, 0, 0, 0, 1.0)] * 3)
    stage.until(lambda: "can't reach the target" in arm.said(), "the refusal")
    stage.until(lambda: np.allclose(arm.trajectories[-1].points[0].positions, HOME_JOINTS), "the hold on the wire")


def test_a_useless_description_or_joint_state_is_said(stage: Any) -> None:
    arm = JointedArm(stage)
    arm.shape.publish(String(data="<robot/>"))
    stage.until(lambda: "no link 'base_link'" in arm.enable().message, "the refusal")
    arm.ready()
    arm.measure(joints=HOME_JOINTS * np.nan)
    stage.until(lambda: "joint_states is nan, expected a finite number" in arm.enable().message, "the refusal")
    arm.measure()
    stage.until(lambda: bool(arm.enable().success), "the consent")


def test_the_chunk_itself_is_passed_on_inside_the_limits_and_ends_without_motion(stage: Any) -> None:
    passed: list[JointTrajectory] = stage.listen(JointTrajectory, "command_chunk")
    arm = Arm(stage, {"command_type": "chunk", "action_scale": 0.5, "limits.max_translation": 0.02}).ready()
    arm.offer([(0.02, 0, 0, 0, 0, 0, 0.25), (0.3, 0, 0, 0, 0, 0, 0.75)])
    stage.until(lambda: len(passed) == 2, "the chunk and its end")
    first, last = (chunk_from(message) for message in passed)
    np.testing.assert_allclose(first.actions[:, 0], [0.01, 0.02], atol=1e-9)
    np.testing.assert_allclose(first.actions[:, 6], [0.25, 0.75])
    assert first.period == pytest.approx(PERIOD)
    np.testing.assert_allclose(last.actions, [[0.0] * 6 + [0.75]], atol=1e-12)
    assert last.stamp > first.stamp


def test_the_gripper_speaks_its_own_unit(stage: Any) -> None:
    openings: list[Float64] = stage.listen(Float64, "gripper_command")
    arm = Arm(stage, {"gripper.open": 0.08, "gripper.closed": -0.02}).ready()
    for opening, expected in ((0.0, -0.02), (1.0, 0.08), (0.5, 0.03)):
        arm.offer([(0, 0, 0, 0, 0, 0, opening)])
        stage.until(lambda: arm.state() is Motion.TRACKING, "motion")
        stage.until(
            lambda e=expected: bool(openings) and openings[-1].data == pytest.approx(e), f"an opening of {opening}"
        )
