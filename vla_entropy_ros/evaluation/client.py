"""Subscribe to what the nodes publish, gather it into ticks, and call their services."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import numpy as np
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Float64, Int32, String
from std_srvs.srv import Trigger

from ..images import decode_image
from ..nodes.common.listen import LATCHED
from ..nodes.common.messages import seconds
from . import consent
from .errors import RunError
from .records import TickRecord
from .stages import STAGES

POLL = 0.02  # seconds
PATIENCE = 30.0  # seconds a service may take
CONFIGURE_PATIENCE = 180.0  # seconds: a large checkpoint from a slow disk
DISCOVERY = 120.0  # seconds for all nodes to appear: imports are slow on a busy or small machine
KEPT_IMAGES = 60

R = TypeVar("R")


class Client:
    """A ROS node beside the nodes, spun by the calling thread; `check` is asked now and then and may raise."""

    def __init__(self, context: Context, check: Callable[[], None], keep_images: bool) -> None:
        self._check = check
        self.node = Node("evaluation", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._latency: dict[str, deque[float]] = {stage: deque() for stage in STAGES}
        self._selections: deque[tuple[float, NDArray[Any], NDArray[Any]]] = deque()
        self._passes: deque[int] = deque()
        self._tool: NDArray[np.float64] = np.full(3, np.nan)
        self._images: dict[float, NDArray[Any]] = {}
        self._keep_images = keep_images
        self.success: bool | None = None
        self.asked: str | None = None  # what the simulator's task asks for
        self._subscribe()
        self._instruction = self.node.create_publisher(String, "instruction", 10)

    def _subscribe(self) -> None:
        deep = 100  # ticks: nothing is lost while the caller draws
        for stage, values in self._latency.items():
            self.node.create_subscription(
                Float64, f"policy/latency/{stage}", lambda message, values=values: values.append(message.data), deep
            )
        self.node.create_subscription(Image, "policy/selection", self._on_selection, deep)
        self.node.create_subscription(
            Int32, "policy/decoder_passes", lambda message: self._passes.append(int(message.data)), deep
        )
        self.node.create_subscription(PoseStamped, "current_pose", self._on_pose, 10)
        self.node.create_subscription(Bool, "simulator/success", self._on_success, 10)
        self.node.create_subscription(String, "simulator/instruction", self._on_asked, LATCHED)
        if self._keep_images:
            self.node.create_subscription(Image, "image", self._on_image, 10)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def _on_selection(self, message: Image) -> None:
        codes = decode_image(message)[:, :, 0]  # the channels of a mono image are all the same
        self._selections.append((seconds(message.header.stamp), codes, self._tool))

    def _on_pose(self, message: PoseStamped) -> None:
        place = message.pose.position
        self._tool = np.array([place.x, place.y, place.z])

    def _on_success(self, message: Bool) -> None:
        self.success = bool(message.data)

    def _on_asked(self, message: String) -> None:
        self.asked = str(message.data)

    def _on_image(self, message: Image) -> None:
        self._images[seconds(message.header.stamp)] = decode_image(message)
        while len(self._images) > KEPT_IMAGES:
            del self._images[next(iter(self._images))]

    def now(self) -> float:
        """ROS time [s]."""
        return float(self.node.get_clock().now().nanoseconds * 1e-9)

    def spin(self, duration: float) -> None:
        """Handle messages for `duration` seconds; raises RunError if a node has ended."""
        deadline = time.monotonic() + duration
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, POLL))
        self._check()

    def wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Handle messages until `condition`; RunError naming `what` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise RunError(f"{what}: nothing after {timeout:.0f} s")
            self.spin(POLL)

    def wait_for_graph(self, nodes: Collection[str]) -> None:
        """Wait until every topic of `nodes` that is listened to has its publisher."""
        topics = [*(f"policy/latency/{stage}" for stage in STAGES), "policy/selection", "policy/decoder_passes"]
        if "simulator" in nodes:
            topics.append("simulator/success")

        def complete() -> bool:
            return all(self.node.count_publishers(topic) for topic in topics)

        self.wait(complete, DISCOVERY, "the nodes' topics")

    def take_ticks(self) -> list[TickRecord]:
        """Ticks that are complete; the n-th value of every topic belongs to the n-th tick."""
        ticks = []
        while self._selections and self._passes and all(self._latency.values()):
            stamp, codes, tool = self._selections.popleft()
            latency = {stage: values.popleft() for stage, values in self._latency.items()}
            ticks.append(TickRecord(stamp, latency, codes, self._passes.popleft(), tool, image=self._images.get(stamp)))
        return ticks

    def instruct(self, text: str) -> None:
        """Publish the instruction, once somebody listens."""
        self.wait(lambda: self._instruction.get_subscription_count() > 0, DISCOVERY, "a listener of 'instruction'")
        self._instruction.publish(String(data=text))

    def change_state(self, transition: int, name: str) -> None:
        """Bring the policy through a lifecycle transition; RunError when it fails."""
        request = ChangeState.Request(transition=Transition(id=transition))
        patience = CONFIGURE_PATIENCE if transition == Transition.TRANSITION_CONFIGURE else PATIENCE
        if not self._call(ChangeState, "policy/change_state", request, patience).success:
            raise RunError(f"the policy node refused to {name}")

    def set_parameters(self, node: str, values: Mapping[str, Any]) -> None:
        """Set parameters of a node; RunError with its reason when it refuses."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParameters.Request(parameters=parameters)
        for result in self._call(SetParameters, f"{node}/set_parameters", request).results:
            if not result.successful:
                raise RunError(f"{node} refused a parameter: {result.reason}")

    def trigger(self, service: str) -> None:
        """Call a Trigger service; RunError with its message when it says no."""
        answer = self._call(Trigger, service, Trigger.Request())
        if not answer.success:
            raise RunError(f"{service}: {answer.message}")

    def enable(self) -> None:
        """Let the command node move the arm; RunError with its reason when it does not consent within PATIENCE."""
        consent.enable(self._call, lambda: self.spin(POLL), PATIENCE)

    def disable(self) -> None:
        """Let the command node hold the arm and fall silent."""
        consent.disable(self._call)

    def _call(self, kind: Any, service: str, request: Any, timeout: float = PATIENCE) -> Any:
        client: Any = self.node.create_client(kind, service)
        try:
            self.wait(client.service_is_ready, DISCOVERY, f"service {service}")
            future = client.call_async(request)
            self.wait(future.done, timeout, f"answer of {service}")
            return future.result()
        finally:
            self.node.destroy_client(client)
