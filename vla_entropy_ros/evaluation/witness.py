"""Hear what the nodes publish, and gather it into ticks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String

from ..client import VlaClient
from ..images import decode_image
from ..nodes.common.facts import facts
from ..nodes.common.listen import LATCHED
from ..nodes.common.messages import seconds
from ..stages import STAGES
from .errors import RunError
from .records import TickRecord

DISCOVERY = 120.0  # seconds for all nodes to appear: imports are slow on a busy or small machine
KEPT_IMAGES = 60
DEEP = 100  # ticks: nothing is lost while the caller draws


class Witness:
    """Hears what the nodes around a client publish; the client's thread brings it, any other may ask."""

    def __init__(self, client: VlaClient, keep_images: bool) -> None:
        self.client = client
        self._lock = threading.Lock()
        self._told: deque[tuple[float, dict[str, str]]] = deque()
        self._selections: deque[tuple[float, NDArray[Any], NDArray[Any]]] = deque()
        self._tool: NDArray[np.float64] = np.full(3, np.nan)
        self._images: dict[float, NDArray[Any]] = {}
        self.success: bool | None = None
        self.asked: str | None = None  # what the simulator's task asks for
        node = client.node
        node.create_subscription(DiagnosticArray, "policy/status", self._on_status, DEEP)
        node.create_subscription(Image, "policy/selection", self._on_selection, DEEP)
        node.create_subscription(PoseStamped, "current_pose", self._on_pose, 10)
        node.create_subscription(Bool, "simulator/success", self._on_success, 10)
        node.create_subscription(String, "simulator/instruction", self._on_asked, LATCHED)
        if keep_images:
            node.create_subscription(Image, "image", self._on_image, 10)

    def _on_status(self, message: DiagnosticArray) -> None:
        with self._lock:
            self._told.append((seconds(message.header.stamp), facts(message)))

    def _on_selection(self, message: Image) -> None:
        codes = decode_image(message)[:, :, 0]  # the channels of a mono image are all the same
        with self._lock:
            self._selections.append((seconds(message.header.stamp), codes, self._tool))

    def _on_pose(self, message: PoseStamped) -> None:
        place = message.pose.position
        self._tool = np.array([place.x, place.y, place.z])

    def _on_success(self, message: Bool) -> None:
        self.success = bool(message.data)

    def _on_asked(self, message: String) -> None:
        self.asked = str(message.data)

    def _on_image(self, message: Image) -> None:
        stamp, pixels = seconds(message.header.stamp), decode_image(message)
        with self._lock:
            self._images[stamp] = pixels
            while len(self._images) > KEPT_IMAGES:
                del self._images[next(iter(self._images))]

    def now(self) -> float:
        """ROS time [s]."""
        return float(self.client.node.get_clock().now().nanoseconds * 1e-9)

    def spin(self, duration: float) -> None:
        """Let `duration` seconds pass; raises RunError if a node has ended."""
        self.client.link.pause(duration)

    def wait(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Wait until `condition`; RunError naming `what` after `timeout` seconds."""
        if not self.client.link.wait(condition, timeout):
            raise RunError(f"{what}: nothing after {timeout:.0f} s")

    def wait_for_graph(self, nodes: Collection[str]) -> None:
        """Wait until every topic of `nodes` that is listened to has its publisher."""
        topics = ["policy/status", "policy/selection", *(["simulator/success"] if "simulator" in nodes else [])]
        count = self.client.node.count_publishers
        self.wait(lambda: all(count(topic) for topic in topics), DISCOVERY, "the nodes' topics")

    def take_ticks(self) -> list[TickRecord]:
        """Ticks that are complete: what was told and what was selected bear the stamp of the same image."""
        ticks = []
        with self._lock:
            while self._told and self._selections:
                (stamp, told), (other, codes, tool) = self._told[0], self._selections[0]
                if stamp <= other:
                    self._told.popleft()
                if other <= stamp:
                    self._selections.popleft()
                if stamp == other:
                    latency = {stage: float(told[f"latency/{stage}"]) for stage in STAGES}
                    passes, image = int(told["decoder_passes"]), self._images.get(stamp)
                    ticks.append(TickRecord(stamp, latency, codes, passes, tool, image=image))
        return ticks
