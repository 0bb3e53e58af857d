"""Record topics of a running robot into a bag."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.context import Context
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.validate_topic_name import validate_topic_name

from ..evaluation.interruption import deferred
from ..nodes.common.listen import RELIABLE, TRANSIENT_LOCAL, VOLATILE
from ..nodes.common.process import WAKE_PERIOD
from ..nodes.policy.camera import match
from .bag import BagError, Recorder

DISCOVERY = 10.0  # seconds until the topics must have been found
DEPTH = 50


def record_live(folder: Path, topics: Sequence[str], seconds: float) -> dict[str, int]:
    """Record `topics` for `seconds`, or until a signal; messages by topic. Raises BagError when one is not there."""
    with listening() as (node, spin):
        return _record(node, spin, folder, topics, seconds)


@contextlib.contextmanager
def listening() -> Iterator[tuple[Node, Callable[[], None]]]:
    """Yield a node, and what lets it hear; that raises KeyboardInterrupt once a signal came."""
    context = Context()
    context.init()  # without signal handlers: ours end the bag in order
    node = Node("recorder", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    with deferred() as interruption:

        def spin() -> None:
            executor.spin_once(timeout_sec=WAKE_PERIOD)
            interruption.check()

        try:
            yield node, spin
        finally:
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()


def quality(node: Node, topic: str) -> QoSProfile:
    """How to subscribe to a topic so that all of its publishers are heard, and what they kept where all of them do."""
    offered = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    reliability = match("auto", [offer.reliability for offer in offered], ReliabilityPolicy.BEST_EFFORT)
    kept = reliability == RELIABLE and all(offer.durability == TRANSIENT_LOCAL for offer in offered)
    return QoSProfile(depth=DEPTH, reliability=reliability, durability=TRANSIENT_LOCAL if kept else VOLATILE)


def _record(
    node: Node,
    spin: Callable[[], None],
    folder: Path,
    topics: Sequence[str],
    seconds: float,
) -> dict[str, int]:
    try:
        for topic in topics:
            validate_topic_name(topic)
    except InvalidTopicNameException as error:
        raise BagError(str(error)) from None
    names = list(dict.fromkeys(node.resolve_topic_name(topic) for topic in topics))
    kinds = _find(node, spin, names)
    counts = dict.fromkeys(names, 0)

    def keep(name: str, bag: Recorder, raw: bytes) -> None:
        bag.write(name, node.get_clock().now().nanoseconds, raw)
        counts[name] += 1

    with Recorder(folder, [(name, kinds[name]) for name in names]) as bag:
        for name in names:
            kind = message_class(kinds[name])
            node.create_subscription(kind, name, partial(keep, name, bag), quality(node, name), raw=True)
        end = time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < end:
                spin()
    return counts


def _find(node: Node, spin: Callable[[], None], names: Sequence[str]) -> dict[str, str]:
    """Types of the topics, once all of them are there."""
    end = time.monotonic() + DISCOVERY
    while True:
        there = {name: kinds[0] for name, kinds in node.get_topic_names_and_types()}
        if all(name in there for name in names):
            return there
        if time.monotonic() > end:
            missing = ", ".join(name for name in names if name not in there)
            raise BagError(f"no topic {missing} after {DISCOVERY:.0f} s; there are {', '.join(sorted(there))}")
        spin()


def message_class(kind: str) -> Any:
    """The class of a message type; raises BagError where it is not there."""
    package, _, name = kind.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise BagError(
            f"messages of type {kind} can't be recorded ({error}): source the workspace they are in"
        ) from None
