"""A recorded camera through the policy in this process: what each image leads to, and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import ActionError, Observation, ObservationError, Policy, Result
from ..engine.observation import Pacer, Verdict
from ..evaluation.stages import milliseconds
from ..evaluation.statistics import percentiles
from ..images import ImageError
from .bag import Bag


@dataclass(frozen=True)
class Step:
    """One tick: time of its image [s], actions [H, A], stage latencies [ms], visual tokens computed and reused.

    Actions are in metres, radians and opening.
    """

    stamp: float
    actions: list[list[float]]
    latency: dict[str, float]
    fresh: int
    reused: int


@dataclass(frozen=True)
class Replayed:
    """What a replay came to: the steps, images seen, and why images gave no action, with how often.

    action_names: of an action's columns; none where the node gave no action.
    """

    topic: str
    instruction: str
    images: int
    steps: list[Step]
    refused: dict[str, int]
    action_names: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "topic": self.topic,
            "instruction": self.instruction,
            "images": self.images,
            "ticks": len(self.steps),
            "refused": self.refused,
            "action_names": self.action_names,
            "latency_ms": stage_percentiles(self.steps),
            "steps": [vars(step) for step in self.steps],
        }


def stage_percentiles(steps: Sequence[Step]) -> dict[str, dict[str, float] | None]:
    """Median, 95th percentile and maximum [ms] of every stage."""
    stages = steps[0].latency if steps else {}
    return {stage: percentiles([step.latency[stage] for step in steps]) for stage in stages}


def replay_bag(bag: Bag, policy: Policy, instruction: str, period: float) -> Replayed:
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
            state = frame.state(policy.info.state_names)
            result = policy.infer(Observation((frame.pixels(),), instruction, frame.stamp, state))
        except (ImageError, ObservationError, ActionError) as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
            continue
        policy.settle()
        steps.append(_step(frame.stamp, result))
    return Replayed(bag.topic, instruction, images, steps, refused, policy.info.action_names)


def _step(stamp: float, result: Result) -> Step:
    latency = {stage: round(value, 3) for stage, value in milliseconds(result.timings).items()}
    actions = np.round(result.actions, 6).tolist()
    return Step(stamp, actions, latency, result.reuse.fresh, result.reuse.reused)
