"""What is heard of one policy and of the nodes beside it: subscriptions that exist while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import ParameterEvent
from rclpy.node import Node
from rclpy.qos import qos_profile_parameter_events
from sensor_msgs.msg import Image

from ..client import namesakes
from ..nodes.common.facts import facts
from ..nodes.common.listen import LATCHED, Speakers, subscribe
from ..nodes.common.messages import seconds
from .parameters import Parameters
from .snapshot import KEPT, Goal, Health, Picture, Snapshot, Tick, policy_of

SILENCE = 3.0  # seconds without a word of the policy, which speaks every 0.2 s
OLD = 5.0  # seconds after which a line of the diagnostics, told once a second, is stale
STALE = ord(DiagnosticStatus.STALE)
CODES = 7  # selection codes, 0 for reused
REMEMBERED = 8  # ticks whose picture may be late


class Listening:
    """Hears one namespace and replaces parts of a snapshot by `update`, on the thread that spins the node."""

    def __init__(self, node: Node, namespace: str, update: Callable[..., None]) -> None:
        self._node, self._namespace, self._update = node, namespace, update
        self._policy = policy_of(namespace)
        self._began = time.monotonic()
        self._word: float | None = None  # when the policy spoke last, on the monotonic clock [s]
        self._ticks: tuple[Tick, ...] = ()
        self._counts: dict[float, dict[int, int]] = {}  # by the tick's stamp
        self._state = ""
        self._health: dict[str, tuple[float, Health]] = {}
        self._parameters = Parameters(node, self._policy, lambda knobs: update(knobs=knobs))
        goal = f"{self._policy}/goal/status"
        self._speakers = Speakers(node, goal)
        depth = 10
        self._subscriptions = [
            node.create_subscription(DiagnosticArray, f"{self._policy}/status", self._on_status, depth),
            subscribe(node, DiagnosticArray, goal, self._on_goal, LATCHED),
            node.create_subscription(Image, f"{self._policy}/selection", self._on_selection, depth),
            node.create_subscription(Image, f"{self._policy}/overlay", self._on_overlay, 1),
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, depth),
            node.create_subscription(
                ParameterEvent, "/parameter_events", self._parameters.heard, qos_profile_parameter_events
            ),
        ]

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._parameters.close()

    def read(self) -> None:
        """Read the parameters again."""
        self._parameters.read()

    def look(self) -> str:
        """Why nothing is heard of the policy, or of two, in words; empty while one speaks. Called once a second.

        One that was killed stays in the graph for a while, so that only those count that speak.
        """
        now = time.monotonic()
        self._parameters.look()
        self._age(now)
        since = now - (self._began if self._word is None else self._word)
        if since > SILENCE:
            return f"no word from {self._policy} for {int(since)} s"
        return namesakes(self._speakers, self._policy) or ""

    @property
    def heard(self) -> bool:
        """Whether the policy has spoken of late."""
        return self._word is not None and time.monotonic() - self._word <= SILENCE

    def _on_goal(self, message: DiagnosticArray, info: Mapping[str, Any]) -> None:
        self._speakers.note(info)
        back = not self.heard
        self._word = time.monotonic()
        goal = Goal.of(facts(message))
        if back or goal.policy != self._state:  # ranges are those of the loaded policy
            self._state = goal.policy
            self._parameters.read()
        self._update(goal=goal, **({"heard": True, "trouble": ""} if back else {}))

    def _on_status(self, message: DiagnosticArray) -> None:
        tick = Tick.of(seconds(message.header.stamp), facts(message))
        self._ticks = (*self._ticks[-KEPT + 1 :], tick)
        self._update(ticks=self._ticks)

    def _on_selection(self, message: Image) -> None:
        if message.encoding == "mono8":
            found = np.bincount(np.frombuffer(message.data, np.uint8), minlength=CODES)
            self._counts[seconds(message.header.stamp)] = {code: int(found[code]) for code in range(CODES)}
            while len(self._counts) > REMEMBERED:
                del self._counts[next(iter(self._counts))]

    def _on_overlay(self, message: Image) -> None:
        width, height, step = message.width, message.height, message.step
        if message.encoding != "rgb8" or step < 3 * width or len(message.data) < step * height or not width * height:
            came = f"{width} x {height} {message.encoding}, {len(message.data)} bytes"
            self._update(trouble=f"{self._policy}/overlay: {came}; expected rgb8 with all of its rows")
            return
        stamp = seconds(message.header.stamp)
        picture = Picture(stamp, width, height, step, message.data)
        self._update(picture=picture, **({"counts": self._counts[stamp]} if stamp in self._counts else {}))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        mine = {status.name: status for status in message.status if is_beside(status.name, self._namespace)}
        for name, status in mine.items():
            self._health[name] = now, Health(name.lstrip("/"), ord(status.level), status.message)
        if mine:
            self._tell_health(one for _, one in self._health.values())

    def _age(self, now: float) -> None:
        """Call stale what nobody has told for a while."""
        late = {name: now - at for name, (at, _) in self._health.items() if now - at > OLD}
        if late:
            self._tell_health(
                replace(one, level=STALE, message=f"no word for {late[name]:.0f} s") if name in late else one
                for name, (_, one) in self._health.items()
            )

    def _tell_health(self, lines: Iterable[Health]) -> None:
        self._update(health=tuple(sorted(lines, key=lambda one: one.name)))


def is_beside(status: str, namespace: str) -> bool:
    """Whether a line of the diagnostics ("left/policy: cache") is of a node in that very namespace."""
    node, colon, _ = status.lstrip("/").partition(":")
    above, _, _ = node.rpartition("/")
    return bool(colon) and above == namespace.strip("/")


def forget(snapshot: Snapshot) -> dict[str, Any]:
    """The parts of a snapshot that were heard of a policy, as they are before anything is heard."""
    empty = Snapshot()
    names = ("heard", "ticks", "picture", "counts", "goal", "health", "knobs")
    return {name: getattr(empty, name) for name in names if getattr(snapshot, name) != getattr(empty, name)}
