"""What the command node is about to do, for rviz, Foxglove and a dry run; made only while somebody looks."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.node import Node

from ...control import Limits, Pose
from ...control.pose import integrate
from ..common.messages import pose_message


class Preview:
    """Publishes the target as a pose, and what is left of a chunk as a path of poses, both in `frame`."""

    def __init__(self, node: Node, frame: str) -> None:
        self._node, self._frame = node, frame
        self._targets = node.create_publisher(PoseStamped, "~/preview", 1)
        self._paths = node.create_publisher(Path, "~/path", 1)

    def target(self, pose: Pose) -> None:
        """Show the target of a command."""
        if self._targets.get_subscription_count():
            self._targets.publish(self._message(pose))

    def chunk(self, actions: NDArray, start: Pose, limits: Limits, tool: bool) -> None:
        """Show where `actions` [H, 7], as they are limited, lead from `start`; tool: whether they turn with it."""
        if not self._paths.get_subscription_count():
            return
        poses = [start]
        for action in actions:
            poses.append(integrate(poses[-1], action, limits, tool))
        path = Path(poses=[self._message(pose) for pose in poses])
        path.header = path.poses[0].header
        self._paths.publish(path)

    def _message(self, pose: Pose) -> PoseStamped:
        return pose_message(pose, self._node.get_clock().now().to_msg(), self._frame)
