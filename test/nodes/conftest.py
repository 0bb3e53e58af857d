"""A checkpoint with random weights, and a stage on which nodes meet over DDS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy

from vla_entropy_ros.client import VlaClient
from vla_entropy_ros.nodes.common.process import make_executor

from .robot import Robot

PATIENCE = 10.0  # seconds until something counts as never happening


@pytest.fixture(scope="session", autouse=True)
def ros() -> Iterator[None]:
    """ROS, once for all tests."""
    rclpy.init()
    yield
    rclpy.try_shutdown()


class Stage:
    """Spins nodes on a thread of its own; `tester` is the node that tests speak through."""

    def __init__(self) -> None:
        self.tester = Node("tester")
        self.received: dict[str, list[Any]] = {}
        self.status: dict[str, DiagnosticStatus] = {}
        self._executor = make_executor()
        self._closables: list[Any] = []
        self._nodes: list[Node] = []
        self._ending = threading.Event()
        self.add(self.tester)
        self.tester.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def add(self, node: Any) -> Any:
        """Spin `node` too, and end it with the stage."""
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def remove(self, node: Any, close: bool = False) -> None:
        """End `node` before the others, with `close` as its process would; spinning rests meanwhile."""
        self._ending.set()
        self._thread.join()
        self._executor.remove_node(node)
        self._nodes.remove(node)
        if close:
            node.close()
        node.destroy_node()
        self._ending.clear()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def end(self) -> None:
        """Stop spinning, then end the nodes as their processes would."""
        self._ending.set()
        self._thread.join()
        for node in self._nodes:
            if hasattr(node, "close"):
                node.close()
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()

    def listen(self, kind: type, topic: str, reliable: bool = True) -> list[Any]:
        """List that grows with the messages of `topic`."""
        messages: list[Any] = []
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self.tester.create_subscription(kind, topic, messages.append, QoSProfile(depth=50, reliability=reliability))
        return messages

    def publisher(self, kind: type, topic: str) -> Any:
        """Publisher that has met its subscriber."""
        publisher: Any = self.tester.create_publisher(kind, topic, 10)
        self.until(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}")
        return publisher

    def call(self, kind: type, name: str, request: Any = None) -> Any:
        """Answer of a service."""
        client: Any = self.tester.create_client(kind, name)
        assert client.wait_for_service(PATIENCE), f"no service {name}"
        answered = threading.Event()
        future = client.call_async(request or kind.Request())  # type: ignore[attr-defined]
        future.add_done_callback(lambda _: answered.set())
        assert answered.wait(PATIENCE), f"no answer from {name}"
        self.tester.destroy_client(client)
        return future.result()

    def set_parameter(self, node: str, name: str, value: Any) -> Any:
        """What a node answers to a new value, as `ros2 param set` would ask."""
        message: ParameterMessage = Parameter(name, value=value).to_parameter_msg()
        answer = self.call(SetParameters, f"/{node}/set_parameters", SetParameters.Request(parameters=[message]))
        return answer.results[0]

    def diagnostic(self, task: str, accept: Callable[[DiagnosticStatus], bool]) -> DiagnosticStatus:
        """First status of `task` ("policy: cache") that `accept` likes."""
        self.until(lambda: task in self.status and accept(self.status[task]), f"{task} in the expected state")
        return self.status[task]

    def until(self, condition: Callable[[], bool], what: str = "it", patience: float = PATIENCE) -> None:
        """Wait for `condition`."""
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, f"waited {patience} s for {what}; diagnostics: {self._said()}"
            time.sleep(0.005)

    def _said(self) -> str:
        return "; ".join(f"{name} {status.level!r} {status.message}" for name, status in self.status.items())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.status.update({status.name: status for status in message.status})

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A fresh stage."""
    one = Stage()
    yield one
    one.end()


@pytest.fixture
def robot(stage: Any, checkpoint: Path) -> Robot:
    """A robot that acts."""
    return Robot(stage, checkpoint, k1=2, k2=3, row_budget=0).activate()


@pytest.fixture
def acting(stage: Any, checkpoint: Path) -> Iterator[Robot]:
    """A robot without an instruction, whose camera shows something all the time."""
    robot = Robot(stage, checkpoint).activate("")
    stage.until(lambda: robot.images.get_subscription_count() > 0, "a listener of the camera")
    ending = threading.Event()

    def show() -> None:
        while not ending.wait(0.03):
            robot.images.publish(robot.image())

    camera = threading.Thread(target=show)
    camera.start()
    yield robot
    ending.set()
    camera.join()


@pytest.fixture
def client() -> Iterator[VlaClient]:
    """A client with the patience of a busy machine."""
    with VlaClient(patience=2 * PATIENCE) as one:
        yield one
