"""A policy as the panel hears it over DDS, and some that answer calls without it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from vla_entropy_ros.client import Answer, shared_context
from vla_entropy_ros.nodes.common.facts import facts_message
from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.common.messages import image_message
from vla_entropy_ros.stages import PARTS

BEAT = 0.1  # seconds
WHOLE = {"k1": 8, "k2": 24, "T": 20, "row_budget": 80, "max_age": 20}


class PretendedPolicy:
    """A node of a policy's name that says that it is active, on a thread of its own."""

    def __init__(self, namespace: str = "") -> None:
        self.node = Node("policy", namespace=namespace, context=shared_context())
        self.state, self.high = "active", 256
        self.node.declare_parameter("mode", "place_entropy")
        for name, value in WHOLE.items():
            self.node.declare_parameter(name, value, self._descriptor())
        self._goal = self.node.create_publisher(DiagnosticArray, "~/goal/status", LATCHED)
        self._status = self.node.create_publisher(DiagnosticArray, "~/status", 10)
        self._selection = self.node.create_publisher(Image, "~/selection", 10)
        self._overlay = self.node.create_publisher(Image, "~/overlay", 1)
        self._diagnostics = self.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.node.create_timer(BEAT, self._beat)
        self._executor = SingleThreadedExecutor(context=self.node.context)
        self._executor.add_node(self.node)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def _descriptor(self) -> ParameterDescriptor:
        bounds = IntegerRange(from_value=0, to_value=self.high, step=1)
        return ParameterDescriptor(integer_range=[bounds])

    def narrow(self, high: int) -> None:
        """Let integers go up to `high`, as a loaded checkpoint does; no event tells of it."""
        self.high = high
        for name in WHOLE:
            descriptor = self._descriptor()
            descriptor.type = self.node.describe_parameter(name).type
            self.node.set_descriptor(name, descriptor)

    def set(self, name: str, value: Any) -> None:
        self.node.set_parameters([Parameter(name, value=value)])

    def _beat(self) -> None:
        told = {"goal": 0, "state": "idle", "policy": self.state, "motion": "waiting"}
        self._goal.publish(facts_message("/policy: goal", self.node.get_clock().now().to_msg(), told))

    def tick(self, size: int = 32) -> None:
        """Tell of a tick, with its selection and its picture."""
        stamp = self.node.get_clock().now().to_msg()
        told = {f"latency/{stage}": float(number) for number, stage in enumerate(PARTS)}
        told |= {"latency/total": 11.0, "control_period": 100.0, "tokens/fresh": 5, "tokens/reused": 11}
        self._status.publish(facts_message("/policy: tick", stamp, told))
        codes = np.array([[1, 1, 2, 3], [4, 0, 0, 0], [0] * 4, [0] * 4], np.uint8)
        self._selection.publish(image_message(codes, stamp, ""))
        self._overlay.publish(image_message(np.full((size, size, 3), 7, np.uint8), stamp, ""))

    def diagnose(self, *lines: tuple[str, bytes, str]) -> None:
        """Publish lines of diagnostics: name, level, message."""
        status = [DiagnosticStatus(name=name, level=level, message=message) for name, level, message in lines]
        self._diagnostics.publish(DiagnosticArray(status=status))

    def subscriptions_of_others(self) -> int:
        """How many subscriptions of this policy's topics there are."""
        ends = ("goal/status", "status", "selection", "overlay")
        return sum(self.node.count_subscribers(f"{self.node.get_fully_qualified_name()}/{end}") for end in ends)


class PretendedClient:
    """As VlaClient answers, without ROS; `gate` lets calls wait."""

    def __init__(self, namespace: str = "/", check: Any = lambda: None) -> None:
        self.namespace, self.check = namespace, check
        self.calls: list[tuple[Any, ...]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.is_done, self.closed, self.running = True, False, False

    def _call(self, *call: Any) -> Answer:
        self.calls.append(call)
        while not self.gate.wait(0.01):
            self.check()
        return Answer(True, f"{call[0]} done")

    def run(self, instruction: str, timeout: float, heartbeat: float) -> Answer:
        assert heartbeat > 0.0
        return self._call("run", instruction, timeout)

    def set(self, values: dict[str, Any]) -> Answer:
        self._call("set", values)
        return Answer(True, "")

    def cancel(self) -> Answer:
        self._call("cancel")
        return Answer(True, "cancelled") if self.running else Answer(False, "no goal is running")

    def instruct(self, text: str) -> Answer:
        self._call("instruct", text)
        return Answer(True)

    def reset(self) -> Answer:
        raise RuntimeError("two\nlines")

    def emergency_stop(self) -> Answer:
        self.calls.append(("emergency_stop",))
        return Answer(True, "holding: emergency stop")

    def close(self) -> None:
        self.closed = True

    def __getattr__(self, name: str) -> Any:
        if name in ("enable", "disable", "release"):
            return lambda: self._call(name)
        raise AttributeError(name)


def pretended(clients: list[PretendedClient]) -> Any:
    """What makes such clients, and keeps them in a list."""

    def connect(namespace: str, check: Any) -> PretendedClient:
        clients.append(PretendedClient(namespace, check))
        return clients[-1]

    return connect
