"""Which visual tokens are computed afresh: static test, importance, age bound, row budget. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tunables import Tunables
from .patches import Mask, Patches, rows_product
from .schedule import budgets
from .scores import Scores

# Why a token is fresh; what comes later counts where nothing before it does, but for what is old and has changed.
CODES = REUSED, CHANGED, BY_VISUAL, BY_ATTENTION, BY_BOTH, OLD, FILLED = range(7)


@dataclass(frozen=True)
class Selection:
    """Boolean masks [N] of one tick, and the budgets they were chosen with; deep: fresh in the last layers, too."""

    fresh: Mask
    deep: Mask
    static: Mask
    by_visual: Mask
    by_attention: Mask
    old: Mask
    k_vis: int
    k_attn: int
    forced: bool = True  # what has changed is fresh for that alone
    whole: bool = False  # everything is fresh, whatever it is

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Why each token [N] is fresh: see CODES."""
        why = np.full(len(self.fresh), FILLED, np.uint8)
        if self.forced:
            why[self.whole | ~self.static] = CHANGED
        why[self.old] = OLD
        important = self.by_visual | self.by_attention
        why[important] = (1 + self.by_visual + 2 * self.by_attention)[important]
        why[~self.fresh] = REUSED
        return why


def static_patches(now: Patches, reference: Patches, similarity: float, difference: float, most: int = 0) -> Mask:
    """Patches [N] that look as in `reference`: cosine similarity of raw RGB, then mean absolute difference.

    `similarity`: least cosine; `difference`: largest mean difference [grey levels], 0 to leave that test out; `most`:
    only so many of them, those of the highest cosine (VLA-Cache, arXiv 2502.02175, its code's top_k), 0 for all.
    """
    product = rows_product(now.pixels, reference.pixels)
    # squared form: no square roots, and two black patches (0 >= 0) are alike
    static = product * product >= similarity * similarity * (now.lengths * reference.lengths)
    if difference > 0:
        apart = now.pixels - reference.pixels
        np.abs(apart, out=apart)
        # whole numbers below 2^24: an exact sum; no product with ones, which BLAS may spread over cores
        static &= np.einsum("np->n", apart) <= difference * apart.shape[1]
    if most and np.count_nonzero(static) > most:
        lengths = np.maximum(now.lengths * reference.lengths, np.finfo(np.float32).tiny)
        alike = np.where(lengths > 1, product / np.sqrt(lengths), 1.0)  # two black patches are alike
        static &= top(np.where(static, alike, -np.inf), most)
    return static


def top(score: Scores, count: int) -> Mask:
    """The `count` highest scores as a mask [N]; ties go to the lower index."""
    mask = np.zeros(len(score), np.bool_)
    mask[(-score).argsort(kind="stable")[:count]] = True
    return mask


@dataclass(frozen=True)
class Required:
    """What a tick computes whatever room there is: all but what is static, unimportant and young; masks [N]."""

    static: Mask
    by_image: Mask
    by_attention: Mask
    old: Mask
    k_vis: int
    k_attn: int

    @classmethod
    def of(
        cls,
        tunables: Tunables,
        t: int,
        image_entropy: Scores,
        attention: Scores,
        static: Mask,
        age: NDArray[np.int64],
    ) -> Required:
        """By the scores [N] at tick t of the schedule.

        age [N]: ticks since each token's keys and values were computed, last tick, in the layers where that is longest
        ago.
        """
        k_vis, k_attn = budgets(tunables.mode, t, tunables.k1, tunables.k2, tunables.T)
        by_image, by_attention = top(image_entropy, k_vis), top(attention, k_attn)
        return cls(static, by_image, by_attention, age + 1 > tunables.max_age, k_vis, k_attn)

    def filled(self, tunables: Tunables, urgency: Scores, deep_urgency: Scores | None = None) -> Selection:
        """Reuse what is not required, but for what there is room for.

        urgency [N]: which of the others are computed, too, while the row budget lasts; deep_urgency [N]: which of the
        fresh ones go through the last layers, beside those that are important or too old, while `taper_rows` last;
        None: all.
        """
        deepest = self.by_image | self.by_attention | self.old
        fresh = fill(~self.static | deepest, urgency, tunables.row_budget)
        deep = fresh
        if deep_urgency is not None:
            deep = fresh & fill(deepest, np.where(fresh, deep_urgency, -1.0), tunables.taper_rows)
        return Selection(fresh, deep, self.static, self.by_image, self.by_attention, self.old, self.k_vis, self.k_attn)


def all_fresh(count: int, static: Mask | None = None) -> Selection:
    """The selection that computes all `count` tokens."""
    none = np.zeros(count, np.bool_)
    every = np.ones(count, np.bool_)
    return Selection(every, every, none if static is None else static, none, none, none, 0, 0, whole=True)


def influence(drift: Scores, mass: Scores) -> Scores:
    """Estimate how much each stale token matters [N]: squared change of its embedding, times its attention.

    The change is since its keys and values were computed. All alike where nothing was attended to yet.
    """
    return drift * (mass if mass.any() else 1.0)


def fill(fresh: Mask, urgency: Scores, row_budget: int) -> Mask:
    """Add the most urgent of the other tokens until `row_budget` are fresh; ties go to the lower index."""
    spare = row_budget - np.count_nonzero(fresh)
    if spare <= 0:
        return fresh
    others = np.flatnonzero(~fresh)
    filled = fresh.copy()
    filled[others[(-urgency[others]).argsort(kind="stable")[:spare]]] = True
    return filled
