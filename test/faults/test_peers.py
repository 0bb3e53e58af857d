"""What stands around the nodes under fault: an arm that is never where it could not get to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from tools.faults.peers import AT_HOME, HOME, JOINTS, RATE, FollowingArm, JointedArm, time_message
from vla_entropy_ros.control import Limits, Pose
from vla_entropy_ros.nodes.common.messages import pose_message

FAR = 0.06  # metres: what several targets amount to that come at once, as the arm's process stood still
PATIENCE = 10.0  # seconds


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    context.init()
    one = Node("somebody", context=context)
    yield one
    one.destroy_node()
    context.try_shutdown()


def far_pose() -> Any:
    return pose_message(Pose(HOME.position + np.array([FAR, 0.0, 0.0]), HOME.quaternion), time_message(0.0), "base")


def far_joints() -> Any:
    point = JointTrajectoryPoint(positions=[AT_HOME[0] + FAR, *AT_HOME[1:]])
    return JointTrajectory(joint_names=list(JOINTS), points=[point])


@pytest.mark.parametrize(
    ("kind", "topic", "message"),
    [(FollowingArm, "target_pose", far_pose()), (JointedArm, "joint_trajectory", far_joints())],
)
def test_targets_that_come_late_do_not_let_an_arm_jump(
    node: Node, kind: type[FollowingArm], topic: str, message: Any
) -> None:
    limits = Limits(max_speed=0.2, max_joint_speed=0.3)
    arm = kind(node, time.time, limits, 1.0 / RATE)
    publisher: Any = node.create_publisher(type(message), topic, 1)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    began = time.monotonic()
    try:
        while not arm.told or arm.told[-1].position[0] < HOME.position[0] + FAR - 1e-6:
            publisher.publish(message)
            executor.spin_once(0.01)
            assert time.monotonic() - began < PATIENCE
    finally:
        arm.close()
        executor.shutdown()
    fastest = limits.max_joint_speed if kind is JointedArm else limits.max_speed
    assert 0.0 < np.diff([pose.position[0] for pose in arm.told]).max() <= fastest / RATE + 1e-9
