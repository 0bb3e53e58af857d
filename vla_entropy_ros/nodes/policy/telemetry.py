"""Numbers of every tick: each as a topic that tools can plot, all in one message with a stamp; the selection too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Float64, Int32, String

from ...draw import overlay
from ...stages import STAGES
from ..common.diagnostics import OK, WARN, Report
from ..common.facts import facts_message
from ..common.listen import LATCHED
from ..common.messages import image_message
from .orders import Answer

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


def numbers(answer: Answer) -> dict[str, float | int | None]:
    """The numbers of one tick by topic: floats are Float64 there, integers Int32; None where it is not known."""
    result, record = answer.result, answer.result.reuse
    taken = {"capture_age": answer.capture_age, **vars(result.timings)}
    return {
        **{f"latency/{stage}": float(taken[stage] * 1e3) for stage in STAGES},
        **{topic: int(getattr(record, name)) for topic, name in COUNTS.items()},
        "tokens/oldest": int(record.age.max()),
        **{f"scene/{name}": None if getattr(record, name) is None else float(getattr(record, name)) for name in SCENE},
        "decoder_passes": int(result.decoder_passes),
    }


def status_message(node: str, answer: Answer, told: Mapping[str, object]) -> DiagnosticArray:
    """One tick of `node` in one message, stamped as the image it answers: `told`, and what is no number."""
    result, observation = answer.result, answer.observation
    values = {
        "episode": answer.episode,
        "tick": result.tick,
        "instruction": None if observation is None else observation.instruction,
        "mode": answer.mode,
        "control_period": answer.period * 1e3,
        **told,
        "entropy": result.uncertainty,
        "reason": result.reuse.reason,
        "hold": answer.hold,
    }
    level, line = (OK, result.reuse.reason) if answer.hold is None else (WARN, answer.hold)
    return facts_message(f"{node}: tick", answer.stamp, values, level, line or "")


class Telemetry:
    """Publishes latencies [ms], token counts and the selection of a tick, and why little is reused."""

    def __init__(self, node: Node) -> None:
        self._name = node.get_fully_qualified_name()
        floats = (*(f"latency/{stage}" for stage in STAGES), *(f"scene/{name}" for name in SCENE))
        kinds = dict.fromkeys(floats, Float64) | dict.fromkeys((*COUNTS, "tokens/oldest", "decoder_passes"), Int32)
        self._numbers = {
            topic: (kind, node.create_publisher(kind, f"~/{topic}", DEPTH)) for topic, kind in kinds.items()
        }
        self._status = node.create_publisher(DiagnosticArray, "~/status", DEPTH)
        self._why = node.create_publisher(String, "~/tokens/why", LATCHED)
        self._said: str | None = None
        self._selection = node.create_publisher(Image, "~/selection", DEPTH)
        self._overlay = node.create_publisher(Image, "~/overlay", 1)

    def publish(self, answer: Answer, columns: int) -> None:
        """Publish one tick's numbers; `columns`: visual tokens in a row of the image."""
        told = numbers(answer)
        for topic, (kind, publisher) in self._numbers.items():
            if (value := told[topic]) is not None:
                publisher.publish(kind(data=value))
        self._status.publish(status_message(self._name, answer, told))
        codes = answer.result.reuse.codes.reshape(-1, columns)
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
