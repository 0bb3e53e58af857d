"""Numbers of every tick as topics that tools can plot: stage latencies, token counts, the selection as an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Float64, Int32, String

from ...draw import overlay
from ..common.diagnostics import WARN, Report
from ..common.listen import LATCHED
from ..common.messages import image_message
from .orders import Answer

STAGES = ("capture_age", "preprocess", "vision", "select", "prefill", "decode", "total")
COUNTS = {  # by topic: what it tells of the record
    "tokens/fresh": "fresh",
    "tokens/reused": "reused",
    "tokens/by_visual": "by_visual",
    "tokens/by_attention": "by_attention",
    "tokens/changed": "changed",
    "tokens/old": "old",
    "tokens/filled": "filled",
    "schedule/k_vis": "k_vis",
    "schedule/k_attn": "k_attn",
    "schedule/t": "t",
}
SCENE = ("noise", "exposure")  # told where they are known
DEPTH = 10


class Telemetry:
    """Publishes latencies [ms], token counts and the selection of a tick, and why little is reused."""

    def __init__(self, node: Node) -> None:
        self._latency = {stage: node.create_publisher(Float64, f"~/latency/{stage}", DEPTH) for stage in STAGES}
        self._counts = {name: node.create_publisher(Int32, f"~/{topic}", DEPTH) for topic, name in COUNTS.items()}
        self._oldest = node.create_publisher(Int32, "~/tokens/oldest", DEPTH)
        self._scene = {name: node.create_publisher(Float64, f"~/scene/{name}", DEPTH) for name in SCENE}
        self._why = node.create_publisher(String, "~/tokens/why", LATCHED)
        self._said: str | None = None
        self._passes = node.create_publisher(Int32, "~/decoder_passes", DEPTH)
        self._selection = node.create_publisher(Image, "~/selection", DEPTH)
        self._overlay = node.create_publisher(Image, "~/overlay", 1)

    def publish(self, answer: Answer, columns: int) -> None:
        """Publish one tick's numbers; `columns`: visual tokens in a row of the image."""
        result = answer.result
        for stage, publisher in self._latency.items():
            value = answer.capture_age if stage == "capture_age" else getattr(result.timings, stage)
            publisher.publish(Float64(data=float(value * 1e3)))
        for name, publisher in self._counts.items():
            publisher.publish(Int32(data=int(getattr(result.reuse, name))))
        self._oldest.publish(Int32(data=int(result.reuse.age.max())))
        for name, publisher in self._scene.items():
            if (found := getattr(result.reuse, name)) is not None:
                publisher.publish(Float64(data=float(found)))
        self._passes.publish(Int32(data=int(result.decoder_passes)))
        codes = result.reuse.codes.reshape(-1, columns)
        self._selection.publish(image_message(codes, answer.stamp, ""))
        if self._overlay.get_subscription_count() > 0:  # drawing takes longer than a small policy's tick
            cameras = np.split(codes, len(answer.images))
            drawn = [overlay(image, part) for image, part in zip(answer.images, cameras, strict=True)]
            self._overlay.publish(image_message(np.vstack(drawn), answer.stamp, ""))

    def telling(self, tasks: Mapping[str, Callable[[], Report]]) -> dict[str, Callable[[], Report]]:
        """The tasks of /diagnostics; a warning of the task cache is published as a topic, too, when it changes."""
        return {**tasks, "cache": partial(self._tell, tasks["cache"])}

    def _tell(self, task: Callable[[], Report]) -> Report:
        """The report of a task; its line on the topic, an empty one where it is no warning."""
        report = task()
        why = report.message if report.level == WARN else ""
        if why != self._said:
            self._said = why
            self._why.publish(String(data=why))
        return report
