"""Start a node, spin it, and end it in order on a signal."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import rclpy
from rclpy.context import Context
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from .arguments import unread, without_parameters
from .fastdds_ports import fresh_ports
from .log_folder import settle_log_folder
from .security import check_security

N = TypeVar("N", bound=Node)

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # HUP: the terminal is closed
WAKE_PERIOD = 0.1  # seconds: Python runs a signal's handler only when the executor comes back


class StartError(RuntimeError):
    """A node can't start; the message is one line."""


class Stop:
    """Whether the process shall end, and with which exit status."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.status = 0

    def request(self, status: int = 0) -> None:
        """End soon; the first status that is not 0 counts."""
        self.status = self.status or status
        self._event.set()

    @property
    def requested(self) -> bool:
        """True once somebody asked."""
        return self._event.is_set()


def make_executor(context: Context | None = None) -> Executor:
    """The events executor where rclpy has it (least CPU), else the single-threaded one."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:  # Humble
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def one_line(error: BaseException) -> str:
    """The message of `error` as a single line; its type where it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) or type(error).__name__


def run(
    name: str,
    make: Callable[..., N],
    close: Callable[[N], None],
    args: Sequence[str] | None = None,
    executor: Callable[[], Executor] = make_executor,
    settled: Callable[[N], bool] = lambda _: True,
) -> int:
    """Run the node that `make` builds until a signal or its own request; returns the exit status.

    `make` is given the Stop and, as cli_args, all arguments: those about parameters are the node's alone to read.
    `settled` says, once an end is asked for, whether there is nothing to wait for. `close` is called once at the end,
    when no callback runs any more and publishers still work.
    """
    stop, arguments = Stop(), list(sys.argv if args is None else args)
    _on_signals(lambda *_: stop.request())
    logger = get_logger(name)
    homeless = settle_log_folder()
    try:
        if warning := check_security(os.environ):
            logger.warning(warning)
        if (word := unread(arguments)) is not None:
            raise StartError(f"nobody reads {word} where it stands: write it after --ros-args (and before any --)")
        rclpy.init(args=without_parameters(arguments), signal_handler_options=SignalHandlerOptions.NO)
        with fresh_ports(rclpy.get_default_context().get_domain_id()):
            node = make(stop, cli_args=arguments)
        if homeless is not None:
            logger.info(homeless)
    except Exception as error:  # noqa: BLE001  (a user sees one line, a developer the rest at debug level)
        logger.fatal(one_line(error))
        logger.debug(traceback.format_exc())
        rclpy.try_shutdown()
        return 1
    try:
        _spin(node, executor(), stop, partial(settled, node))
    except Exception as error:  # noqa: BLE001  (the node still says farewell)
        logger.fatal(f"stopping: {one_line(error)}")
        logger.debug(traceback.format_exc())
        stop.request(1)
    finally:
        _on_signals(signal.SIG_IGN)  # under `ros2 launch` Ctrl-C comes twice, from the terminal and from launch
        try:
            close(node)
        except Exception as error:  # noqa: BLE001  (the process ends all the same, and says why)
            logger.fatal(f"no orderly end: {one_line(error)}")
            stop.request(1)
        node.destroy_node()
        del node
        gc.collect()  # a lifecycle node holds itself: unless it goes now, it stays in the graph for some 20 s
        rclpy.try_shutdown()
    return stop.status


def _on_signals(handler: signal.Handlers | Callable[..., object]) -> None:
    for number in ENDING:
        signal.signal(number, handler)


def _spin(node: Node, executor: Executor, stop: Stop, settled: Callable[[], bool]) -> None:
    """Spin on this thread: the events executor deadlocks when another thread shuts it down."""
    _on_signals(lambda *_: stop.request())  # again: Jazzy's events executor installs handlers of its own
    executor.add_node(node)
    try:
        while not (stop.requested and settled()):
            executor.spin_once(timeout_sec=WAKE_PERIOD)
    finally:
        executor.shutdown()
