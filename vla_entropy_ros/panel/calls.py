"""From the panel to the nodes: calls one after the other on a thread of their own, answered in words."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from rclpy.node import Node

from ..client import Answer, VlaClient
from .snapshot import Said

HEARTBEAT = 0.8  # seconds of the panel's silence after which the arm stops: it may be busy for a moment
REST = 1.0  # seconds between two looks whether the goal of a hidden panel has ended
SAID = {  # what was done, where the node says no more
    "run": "runs",
    "stop": "stopped",
    "reset": "reset",
    "enable": "enabled",
    "disable": "disabled",
    "release": "released",
    "emergency_stop": "stopped",
    "set": "set",
}

Call = tuple[str, tuple[Any, ...]]


Connect = Callable[[str, Callable[[], None]], VlaClient]  # of a namespace, with what is asked while a call waits


class PanelClosedError(Exception):
    """Nobody waits for the answer of a call any more."""


def connect(node: Node) -> Connect:
    """What makes the client of a namespace, through a node that is spun elsewhere."""
    return lambda namespace, check: VlaClient(namespace, node=node, check=check)


class Calls:
    """Makes calls through the client that `connect` makes for a namespace; answers wait until they are taken.

    The emergency stop has a thread of its own and never waits for another call. While the panel is hidden there is no
    client, unless a goal runs that the panel gave: its heartbeat goes on.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._said: SimpleQueue[Said] = SimpleQueue()
        self._namespace = self._client_namespace = "/"
        self._client: VlaClient | None = None
        self._changing, self._stopping = threading.Lock(), threading.Lock()
        self._resting, self._closing = True, False
        self._usual = Line("calls", self._make, self._idle, REST)
        self._urgent = Line("stop", self._stop, lambda: None, None)

    def choose(self, namespace: str) -> None:
        """Speak to the nodes of that namespace from now on."""
        self._namespace, self._resting = namespace, False
        self._usual.drop()  # what waits was meant for others
        self._usual.put("connect")

    def rest(self) -> None:
        """Be there for the goal that runs, if any, and no longer."""
        self._resting = True
        self._usual.put("connect")

    def ask(self, call: str, *arguments: Any) -> None:
        """Make a call: run with instruction and timeout [s], stop, reset, enable, disable or release."""
        self._usual.put(call, *arguments)

    def set(self, name: str, value: Any) -> None:
        """Set a parameter of the policy; a value that still waits for its turn gives way to this one."""
        self._usual.replace("set", name, value)

    def emergency_stop(self) -> None:
        """Stop the arm now."""
        self._urgent.put("emergency_stop")

    def answers(self) -> list[Said]:
        """Answers that have come since the last look."""
        found = []
        while True:
            try:
                found.append(self._said.get_nowait())
            except Empty:
                return found

    def close(self) -> None:
        """End the threads and leave the graph; a goal that the panel gave ends, and the arm stops."""
        self._closing = True
        for line in (self._usual, self._urgent):
            line.end()
        self._disconnect()

    def _make(self, call: str, arguments: tuple[Any, ...]) -> None:
        if call != "connect" or not self._resting:
            with self._stopping:  # a stop on its way keeps its client
                self._connected()
        if call == "connect":
            return
        name, value = arguments if call == "set" else ("", None)
        self._say(call, lambda client: _called(client, call, arguments), name, value)

    def _stop(self, call: str, _: tuple[Any, ...]) -> None:
        with self._stopping:
            self._say(call, lambda client: client.emergency_stop())

    def _say(self, call: str, made: Callable[[VlaClient], Answer], name: str = "", value: Any = None) -> None:
        try:
            answer = made(self._connected())
        except Exception as error:  # noqa: BLE001  (whatever it is, the panel goes on and shows it)
            answer = Answer(False, " ".join(str(error).split()) or type(error).__name__)
        self._said.put(Said(call, answer.ok, answer.words or SAID[call], name, value))

    def _connected(self) -> VlaClient:
        """The client of the chosen namespace."""
        with self._changing:
            if self._client is None or self._client_namespace != self._namespace:
                self._leave()
                self._client_namespace = self._namespace
                self._client = self._connect(self._client_namespace, self._check)
            return self._client

    def _check(self) -> None:
        """Asked while a call waits for its answer."""
        if self._closing:
            raise PanelClosedError("the panel was closed")

    def _idle(self) -> None:
        """Nothing is to be called: a hidden panel keeps its client no longer than its goal."""
        if self._resting and self._client is not None and self._client.is_done:
            self._disconnect()

    def _disconnect(self) -> None:
        with self._stopping, self._changing:
            self._leave()

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _called(client: VlaClient, call: str, arguments: tuple[Any, ...]) -> Answer:
    """Make a call of the usual kind."""
    if call == "run":
        instruction, timeout = arguments
        return client.run(instruction, timeout, heartbeat=HEARTBEAT)
    if call == "set":
        name, value = arguments
        return client.set({name: value})
    if call == "stop":
        answer = client.cancel()
        if answer.ok:
            return answer
        taken_back = client.instruct("")  # what the topic asked for stops, too
        return Answer(taken_back.ok, f"{answer.words}; " + (taken_back.words or "the instruction is taken back"))
    return getattr(client, call)()


class Line:
    """A thread that makes the calls put to it in order, and looks around when there are none."""

    def __init__(
        self, name: str, make: Callable[[str, tuple[Any, ...]], None], idle: Callable[[], None], pause: float | None
    ) -> None:
        self._make, self._idle, self._pause = make, idle, pause
        self._waiting: list[Call] = []
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"panel {name}")
        self._thread.start()

    def put(self, call: str, *arguments: Any) -> None:
        """Make a call after those that wait."""
        with self._changed:
            self._waiting.append((call, arguments))
            self._changed.notify()

    def replace(self, call: str, name: str, value: Any) -> None:
        """Make a call for `name`, instead of one for it that waits."""
        with self._changed:
            self._waiting = [one for one in self._waiting if (one[0], one[1][:1]) != (call, (name,))]
            self._waiting.append((call, (name, value)))
            self._changed.notify()

    def drop(self) -> None:
        """Make none of the calls that wait."""
        with self._changed:
            self._waiting = []

    def end(self) -> None:
        """End the thread; calls that wait are not made."""
        with self._changed:
            self._waiting, self._ending = [], True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ending:
                    if not self._changed.wait(self._pause):
                        break
                if self._ending:
                    return
                call = self._waiting.pop(0) if self._waiting else None
            if call is None:
                self._idle()
            else:
                self._make(*call)
