"""Whether another node of the same full name is alive: it says so by its diagnostics, under our own name."""

from __future__ import annotations

import time
from collections import deque

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

HEARD = 2.5  # seconds for which a twin that was heard counts as alive; it speaks once a second
YOUNG = 10.0  # seconds after its start in which a node makes way for an older one of its name
TWO = "two nodes are called"  # what every report of a twin begins with
STARTED = "started [s since 1970]"  # the value of each status that tells which of two nodes is the younger


class Twins:
    """Listens to the diagnostics for statuses under this node's own name that it did not publish itself.

    A node that was killed stays in the graph for up to 20 s, where nothing tells it from a living one; it is silent
    here. `own` gets the stamp of each message that the node publishes.
    """

    def __init__(self, node: Node) -> None:
        self._name = node.get_fully_qualified_name()
        self._prefix = f"{self._name.lstrip('/')}: "
        self._began = time.monotonic()
        self.started = time.time()
        self._own: deque[tuple[int, int]] = deque(maxlen=5)
        self._heard = float("-inf")
        self._elder = False
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def own(self, message: DiagnosticArray) -> None:
        """Remember a message that this node is about to publish."""
        self._own.append((message.header.stamp.sec, message.header.stamp.nanosec))

    @property
    def problem(self) -> str | None:
        """What to say while another node of this name is alive; None when there is none."""
        if time.monotonic() - self._heard > HEARD:
            return None
        return f"{TWO} {self._name}: end one, or start it with another name or namespace (__ns:=...)"

    @property
    def gives_way(self) -> bool:
        """Whether this node is the one to end: it has just begun, and the other is older."""
        return self._elder and self.problem is not None and time.monotonic() - self._began < YOUNG

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        if (message.header.stamp.sec, message.header.stamp.nanosec) in self._own:
            return
        for status in message.status:
            if status.name.startswith(self._prefix):
                self._heard, self._elder = time.monotonic(), _started(status) <= self.started
                return


def _started(status: DiagnosticStatus) -> float:
    """When the node behind a status began [s since 1970]; before all others where it does not tell."""
    told = next((value.value for value in status.values if value.key == STARTED), "")
    try:
        return float(told)
    except ValueError:
        return float("-inf")
