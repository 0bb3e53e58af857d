"""A node that an exception in one of its callbacks does not end."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from .process import one_line

LOG_PERIOD = 5.0  # seconds between two lines about the same fault
TOLD = 3.0  # seconds that a failure stays in the diagnostics


class GuardedNode(Node):
    """Runs timers, subscriptions and services so that what they raise is said, brings the arm to rest, and ends there.

    Without it an exception in a timer ends the process, and with it the hold of the arm.
    """

    _failed: tuple[str, float] | None = None  # what failed last, and when on the monotonic clock [s]

    def create_timer(self, timer_period_sec: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, guarded."""
        return super().create_timer(timer_period_sec, self._guard_callback(callback), *args, **kwargs)

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, guarded."""
        return super().create_subscription(msg_type, topic, self._guard_callback(callback), *args, **kwargs)

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """As rclpy's, guarded: who asked gets an empty answer, which says of no success."""

        @functools.wraps(callback)
        def answer(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:  # noqa: BLE001  (see the class)
                self._fail(callback, error)
                return type(response)()

        return super().create_service(srv_type, srv_name, answer, *args, **kwargs)

    @property
    def failure(self) -> str | None:
        """What failed within the last TOLD seconds."""
        return self._failed[0] if self._failed and time.monotonic() - self._failed[1] < TOLD else None

    def rest(self, reason: str) -> None:
        """Bring to rest what this node moves, because of `reason`; nodes that move something say how."""

    def _guard_callback(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(callback)
        def guarded(*args: Any) -> Any:
            try:
                return callback(*args)
            except ExternalShutdownException:
                raise
            except Exception as error:  # noqa: BLE001  (see the class)
                self._fail(callback, error)
                return None

        return guarded

    def _fail(self, callback: Callable[..., Any], error: Exception) -> None:
        name = getattr(callback, "__name__", "a callback").lstrip("_")
        reason = f"{name} failed: {type(error).__name__}: {one_line(error)}; the node goes on, please report it"
        self._failed = reason, time.monotonic()
        self.get_logger().error(reason, throttle_duration_sec=LOG_PERIOD)
        self.get_logger().debug("".join(traceback.format_exception(error)))
        try:
            self.rest(reason)
        except Exception as again:  # noqa: BLE001  (what failed may be what brings to rest)
            self.get_logger().error(f"not brought to rest: {one_line(again)}", throttle_duration_sec=LOG_PERIOD)
