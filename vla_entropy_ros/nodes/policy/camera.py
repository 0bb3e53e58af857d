"""The subscriptions of one camera: raw and compressed, as reliable as the publisher is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from .intake import ImageMessage

BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
ASKED = {"best_effort": BEST_EFFORT, "reliable": RELIABLE}


def topics(cameras: int) -> list[str]:
    """Image topics of so many cameras."""
    return ["image", *(f"image_{number}" for number in range(2, cameras + 1))]


def match(asked: str, offered: Sequence[ReliabilityPolicy], current: ReliabilityPolicy) -> ReliabilityPolicy:
    """Reliability to subscribe with: as `asked`, or for "auto" what all publishers offer; `current` without any."""
    if asked in ASKED:
        return ASKED[asked]
    if not offered:
        return current
    return RELIABLE if all(policy == RELIABLE for policy in offered) else BEST_EFFORT


class _Stream:
    """One subscription that can be made anew."""

    def __init__(self, kind: type, topic: str) -> None:
        self.kind, self.topic = kind, topic
        self.reliability = BEST_EFFORT
        self.subscription: Subscription[Any] | None = None


class Camera:
    """Subscribes to one camera; call `match` now and then, since publishers come and go.

    `offer` gets the images, `lost` the number of those that were lost on the way.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        asked: str,
        offer: Callable[[ImageMessage], None],
        lost: Callable[[int], None],
    ) -> None:
        self._node, self._asked, self._offer, self._lost = node, asked, offer, lost
        self._streams = (_Stream(Image, topic), _Stream(CompressedImage, f"{topic}/compressed"))
        self.match()

    @property
    def reliabilities(self) -> tuple[str, ...]:
        """What the raw and the compressed subscription ask for."""
        return tuple(stream.reliability.name.lower() for stream in self._streams)

    def match(self) -> None:
        """Subscribe, or subscribe again where the publishers offer something else now."""
        for stream in self._streams:
            name = self._node.resolve_topic_name(stream.topic)
            offered = [info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(name)]
            wanted = match(self._asked, offered, stream.reliability)
            if stream.subscription is not None and wanted == stream.reliability:
                continue
            self._end(stream)
            stream.reliability = wanted
            events = SubscriptionEventCallbacks(message_lost=lambda info: self._lost(info.total_count_change))
            stream.subscription = self._node.create_subscription(
                stream.kind, stream.topic, self._offer, QoSProfile(depth=1, reliability=wanted), event_callbacks=events
            )

    def close(self) -> None:
        """End the subscriptions."""
        for stream in self._streams:
            self._end(stream)

    def _end(self, stream: _Stream) -> None:
        if stream.subscription is not None:
            self._node.destroy_subscription(stream.subscription)
            stream.subscription = None
