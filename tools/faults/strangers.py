"""Somebody else in the graph, who says what nobody should have said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile

from .peers import Repeater
from .rig import Rig

HEARD_BY = 5.0  # seconds in which somebody must listen


class Stranger:
    """A DDS participant of its own with one publisher; leaving ends both."""

    def __init__(self, rig: Rig, name: str, kind: type, topic: str, qos: QoSProfile | int = 1) -> None:
        self._rig, self._topic = rig, topic
        self._context = Context()
        self._context.init()
        self._node = Node(name, context=self._context)
        self._publisher: Any = self._node.create_publisher(kind, topic, qos)
        self._repeater: Repeater | None = None

    def say(self, message: Any) -> None:
        """Publish once."""
        self._publisher.publish(message)

    def repeat(self, rate: float, message: Callable[[], Any]) -> None:
        """Publish what `message` gives, `rate` times a second."""
        self._repeater = Repeater(rate, lambda: self.say(message()))

    def met(self) -> float:
        """Wait until the node listens; the time [s, monotonic]. FaultError when it can't or won't."""
        listeners = 2 if self._topic == "action_chunk" else 1  # of which the rig is one
        count = self._publisher.get_subscription_count
        self._rig.until(lambda: count() >= listeners, f"a listener of another {self._topic}", HEARD_BY)
        return time.monotonic()

    def leave(self) -> None:
        """Leave the graph."""
        if self._repeater is not None:
            self._repeater.close()
        self._node.destroy_node()
        self._context.try_shutdown()
