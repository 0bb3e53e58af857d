"""Subscriptions that know who sent a message, and that hear publishers of any quality of service."""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

DEPTH = 10
RECENT = 1.0  # seconds: who has spoken within is speaking
ALIKE = 64  # numbers of one publisher's messages that lie further apart come from two
ID = 16  # bytes of a publisher's id, of those that rmw may pad
REMEMBERED = 64  # messages that are recognised when another subscription brings them, too

BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
VOLATILE, TRANSIENT_LOCAL = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
# The first hears whoever publishes; the second misses nothing of who is reliable; the third hears what was kept.
ANYBODY, SURELY, KEPT = (BEST_EFFORT, VOLATILE), (RELIABLE, VOLATILE), (RELIABLE, TRANSIENT_LOCAL)
NO_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)  # an offer that one of three misses is no news
LATCHED = QoSProfile(depth=1, durability=TRANSIENT_LOCAL)  # for a publisher whose last word late listeners hear
MATCH_PERIOD = 0.1  # seconds between two looks at what is offered

UNKNOWN = "a node that the graph does not show"

Source = Hashable  # who sent a message, as far as the middleware tells


def with_info(callback: Callable[[Any, Mapping[str, Any]], object]) -> Callable[..., None]:
    """Let `callback` have a message and what the middleware tells about it, under every executor.

    rclpy's events executor hands both over as one pair (seen in rclpy 9.1.2), the others as two arguments.
    """

    def heard(*given: Any) -> None:
        message, info = given if len(given) == 2 else given[0]
        callback(message, info)

    two = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("message", "info")]
    heard.__signature__ = inspect.Signature(two)  # type: ignore[attr-defined]
    return heard


def sender(info: Mapping[str, Any]) -> bytes | None:
    """The id of the publisher of a message, as `endpoint` gives it; None where rclpy does not tell (Jazzy)."""
    gid = info.get("publisher_gid")
    return None if gid is None else bytes(gid["data"])[:ID]


def endpoint(info: TopicEndpointInfo) -> bytes:
    """The id of an end of a topic, as the graph tells it."""
    return bytes(info.endpoint_gid)[:ID]


def type_name(kind: type) -> str:
    """The type of a message or a service as the graph tells it."""
    return "/".join((*kind.__module__.split(".")[:2], kind.__name__))


def publisher_name(info: TopicEndpointInfo) -> str:
    """The full name of the node behind an end of a topic, as the graph tells it."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def publisher_names(infos: Iterable[TopicEndpointInfo]) -> list[str]:
    """The full names of the nodes behind ends of a topic, each once."""
    return sorted(set(map(publisher_name, infos)))


def listed(names: Sequence[str], shown: int) -> str:
    """The first `shown` of `names` in one line, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


