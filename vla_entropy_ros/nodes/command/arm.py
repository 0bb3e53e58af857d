"""Where the arm is measured to be: from its pose, or from its joints through the robot description."""

from __future__ import annotations

import math
from typing import Protocol

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ...control import DescriptionError, Kinematics, Pose, read_chain
from ...control.kinematics import Joints
from ..common.messages import joints_from, pose_in, seconds

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches every publisher
LOG_PERIOD = 5.0  # seconds between two lines about the same fault


class Arm(Protocol):
    """Measured state of the arm that a command starts from."""

    pose: Pose | None

    def problem(self, now: float, timeout: float) -> str | None:
        """Why the measured pose can't be relied on at time `now` [s]; None when it can."""


class Measurement:
    """The newest measured pose, its time [s], and what is wrong with it."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.pose: Pose | None = None
        self._time = -math.inf
        self._fault: str | None = f"no {topic} yet"

    def problem(self, now: float, timeout: float) -> str | None:
        """Why the measured pose can't be relied on at time `now` [s]; None when it can."""
        if self._fault is not None:
            return self._fault
        return f"{self._topic} is more than {timeout:g} s old" if abs(now - self._time) > timeout else None

    def _take(self, pose: Pose, time: float) -> None:
        self.pose, self._time, self._fault = pose, time, None


class PoseArm(Measurement):
    """Measures the arm by `current_pose`, which must be in `frame`."""

    def __init__(self, node: Node, frame: str) -> None:
        super().__init__("current_pose")
        self._frame = frame
        node.create_subscription(PoseStamped, "current_pose", self._on_pose, NEWEST)

    def _on_pose(self, message: PoseStamped) -> None:
        try:
            self._take(pose_in(self._frame, message, self._topic), seconds(message.header.stamp))
        except ValueError as error:
            self._fault = str(error)


class JointArm(Measurement):
    """Measures the arm by `joint_states`, through the chain of `robot_description` (URDF) from frame to tool."""

    def __init__(self, node: Node, frame: str, tool_frame: str) -> None:
        super().__init__("joint_states")
        self._frame, self._tool_frame = frame, tool_frame
        self._logger = node.get_logger()
        self._fault = "no robot_description yet"
        self.kinematics: Kinematics | None = None
        self.joints: Joints | None = None
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(String, "robot_description", self._on_description, kept)
        node.create_subscription(JointState, "joint_states", self._on_joints, NEWEST)

    def _on_description(self, message: String) -> None:
        try:
            kinematics = Kinematics(read_chain(message.data, self._frame, self._tool_frame))
        except DescriptionError as error:
            self._logger.error(str(error), throttle_duration_sec=LOG_PERIOD)
            if self.kinematics is None:  # a sound one goes on serving
                self._fault = str(error)
            return
        if self.kinematics is None:
            self._fault = "no joint_states yet"
        self.kinematics = kinematics

    def _on_joints(self, message: JointState) -> None:
        if self.kinematics is None:
            return
        try:
            joints = joints_from(message, self.kinematics.names)
        except ValueError as error:
            self._fault = str(error)
            return
        if joints is not None:
            self.joints = joints
            self._take(self.kinematics.forward(joints), seconds(message.header.stamp))
