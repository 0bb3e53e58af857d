"""The actions on the wire: chunks, and the order to stop."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from trajectory_msgs.msg import JointTrajectory

from ..common.messages import chunk_message, stop_message
from .orders import Answer


class ActionPublisher:
    """Publishes on `action_chunk` while the node is active; any thread may call."""

    def __init__(self, node: LifecycleNode, frame: str) -> None:
        self._node, self._frame = node, frame
        self._publisher = node.create_lifecycle_publisher(JointTrajectory, "action_chunk", 1)

    def publish(self, answer: Answer, names: Sequence[str]) -> None:
        """Publish the actions, whose columns are called `names`; or, where they must not be done, the order to stop."""
        if answer.hold is not None:
            self.stop()
            return
        self._publisher.publish(chunk_message(answer.result.actions, names, answer.period, answer.stamp, self._frame))

    def stop(self) -> None:
        """Order the arm to be held at once."""
        self._publisher.publish(stop_message(self._node.get_clock().now().to_msg(), self._frame))

    def listeners(self) -> int:
        """How many subscriptions hear the actions."""
        return int(self._publisher.get_subscription_count())

    def flush(self, patience: float) -> None:
        """Wait until what was published has arrived, at most `patience` seconds."""
        self._publisher.wait_for_all_acked(Duration(nanoseconds=round(patience * 1e9)))
