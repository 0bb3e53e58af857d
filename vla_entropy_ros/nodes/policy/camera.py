"""The subscriptions of one camera: raw and compressed, as reliable as the publisher is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from ..common.listen import BEST_EFFORT, RELIABLE, Speakers, with_info
from .graph import elsewhere, publishers
from .intake import ImageMessage, topic_of

ASKED = {"best_effort": BEST_EFFORT, "reliable": RELIABLE}


def topics(cameras: int) -> list[str]:
    """Image topics of so many cameras."""
    return [topic_of(camera) for camera in range(cameras)]


def match(asked: str, offered: Sequence[ReliabilityPolicy], current: ReliabilityPolicy) -> ReliabilityPolicy:
    """Reliability to subscribe with: as `asked`, or for "auto" what all publishers offer; `current` without any."""
    if asked in ASKED:
        return ASKED[asked]
    if not offered:
        return current
    return RELIABLE if all(policy == RELIABLE for policy in offered) else BEST_EFFORT


class _Stream:
    """One subscription that can be made anew, and who speaks on its topic."""

    def __init__(self, node: Node, kind: type, topic: str) -> None:
        self.kind, self.topic, self.name = kind, topic, node.resolve_topic_name(topic)
        self.speakers = Speakers(node, topic)
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
        self.topic = topic
        self._streams = (_Stream(node, Image, topic), _Stream(node, CompressedImage, f"{topic}/compressed"))
        self.match()

    @property
    def reliabilities(self) -> tuple[str, ...]:
        """What the raw and the compressed subscription ask for."""
        return tuple(stream.reliability.name.lower() for stream in self._streams)

    def match(self) -> None:
        """Subscribe, or subscribe again where the publishers offer something else now."""
        for stream in self._streams:
            infos = self._node.get_publishers_info_by_topic(stream.name)
            offered = [info.qos_profile.reliability for info in infos]
            wanted = match(self._asked, offered, stream.reliability)
            if stream.subscription is not None and wanted == stream.reliability:
                continue
            self._end(stream)
            stream.reliability = wanted
            events = SubscriptionEventCallbacks(message_lost=lambda info: self._lost(info.total_count_change))
            stream.subscription = self._node.create_subscription(
                stream.kind,
                stream.topic,
                with_info(partial(self._hear, stream)),
                QoSProfile(depth=1, reliability=wanted),
                event_callbacks=events,
            )

    @property
    def several(self) -> str | None:
        """Who sends the images of one topic, where there are several; None otherwise."""
        for stream in self._streams:
            if (names := stream.speakers.several) is not None:
                return (
                    f"several publishers send images on {stream.name} ({names}), one camera is expected: "
                    f"end all but one, or give each camera a topic of its own ({self.topic}:=...)"
                )
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of the raw and the compressed topic."""
        return tuple(stream.name for stream in self._streams)

    @property
    def offered(self) -> bool:
        """Whether anybody publishes its images, as far as is known."""
        return any(self._node.count_publishers(name) for name in self.names)

    def silence(self, but: set[str]) -> str:
        """Why nothing is heard, as the graph shows it, and what to type; `but`: topics of this node's cameras."""
        raw, small = self._streams
        seen = {one.name: publishers(self._node, one.name, one.kind, one.reliability) for one in self._streams}
        if len(set(seen.values())) == 1:
            there = f"on {raw.name} or {small.name}: {seen[raw.name]}"
            return f"{there}; {elsewhere(self._node, self.topic, but)}"
        speaking = {name: said for name, said in seen.items() if "nobody" not in said}
        return "on " + "; on ".join(f"{name}: {said}" for name, said in speaking.items())

    def _hear(self, stream: _Stream, message: ImageMessage, info: Mapping[str, Any]) -> None:
        stream.speakers.note(info)
        self._offer(message)

    def close(self) -> None:
        """End the subscriptions."""
        for stream in self._streams:
            self._end(stream)

    def _end(self, stream: _Stream) -> None:
        if stream.subscription is not None:
            self._node.destroy_subscription(stream.subscription)
            stream.subscription = None
