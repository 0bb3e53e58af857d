"""A recorded camera through the policy in this process: what each image leads to, and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..engine import ActionError, Observation, ObservationError, Policy, Result
from ..engine.observation import Pacer, Verdict
from ..evaluation.statistics import percentiles
from ..images import ImageError
from .bag import Bag


@dataclass(frozen=True)
class Step:
    """One tick: time of its image [s], actions [H, 7] in metres, radians and opening, stage latencies [ms], and the
    visual tokens computed and reused.
    """

    stamp: float
    actions: list[list[float]]
    latency: dict[str, float]
    fresh: int
    reused: int


@dataclass(frozen=True)
class Replayed:
    """What a replay came to: the steps, images seen, and why images gave no action, with how often."""

    topic: str
    instruction: str
    images: int
    steps: list[Step]
    refused: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "topic": self.topic,
            "instruction": self.instruction,
            "images": self.images,
            "ticks": len(self.steps),
            "refused": self.refused,
            "latency_ms": summary(self.steps),
            "steps": [vars(step) for step in self.steps],
        }


def summary(steps: Sequence[Step]) -> dict[str, dict[str, float] | None]:
    """Median, 95th percentile and maximum [ms] of every stage."""
    stages = steps[0].latency if steps else {}
    return {stage: percentiles([step.latency[stage] for step in steps]) for stage in stages}


def replay(bag: Bag, policy: Policy, instruction: str, period: float) -> Replayed:
    """Run the images of `bag` that are due every `period` seconds through the policy, as the node would choose them."""
    policy.reset()
    policy.warm_up()
    pacer, steps, images = Pacer(), [], 0
    refused: dict[str, int] = {}
    for frame in bag.frames():
        images += 1
        if pacer.judge(frame.stamp, period) is not Verdict.TICK:
            continue
        try:
            result = policy.infer(Observation((frame.pixels(),), instruction, frame.stamp))
        except (ImageError, ObservationError, ActionError) as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
            continue
        policy.settle()
        steps.append(_step(frame.stamp, result))
    return Replayed(bag.topic, instruction, images, steps, refused)


def _step(stamp: float, result: Result) -> Step:
    latency = {field.name: round(getattr(result.timings, field.name) * 1e3, 3) for field in fields(result.timings)}
    actions = np.round(result.actions, 6).tolist()
    return Step(stamp, actions, latency, result.reuse.fresh, result.reuse.reused)
