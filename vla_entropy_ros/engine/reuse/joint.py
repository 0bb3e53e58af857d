"""The default's rule: visual and attention information weighed together over all tokens, and ages spread.

Ours, after VLA-InfoEntropy (arXiv 2604.05323): its two kinds of information, its budgets and its schedule. A patch is
not fresh merely for having changed: few of those that change matter to the action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.choosing import Question
from ..decoding.runner import Embedded
from ..tunables import Tunables
from .patches import Mask
from .provenance import Provenance
from .scene import Scene
from .scores import Scores
from .selection import Selection, fill, top

AGEING = 0.01  # per tick: keys and values of a token that does not change do, through what stands before it


def due(age: NDArray[np.int64], max_age: int) -> Mask:
    """Tokens [N] that must be fresh now, the oldest: as few as meet every deadline if each tick takes as many.

    age [N]: ticks since they were computed, as of the last tick; none is ever used at more than `max_age`. Those that
    become old together are spread over the ticks before.
    """
    order = np.argsort(-age, kind="stable")
    left = np.maximum(max_age - age[order], 1)  # ticks in which each can still be computed
    count = int(np.ceil((np.arange(1, len(age) + 1) / left).max()))
    oldest = np.zeros(len(age), np.bool_)
    oldest[order[:count]] = True
    return oldest | (age + 1 > max_age)


def visual_information(change: Scores, image_entropy: Callable[[NDArray[np.int64]], Scores], k_vis: int) -> Scores:
    """The change [N], weighted from one half to one by how much there is to see in the patch.

    image_entropy: of the patches of those numbers, 0 to 1; asked only for those that may come to be among the `k_vis`
    highest: a patch that has changed by less than half as much can't, and keeps one half.
    """
    score = 0.5 * change
    near = np.flatnonzero(2 * change >= np.partition(change, -k_vis)[-k_vis]) if k_vis else np.zeros(0, np.int64)
    if len(near):  # none where a change is no number
        score[near] *= 1.0 + image_entropy(near)
    return score


def joint_information(attention: Scores, change: Scores, age: NDArray[np.int64]) -> Scores:
    """How much a stale token matters [N]: attention information times (root of its squared change + AGEING a tick).

    age [N]: ticks, as of the last tick.
    """
    return attention * (AGEING * (age + 1) + np.sqrt(change))


@dataclass(frozen=True)
class Needed:
    """Tokens that are fresh however little they have changed: by attention information [N], and for their age [N].

    k_attn, max_age: what they were chosen with. No picture is asked, so it can be known when the tick before is over.
    """

    by_attention: Mask
    old: Mask
    k_attn: int
    max_age: int

    @classmethod
    def of(cls, attention: Scores, age: NDArray[np.int64], k_attn: int, max_age: int) -> Needed:
        """By attention information [N] and ages [N] of the last tick."""
        return cls(top(attention, k_attn), due(age, max_age), k_attn, max_age)


@dataclass(frozen=True)
class Unchosen:
    """A selection of which all is known but how far the tokens have changed; see `Information.select`."""

    attention: Scores
    age: NDArray[np.int64]
    k_vis: int
    by_attention: Mask
    old: Mask
    count: int  # of fresh tokens, the row budget

    @classmethod
    def of(
        cls, attention: Scores, age: NDArray[np.int64], in_force: tuple[int, int], tunables: Tunables,
        needed: Needed | None = None,
    ) -> Unchosen | None:  # fmt: skip
        """None where the number of fresh tokens depends on the change, or the last layers compute fewer.

        needed: where it is known already.
        """
        (k_vis, k_attn), budget = in_force, min(tunables.row_budget, len(age))
        needed = needed or Needed.of(attention, age, k_attn, tunables.max_age)
        by_attention, old = needed.by_attention, needed.old
        fits = k_vis + np.count_nonzero(by_attention | old) <= budget and not tunables.taper_rows
        return cls(attention, age, k_vis, by_attention, old, budget) if fits else None

    def question(self, image_entropy: Scores) -> Question:
        """For what has the change; image_entropy [N]: see `visual_information`."""
        weight: Scores = 0.5 * (1.0 + image_entropy)
        ageing: Scores = AGEING * (self.age.astype(np.float64) + 1.0)
        return Question(weight, self.attention, ageing, self.by_attention | self.old, self.k_vis, self.count)


@dataclass(frozen=True)
class Information:
    """What is known of the N tokens: visual information, squared change of the embedding, attention information.

    deep_change: since the last layers were computed. age [N]: ticks, as of the last tick.
    """

    visual: Scores
    change: Scores
    deep_change: Scores
    attention: Scores
    age: NDArray[np.int64]

    def select(
        self, tunables: Tunables, in_force: tuple[int, int], static: Mask, needed: Needed | None = None
    ) -> Selection:
        """Top k_vis by visual and k_attn by attention information, what is due, and by `joint_information` the rest.

        in_force: (k_vis, k_attn) of the tick. static [N]: patches that hardly changed, for the record alone. needed:
        where it is known already.
        """
        k_vis, k_attn = in_force
        needed = needed or Needed.of(self.attention, self.age, k_attn, tunables.max_age)
        by_visual, by_attention, old = top(self.visual, k_vis), needed.by_attention, needed.old
        urgency = joint_information(self.attention, self.change, self.age)
        fresh = fill(by_visual | by_attention | old, urgency, tunables.row_budget)
        deep = fresh
        if tunables.taper_rows:
            urgency = np.where(fresh, joint_information(self.attention, self.deep_change, self.age), -1.0)
            deep = fresh & fill(old, urgency, tunables.taper_rows)
        return Selection(fresh, deep, static, by_visual, by_attention, old, k_vis, k_attn, forced=False)


class JointSelection:
    """The default's rule, by the picture that a scene has compared last and by the embeddings that tokens came from."""

    def __init__(self, scene: Scene, provenance: Provenance) -> None:
        self._scene, self._provenance = scene, provenance

    def select(
        self,
        embedded: Embedded,
        attention: Scores,
        needed: Needed,
        tunables: Tunables,
        in_force: tuple[int, int],
        static: Mask,
    ) -> tuple[Scores, Selection]:
        """Return visual information [N], and the selection: see `visual_information` and `Information.select`."""
        provenance = self._provenance
        change = on_host(provenance.drift(embedded.visual) if embedded.drift is None else embedded.drift)
        change[np.isnan(change)] = np.inf  # it is computed, as anything that changes most, and then shows
        deep = on_host(provenance.deep_drift(embedded.visual)) if tunables.taper_rows else change
        visual = visual_information(change, self._scene.image_entropy, in_force[0])
        information = Information(visual, change, deep, attention, provenance.deep_age)
        return visual, information.select(tunables, in_force, static, needed)


def on_host(values: Tensor) -> Scores:
    """Values of a tensor as numbers."""
    return values.cpu().numpy().astype(np.float64)
