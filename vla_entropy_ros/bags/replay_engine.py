"""A recorded camera through the policy in this process: what each image leads to, and how long that takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import ActionError, Observation, ObservationError, Policy, Result
from ..engine.observation import Pacer, Verdict
from ..evaluation.statistics import percentiles
from ..images import ImageError
from ..stages import milliseconds
from .bag import Bag, BagError


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

    images: as many as steps, `early`, `late` and all of `refused` together. action_names: of an action's columns; none
    where the node gave no action. instructions: all that were followed, the first one being `instruction`; notes: what
    else there is to say, a line each; damage: what is wrong with the bag, None where nothing is.
    """

    topic: str
    instruction: str
    images: int
    steps: list[Step]
    refused: dict[str, int]
    action_names: tuple[str, ...]
    early: int
    late: int
    instructions: list[str]
    notes: list[str]
    damage: str | None

    @property
    def failure(self) -> str | None:
        """Why this is no replay of the whole bag; None where it is one."""
        if self.damage is not None:
            return f"{self.damage}; {self.images} images before that were read"
        if self.steps:
            return None
        if not self.images:
            return f"no tick: the bag has no image on {self.topic}, choose another --topic"
        most = max(self.refused, key=lambda reason: self.refused[reason], default="none became a tick")
        return f"no tick of {self.images} images: {most}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "topic": self.topic,
            "instruction": self.instruction,
            "instructions": self.instructions,
            "images": self.images,
            "ticks": len(self.steps),
            "early": self.early,
            "late": self.late,
            "refused": self.refused,
            "notes": self.notes,
            "damage": self.damage,
            "action_names": self.action_names,
            "latency_ms": stage_percentiles(self.steps),
            "steps": [vars(step) for step in self.steps],
        }


def stage_percentiles(steps: Sequence[Step]) -> dict[str, dict[str, float] | None]:
    """Median, 95th percentile and maximum [ms] of every stage."""
    stages = steps[0].latency if steps else {}
    return {stage: percentiles([step.latency[stage] for step in steps]) for stage in stages}


def replay_bag(bag: Bag, policy: Policy, instruction: str | None, period: float) -> Replayed:
    """Run the images of `bag` that are due every `period` seconds through the policy, as the node would choose them.

    instruction: that of the bag where it is None, the first one until there is another. A damaged bag is replayed up to
    the damage.
    """
    policy.reset()
    policy.warm_up()
    pacer, steps, damage = Pacer(), [], None
    judged: Counter[Verdict] = Counter()
    refused: Counter[str] = Counter()
    doubts: dict[str, None] = {}
    first = bag.instruction or "" if instruction is None else instruction
    followed = [first]
    try:
        for frame in bag.frames():
            verdict = pacer.judge(frame.stamp, period)
            judged[verdict] += 1
            if verdict is not Verdict.TICK:
                continue
            asked = frame.instruction if instruction is None and frame.instruction is not None else first
            followed += [asked] if asked != followed[-1] else []
            try:
                state, picture = frame.state(policy.info.state_names), frame.picture()
                doubts |= {picture.doubt: None} if picture.doubt else {}
                result = policy.infer(Observation((picture.pixels,), asked, frame.stamp, state))
            except (ImageError, ObservationError, ActionError) as error:
                refused[str(error)] += 1
                continue
            policy.settle()
            steps.append(_step(frame.stamp, result))
    except BagError as error:
        damage = str(error)
    early, late = judged[Verdict.EARLY], judged[Verdict.LATE]
    names, notes = policy.info.action_names, [*bag.notes, *doubts]
    total = judged.total()
    return Replayed(bag.topic, first, total, steps, dict(refused), names, early, late, followed, notes, damage)


def _step(stamp: float, result: Result) -> Step:
    latency = {stage: round(value, 3) for stage, value in milliseconds(result.timings).items()}
    actions = np.round(result.actions, 6).tolist()
    return Step(stamp, actions, latency, result.reuse.fresh, result.reuse.reused)
