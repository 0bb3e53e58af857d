"""Numbers of every tick as topics that tools can plot: stage latencies, token counts, the selection as an image."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Float64, Int32

from ...draw import overlay
from ..common.messages import image_message
from .orders import Answer

STAGES = ("capture_age", "preprocess", "vision", "select", "prefill", "decode", "total")
DEPTH = 10


class Telemetry:
    """Publishes latencies [ms], token counts and the selection of a tick."""

    def __init__(self, node: Node) -> None:
        self._latency = {stage: node.create_publisher(Float64, f"~/latency/{stage}", DEPTH) for stage in STAGES}
        self._fresh = node.create_publisher(Int32, "~/tokens/fresh", DEPTH)
        self._reused = node.create_publisher(Int32, "~/tokens/reused", DEPTH)
        self._passes = node.create_publisher(Int32, "~/decoder_passes", DEPTH)
        self._selection = node.create_publisher(Image, "~/selection", DEPTH)
        self._overlay = node.create_publisher(Image, "~/overlay", 1)

    def publish(self, answer: Answer, columns: int) -> None:
        """Publish one tick's numbers; `columns`: visual tokens in a row of the image."""
        result = answer.result
        for stage, publisher in self._latency.items():
            value = answer.capture_age if stage == "capture_age" else getattr(result.timings, stage)
            publisher.publish(Float64(data=float(value * 1e3)))
        self._fresh.publish(Int32(data=int(result.reuse.fresh)))
        self._reused.publish(Int32(data=int(result.reuse.reused)))
        self._passes.publish(Int32(data=int(result.decoder_passes)))
        codes = result.reuse.codes.reshape(-1, columns)
        self._selection.publish(image_message(codes, answer.stamp, ""))
        if self._overlay.get_subscription_count() > 0:  # drawing takes longer than a small policy's tick
            cameras = np.split(codes, len(answer.images))
            drawn = [overlay(image, part) for image, part in zip(answer.images, cameras, strict=True)]
            self._overlay.publish(image_message(np.vstack(drawn), answer.stamp, ""))
