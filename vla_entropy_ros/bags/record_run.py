"""Record what a report on a run needs, of all policies that are there, as their topics come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.parameter_client import AsyncParameterClient
from std_msgs.msg import String

from ..nodes.common.listen import SafetyInput, endpoint
from .bag import COMPRESSED, RAW, STRING, BagError, Recorder
from .record_topics import listening, message_class, quality
from .report.found import DIAGNOSTICS, EVENTS, GOAL, PARAMETER_EVENTS, SELECTION, STATE, STATUS, WHY, policies

LOOK_PERIOD = 0.2  # seconds between two looks at what is there
UNSEEN = 10.0  # seconds after which it is said that nothing has come
LONGEST = 86400.0  # seconds


def record_run(folder: Path, seconds: float | None, say: Callable[[str], object]) -> dict[str, int]:
    """Record for `seconds` from when the first policy is there, or until a signal; messages by topic.

    Raises BagError where no policy came; then nothing is written. say: is told what is recorded, a line each.
    """
    if folder.exists():
        raise BagError(f"no bag can be written to {folder}: it exists already")
    limit = LONGEST if seconds is None else seconds
    counts: dict[str, int] = {}
    with listening() as (node, spin), contextlib.suppress(KeyboardInterrupt):
        if _first(node, spin, limit, say):
            with Recorder(folder, []) as bag:
                run = _Run(node, bag, say)
                counts = run.counts
                run.last(spin, limit)
    if not counts:
        raise BagError("no policy has come, nothing is written: start one, with this machine's ROS_DOMAIN_ID")
    return counts


def _first(node: Node, spin: Callable[[], None], limit: float, say: Callable[[str], object]) -> bool:
    """Wait for a policy; whether one has come."""
    began, told = time.monotonic(), False
    while not policies(_offered(node)):
        waited = time.monotonic() - began
        if waited > limit:
            return False
        if waited > UNSEEN and not told:
            told = True
            say("waiting for a policy: none publishes here yet")
        spin()
    return True


def _offered(node: Node) -> dict[str, str]:
    """Types of the topics that somebody publishes."""
    return {name: kinds[0] for name, kinds in node.get_topic_names_and_types() if node.count_publishers(name)}


class _Run:
    """Subscriptions to all that a report needs; `look` now and then, since nodes come and go."""

    def __init__(self, node: Node, bag: Recorder, say: Callable[[str], object]) -> None:
        self._node, self._bag, self._say = node, bag, say
        self._subscriptions: dict[str, Any] = {}
        self._clients: dict[str, AsyncParameterClient] = {}
        self._answered: set[str] = set()  # nodes whose parameters are known
        self._voices: dict[str, set[bytes]] = {}  # who publishes, by topic
        self._cameras: dict[str, str] = {}  # the topic of each camera, of raw and compressed images one
        self.counts: dict[str, int] = {}

    def last(self, spin: Callable[[], None], seconds: float) -> None:
        """Record for so long."""
        end, due = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < end:
            if now >= due:
                self._look()
                due = now + LOOK_PERIOD
            spin()

    def _look(self) -> None:
        """Subscribe to what has come, and subscribe again where something else is offered now."""
        kinds = _offered(self._node)
        found, new = policies(kinds), []
        states = [name for name, kind in kinds.items() if kind == STRING and name.endswith(STATE)]
        wanted = [DIAGNOSTICS, PARAMETER_EVENTS, *states]
        for policy in found:
            heard = self._heard_by(policy)
            wanted += [policy + ending for ending in (STATUS, GOAL, SELECTION, WHY)]
            wanted += self._images(heard, kinds)
            new += [name for name, kind in heard.items() if kind == STRING and self._hear(name)]
        new += [name for name in dict.fromkeys(wanted) if name in kinds and self._subscribe(name, kinds[name])]
        if new:
            self._say(f"recording {', '.join(new)}")
        for topic in (*(policy + STATUS for policy in found), *states):
            name = topic.removesuffix(STATUS).removesuffix(STATE)
            if self._is_new(topic):
                self._answered.discard(name)
            self._begin(name)

    def _is_new(self, topic: str) -> bool:
        """Whether somebody publishes that did not before: a node that was started anew begins anew."""
        there = {endpoint(info) for info in self._node.get_publishers_info_by_topic(topic)}
        before, self._voices[topic] = self._voices.get(topic, set()), there
        return not there <= before

    def _heard_by(self, policy: str) -> dict[str, str]:
        """Types of the topics that a policy listens to."""
        space, _, name = policy.rpartition("/")
        try:
            found = self._node.get_subscriber_names_and_types_by_node(name, space or "/")
        except NodeNameNonExistentError:
            return {}
        return {topic: kinds[0] for topic, kinds in found}

    def _images(self, heard: dict[str, str], kinds: dict[str, str]) -> Iterable[str]:
        """Of each camera that is listened to the topic that takes less room."""
        for topic in heard:
            if kinds.get(topic) == COMPRESSED:
                self._cameras.setdefault(topic.removesuffix("/compressed"), topic)
        for topic in heard:
            if kinds.get(topic) == RAW:
                self._cameras.setdefault(topic, topic)
        return self._cameras.values()

    def _hear(self, name: str) -> bool:
        """Hear texts of whatever quality, as who gives an instruction may leave at once; whether that is new."""
        if name in self._subscriptions:
            return False
        self._bag.offer(name, STRING)
        self.counts[name] = 0

        def keep(message: Any) -> None:
            self._bag.add(name, self._now, self._bag.types.types[STRING](data=message.data))
            self.counts[name] += 1

        self._subscriptions[name] = SafetyInput(self._node, String, name, keep)
        return True

    def _subscribe(self, name: str, kind: str) -> bool:
        """Subscribe as it is offered; whether that is new."""
        wanted, known = quality(self._node, name), self._subscriptions.get(name)
        if isinstance(known, SafetyInput) or (known is not None and known[0] == wanted):
            return False
        if known is not None:
            self._node.destroy_subscription(known[1])
        self._bag.offer(name, kind)
        self.counts.setdefault(name, 0)
        made = self._node.create_subscription(message_class(kind), name, partial(self._keep, name), wanted, raw=True)
        self._subscriptions[name] = wanted, made
        return known is None

    def _begin(self, name: str) -> None:
        """Ask a node for its parameters, and write them as if it declared them now: events tell changes alone.

        Asked again until it has answered: what goes out before both ends have found each other is lost.
        """
        if name not in self._clients:
            self._clients[name] = AsyncParameterClient(self._node, name)
            return
        client = self._clients[name]
        if name in self._answered or not client.services_are_ready():
            return

        def listed(future: Any) -> None:
            names = list(future.result().result.names)
            client.get_parameters(names, partial(told, names))

        def told(names: list[str], future: Any) -> None:
            if name in self._answered:
                return
            self._answered.add(name)
            values = dict(zip(names, future.result().values, strict=False))
            event = _declared(self._bag.types.types, self._now, name, values)
            self._bag.add(PARAMETER_EVENTS, self._now, event)
            self.counts[PARAMETER_EVENTS] += 1
            self._say(f"{name} begins with {len(values)} parameters")

        client.list_parameters(callback=listed)

    @property
    def _now(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _keep(self, name: str, raw: bytes) -> None:
        self._bag.write(name, self._now, raw)
        self.counts[name] += 1


def _declared(kinds: Mapping[str, Any], now: int, node: str, values: Mapping[str, Any]) -> Any:
    """An event that declares these parameters, in the bag's own types."""

    def value(of: Any) -> Any:
        """rclpy's serialize_message leaves rubbish behind a value's empty lists, which readers refuse."""
        single = (of.type, of.bool_value, of.integer_value, of.double_value, of.string_value)
        lists = (
            np.frombuffer(b"".join(of.byte_array_value), np.uint8),
            np.array(of.bool_array_value, bool),
            np.array(of.integer_array_value, np.int64),
            np.array(of.double_array_value, np.float64),
            list(of.string_array_value),
        )
        return kinds["rcl_interfaces/msg/ParameterValue"](*single, *lists)

    new = [kinds["rcl_interfaces/msg/Parameter"](name, value(of)) for name, of in values.items()]
    return kinds[EVENTS](kinds["builtin_interfaces/msg/Time"](*divmod(now, 10**9)), node, new, [], [])
