"""From ROS to the panel: a node on a thread of its own that keeps the newest snapshot of one policy."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from ..client import find_policies, shared_context
from ..nodes.common.listen import listed
from ..nodes.common.process import make_executor, one_line
from .listening import Listening, forget
from .snapshot import NO_POLICY, Snapshot

LOOK_PERIOD = 1.0  # seconds between two looks at the graph
WAKE_PERIOD = 0.05  # seconds: what the panel asks for is done as late as that
SHOWN = 4  # names in one line
_NUMBERS = itertools.count(1)  # of the panels in this process


class Feed:
    """Hears the policy of the chosen namespace, of the first one found unless one is chosen.

    `node` is spun here, for others who speak through it, too. Between `hide` and `show` it hears nothing. Whatever is
    made and ended in the node is so on its thread.
    """

    def __init__(self, domain: int | None = None) -> None:
        context = shared_context(domain)
        name = f"vla_panel_{os.getpid()}_{next(_NUMBERS)}"
        self.node = Node(name, context=context, start_parameter_services=False)
        self._executor = make_executor(context)
        self._executor.add_node(self.node)
        self._snapshot = Snapshot()
        self._listening: Listening | None = None
        self._timer: Any = None
        self._todo: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=name)
        self._thread.start()

    def look(self) -> Snapshot:
        """The newest snapshot."""
        return self._snapshot

    def show(self) -> None:
        """Hear from now on."""
        self._todo.put(self._show)

    def hide(self) -> None:
        """Hear nothing from now on."""
        self._todo.put(self._hide)

    def choose(self, namespace: str) -> None:
        """Hear the policy of that namespace, now or once it is there."""
        self._todo.put(lambda: self._choose(namespace))

    def close(self) -> None:
        """Leave the graph."""
        self._ending.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def _spin(self) -> None:
        while not self._ending.is_set():
            try:
                self._executor.spin_once(timeout_sec=WAKE_PERIOD)
                self._do()
            except ExternalShutdownException:  # Ctrl-C in rqt: nothing is left to be ended in order
                return
            except Exception as error:  # noqa: BLE001  (what one message led to must not end all that follow)
                self.node.get_logger().error(f"the panel could not take something in: {one_line(error)}")
        self._hide()

    def _do(self) -> None:
        while True:
            try:
                self._todo.get_nowait()()
            except Empty:
                return

    def _update(self, **parts: Any) -> None:
        self._snapshot = replace(self._snapshot, **parts)

    def _show(self) -> None:
        if self._timer is None:
            self._timer = self.node.create_timer(LOOK_PERIOD, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
            self._listen()
            self._look()

    def _hide(self) -> None:
        if self._timer is not None:
            self.node.destroy_timer(self._timer)
            self._timer = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _choose(self, namespace: str) -> None:
        if namespace != self._snapshot.namespace:
            self._update(namespace=namespace)
            self._listen()

    def _listen(self) -> None:
        """Hear the chosen namespace instead of another one."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        self._update(**forget(self._snapshot))
        if self._timer is not None and self._snapshot.namespace is not None:
            self._listening = Listening(self.node, self._snapshot.namespace, self._update)

    def _look(self) -> None:
        """Look at the graph: which policies there are, and whether the chosen one is alone and speaks."""
        found = find_policies(self.node)
        if self._snapshot.namespace is None and found:
            self._choose(next(iter(found)))
        new = {"namespaces": tuple(found), "trouble": NO_POLICY, "heard": False}
        if self._listening is not None and (namespace := self._snapshot.namespace) is not None:
            new["trouble"], new["heard"] = self._listening.look(), self._listening.heard
            if new["trouble"] and namespace not in found:
                others = f"policies: {listed([*found], SHOWN)}" if found else NO_POLICY
                new["trouble"] = f"{new['trouble']}; {others}"
        if any(getattr(self._snapshot, name) != value for name, value in new.items()):
            self._update(**new)