class Speakers:
    """Who has spoken on a topic of late.

    The middleware tells the publisher of each message by its id; where rclpy does not pass that on (Jazzy), the running
    numbers of the messages tell two publishers apart.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node, self._topic = node, node.resolve_topic_name(topic)
        self._heard: dict[Source, float] = {}  # when each was heard last, on the monotonic clock [s]
        self._numbers: dict[Source, int] = {}
        self._named: tuple[frozenset[Source], str] = frozenset(), ""  # asking the graph takes a while

    def note(self, info: Mapping[str, Any]) -> Source:
        """Note that a message came, and return who sent it."""
        source, now = self._source(info), time.monotonic()
        if source not in self._heard:
            self._heard = {one: at for one, at in self._heard.items() if now - at < RECENT}
        self._heard[source] = now
        return source

    def leave(self, source: Source) -> None:
        """Count `source` as silent from now on."""
        self._heard.pop(source, None)

    @property
    def several(self) -> str | None:
        """The names of those who have spoken within RECENT seconds, where they are more than one; None otherwise."""
        if len(self._heard) < 2:
            return None
        now = time.monotonic()
        recent = [source for source, at in self._heard.items() if now - at < RECENT]
        if len(recent) < 2:
            return None
        if self._named[0] != frozenset(recent):
            names = self.names(recent)
            self._named = frozenset(() if UNKNOWN in names else recent), names  # the graph may learn of it later
        return self._named[1]

    def names(self, sources: list[Source]) -> str:
        """The nodes behind `sources`, as the graph tells them."""
        known = {endpoint(info): publisher_name(info) for info in self._node.get_publishers_info_by_topic(self._topic)}
        found = [known.get(source, UNKNOWN) for source in sources]  # type: ignore[call-overload]
        unnamed = all(isinstance(source, int) for source in sources)
        return ", ".join(sorted(known.values()) if unnamed else sorted(map(str, found)))

    def _source(self, info: Mapping[str, Any]) -> Source:
        gid = sender(info)
        if gid is not None:
            return gid
        number = int(info.get("publication_sequence_number") or 0)
        for source, last in self._numbers.items():
            if 0 < number - last < ALIKE:
                self._numbers[source] = number
                return source
        if len(self._numbers) >= REMEMBERED:
            self._numbers.clear()
        source = len(self._numbers)
        self._numbers[source] = number
        return source


def subscribe(
    node: Node, kind: type, topic: str, callback: Callable[[Any, Mapping[str, Any]], object], profile: QoSProfile
) -> Any:
    """Subscribe with a callback that is also told where each message comes from."""
    return node.create_subscription(kind, topic, with_info(callback), profile)


class SafetyInput:
    """Hears a topic whatever quality of service its publishers offer, and what they kept from before it began.

    What anybody sends is heard from the start. Subscriptions that ask for more come once somebody offers more: whoever
    offers less would warn of them, and that nothing is sent to them, as every volatile `ros2 topic pub` does. A message
    that more than one of them brings is handed over once. Nothing matches a publisher of another type: `mismatch`
    names it.
    """

    def __init__(self, node: Node, kind: type, topic: str, callback: Callable[[Any], None], depth: int = DEPTH) -> None:
        self._node, self._topic, self._callback = node, node.resolve_topic_name(topic), callback
        self._message, self._depth, self._kind = kind, depth, type_name(kind)
        self._seen: deque[tuple[Any, ...]] = deque(maxlen=REMEMBERED)
        self._heard_from: set[bytes] = set()
        self._subscriptions: dict[tuple[ReliabilityPolicy, DurabilityPolicy], Any] = {}
        self._subscribe(ANYBODY)
        self._timer = node.create_timer(MATCH_PERIOD, self._match, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """End the subscriptions."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions = {}

    def _subscribe(self, wanted: tuple[ReliabilityPolicy, DurabilityPolicy]) -> None:
        if wanted not in self._subscriptions:
            profile = QoSProfile(depth=self._depth, reliability=wanted[0], durability=wanted[1])
            self._subscriptions[wanted] = self._node.create_subscription(
                self._message, self._topic, with_info(self._hear), profile, event_callbacks=NO_EVENTS
            )

    def _match(self) -> None:
        """Ask for as much as is offered."""
        for info in self._node.get_publishers_info_by_topic(self._topic):
            offer = info.qos_profile.reliability, info.qos_profile.durability
            if info.topic_type == self._kind and offer in (SURELY, KEPT):
                self._subscribe(offer)

    def mismatch(self) -> str | None:
        """Who publishes something here that can't be heard, in one line; None when there is nobody. Asks the graph.

        The middleware keeps messages for late listeners only where both are reliable: what a best-effort publisher has
        kept is lost, which counts until something is heard of it.
        """
        for info in self._node.get_publishers_info_by_topic(self._topic):
            if info.topic_type != self._kind:
                name = publisher_name(info)
                return f"{self._topic}: {name} publishes {info.topic_type}, which can't be heard; expected {self._kind}"
            offer = info.qos_profile.reliability, info.qos_profile.durability
            if offer == (BEST_EFFORT, TRANSIENT_LOCAL) and endpoint(info) not in self._heard_from:
                name = publisher_name(info)
                return (
                    f"{self._topic}: {name} offers best effort and transient local, so what it published before is "
                    "lost: let it be reliable, or publish once more"
                )
        return None

    def _hear(self, message: Any, info: Mapping[str, Any]) -> None:
        gid = sender(info)
        key = info.get("source_timestamp"), info.get("publication_sequence_number"), gid
        if key in self._seen:
            return
        self._seen.append(key)
        if gid is not None:
            self._heard_from.add(gid)
        self._callback(message)
