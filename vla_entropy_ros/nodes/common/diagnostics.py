"""The state of a node's tasks on /diagnostics, once a second (REP-107)."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node

PERIOD = 1.0  # seconds
WINDOW = 5.0  # seconds that rates and percentiles look back
OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE
LEVEL_NAMES = {OK: "OK", WARN: "WARN", ERROR: "ERROR", STALE: "STALE"}


@dataclass(frozen=True)
class Report:
    """What one task says: level (OK, WARN, ERROR, STALE), one line, and values to show beside it."""

    level: bytes
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


class RollingWindow:
    """Numbers of the last WINDOW seconds; one thread adds while another looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, float]] = deque(maxlen=4096)
        self._began = time.monotonic()

    def add(self, value: float) -> None:
        """Add one number."""
        with self._lock:
            self._samples.append((time.monotonic(), value))

    def recent(self) -> np.ndarray:
        """The numbers of the last WINDOW seconds."""
        with self._lock:
            horizon = time.monotonic() - WINDOW
            while self._samples and self._samples[0][0] < horizon:
                self._samples.popleft()
            return np.array([value for _, value in self._samples])

    def summary(self, name: str, unit: str, scale: float = 1.0) -> dict[str, str]:
        """Median, 95th percentile and maximum as text, in units of 1 / scale."""
        values = self.recent() * scale
        if not len(values):
            return {f"{name} p50 / p95 / max [{unit}]": "-"}
        middle, high = np.percentile(values, (50, 95))
        return {f"{name} p50 / p95 / max [{unit}]": f"{middle:.1f} / {high:.1f} / {values.max():.1f}"}

    @property
    def span(self) -> float:
        """Time [s] that `recent` covers: WINDOW, less when this began later."""
        return min(WINDOW, max(time.monotonic() - self._began, 1e-3))

    @property
    def rate(self) -> float:
        """Numbers per second."""
        return len(self.recent()) / self.span


class Diagnostics:
    """Asks each task for its report once a second, publishes them, and logs a change of level once."""

    def __init__(self, node: Node, hardware_id: str, tasks: Mapping[str, Callable[[], Report]]) -> None:
        self._node = node
        self._hardware_id = hardware_id
        self._tasks = tasks
        self._levels = dict.fromkeys(tasks, OK)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(PERIOD, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish the state of all tasks now."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [self._status(name, task()) for name, task in self._tasks.items()]
        self._publisher.publish(message)

    def _status(self, name: str, report: Report) -> DiagnosticStatus:
        if report.level != self._levels[name]:
            self._levels[name] = report.level
            self._log(report.level, f"{name}: {report.message}")
        full_name = f"{self._node.get_fully_qualified_name().lstrip('/')}: {name}"
        values = [KeyValue(key=key, value=str(value)) for key, value in report.values.items()]
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
