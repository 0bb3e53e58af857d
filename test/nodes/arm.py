"""The command node for tests, with the arm it commands, its policy and its operator."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64, String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.control import Motion, Pose
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common.messages import chunk_message, pose_from, pose_message

HOME = Pose(np.array([0.45, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
FORWARD = (0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25)
PERIOD = 0.1  # seconds an action lasts
PAUSE = 0.3  # seconds in which nothing may happen


@dataclass
class Wires:
    """The topics of a command node that runs somewhere: what it says is heard, what it needs can be sent."""

    stage: Any
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.targets: list[PoseStamped] = self.stage.listen(PoseStamped, "target_pose")
        self.openings: list[Float64] = self.stage.listen(Float64, "gripper_command")
        self.states: list[String] = []
        kept = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.stage.tester.create_subscription(String, "/command/state", self.states.append, kept)
        self.connect()

    def connect(self) -> None:
        """Find the node's ears."""
        self.poses = self.stage.publisher(PoseStamped, "current_pose")
        self.chunks = self.stage.publisher(JointTrajectory, "action_chunk")

    def measure(self, pose: Pose = HOME, age: float = 0.0, frame: str = "base_link") -> None:
        """Publish where the arm is, as measured `age` seconds ago."""
        self.poses.publish(pose_message(pose, self.time(-age), frame))

    def time(self, offset: float = 0.0) -> Time:
        """ROS time `offset` seconds from now."""
        nanoseconds = self.stage.tester.get_clock().now().nanoseconds + round(offset * 1e9)
        return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

    def enable(self, on: bool = True) -> Any:
        """Call ~/enable."""
        return self.stage.call(SetBool, "/command/enable", SetBool.Request(data=on))

    def offer(self, actions: Any = (FORWARD,), frame: str = "base_link", age: float = 0.0, **changes: Any) -> None:
        """Publish a chunk."""
        message = chunk_message(np.array(actions, float), ACTION_NAMES, PERIOD, self.time(-age), frame)
        for name, value in changes.items():
            setattr(message, name, value)
        self.chunks.publish(message)

    def said(self) -> str:
        """The newest of ~/state."""
        return str(self.states[-1].data) if self.states else ""

    def silent(self, messages: list[Any] | None = None) -> bool:
        """Whether nothing is commanded for a while."""
        messages = self.targets if messages is None else messages
        time.sleep(0.05)  # what is on its way already
        before = len(messages)
        time.sleep(PAUSE)
        return len(messages) == before


@dataclass
class Arm(Wires):
    """The command node on a stage, and the arm it commands, which stays where it is."""

    def __post_init__(self) -> None:
        # Generous times: on a busy machine the poses of this test come late.
        values = {"pose_timeout": 5.0, "chunk.stale_after": 2.0, "action_scale": 1.0, **self.overrides}
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        self.node: CommandNode = self.stage.add(CommandNode(parameter_overrides=parameters))
        super().__post_init__()

    def ready(self) -> Arm:
        """Measured and enabled."""
        self.measure()
        self.stage.until(lambda: self.node._arm.pose is not None, "the pose")
        assert self.enable().success
        return self

    def state(self) -> Motion | None:
        """State of the last command."""
        return self.node._command.state if self.node._command else None

    def safety(self, level: bytes, said: str) -> None:
        """Wait for a diagnostic."""
        self.node._diagnostics.publish()
        self.stage.diagnostic("command: safety", lambda status: status.level == level and said in status.message)


def last_away(arm: Wires) -> float:
    """Distance of the last target from HOME; not a number before the first one, which is neither near nor far."""
    return farthest(arm.targets[-1:]) if arm.targets else float("nan")


def farthest(targets: list[PoseStamped]) -> float:
    """Largest distance of a target from HOME; there must be one."""
    return max(float(np.linalg.norm(pose_from(target).position - HOME.position)) for target in targets)
