"""The state of a node's tasks on /diagnostics, once a second (REP-107)."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType

from .guarded import GuardedNode
from .process import Stop
from .twins import STARTED, Twins

PERIOD = 1.0  # seconds
SOON = 0.1  # seconds: who hurries speaks at most so often
WINDOW = 5.0  # seconds that rates and percentiles look back
OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE
LEVEL_NAMES = {OK: "OK", WARN: "WARN", ERROR: "ERROR", STALE: "STALE"}


@dataclass(frozen=True)
class Report:
    """State of one task: level (OK, WARN, ERROR, STALE), one line, and values to show beside it."""

    level: bytes
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """The numbers of the last `span` seconds."""

    numbers: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    span: float = WINDOW

    @property
    def rate(self) -> float:
        """Numbers per second."""
        return len(self.numbers) / self.span

    def summary(self, name: str, unit: str, scale: float = 1.0) -> dict[str, str]:
        """Median, 95th percentile and maximum as text, in units of 1 / scale."""
        values = self.numbers * scale
        if not len(values):
            return {f"{name} p50 / p95 / max [{unit}]": "-"}
        middle, high = np.percentile(values, (50, 95))
        return {f"{name} p50 / p95 / max [{unit}]": f"{middle:.1f} / {high:.1f} / {values.max():.1f}"}


class RollingWindow:
    """Keeps the numbers of the last WINDOW seconds; one thread adds while another looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, float]] = deque(maxlen=4096)
        self._began = time.monotonic()

    def add(self, number: float) -> None:
        """Add one number."""
        with self._lock:
            self._samples.append((time.monotonic(), number))

    def look(self) -> Window:
        """The numbers of the last WINDOW seconds; fewer seconds where this began later."""
        with self._lock:
            now = time.monotonic()
            while self._samples and self._samples[0][0] < now - WINDOW:
                self._samples.popleft()
            numbers = np.array([number for _, number in self._samples], np.float64)
        return Window(numbers, min(WINDOW, max(now - self._began, 1e-3)))


class Diagnostics:
    """Publishes the report of each task once a second, and logs a change of level once.

    What concerns the node as a whole comes before every report: a callback that failed, or a second node of its name,
    to which the one that began later gives way by ending.
    """

    def __init__(
        self,
        node: GuardedNode,
        hardware_id: str,
        tasks: Mapping[str, Callable[[], Report]],
        stop: Stop | None = None,
    ) -> None:
        self._node, self._stop = node, stop or Stop()
        self._published = time.monotonic()  # a node that has just begun knows of nobody yet
        self.twins = Twins(node)
        self._hardware_id = hardware_id
        self._tasks = tasks
        self._levels = dict.fromkeys(tasks, OK)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(PERIOD, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def hurry(self) -> None:
        """Publish now, since something has changed; or with the next regular message where that was done just now."""
        if time.monotonic() - self._published > SOON:
            self.publish()

    def publish(self) -> None:
        """Publish the state of all tasks now."""
        self._published = time.monotonic()
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [self._status(name, self._report(task)) for name, task in self._tasks.items()]
        self.twins.own(message)
        self._publisher.publish(message)
        if self.twins.gives_way and not self._stop.requested:
            self._node.get_logger().fatal(f"ending: {self.twins.problem}")
            self._stop.request(1)

    def _report(self, task: Callable[[], Report]) -> Report:
        report = task()
        if (failure := self._node.failure) is not None:
            return replace(report, level=ERROR, message=failure)
        twin = self.twins.problem if report.level != ERROR else None
        return report if twin is None else replace(report, level=WARN, message=twin)

    def _status(self, name: str, report: Report) -> DiagnosticStatus:
        if report.level != self._levels[name]:
            self._levels[name] = report.level
            self._log(report.level, f"{name}: {report.message}")
        full_name = f"{self._node.get_fully_qualified_name().lstrip('/')}: {name}"
        told = {**report.values, STARTED: f"{self.twins.started:.3f}"}
        values = [KeyValue(key=key, value=str(value)) for key, value in told.items()]
        return DiagnosticStatus(
            level=report.level, name=full_name, message=report.message, hardware_id=self._hardware_id, values=values
        )

    def _log(self, level: bytes, line: str) -> None:
        logger = self._node.get_logger()
        if level == OK:
            logger.info(line)
        elif level == ERROR:
            logger.error(line)
        else:
            logger.warning(line)
