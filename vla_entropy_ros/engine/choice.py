"""The choice of one tick: what to compare, what to score, and when everything is fresh regardless."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..settings import Tunables
from .entropy import Scores, attention_mass, attention_score, image_entropy
from .episode import Episode
from .preprocess import grey, patches
from .select import Patches, Selection, all_fresh, influence, select, static_patches
from .slots import Slots


@dataclass(frozen=True)
class Choice:
    """A selection, the scores [N] behind it, and why it is all fresh regardless of them, or None."""

    selection: Selection
    image_entropy: Scores
    attention_score: Scores
    reason: str | None


def choose(
    frames: NDArray[np.uint8],
    now: Patches,
    slots: Slots,
    attention: NDArray[np.float32] | None,
    episode: Episode,
    tunables: Tunables,
    visual: Tensor,
) -> Choice:
    """Choose the fresh visual tokens of frames [C, S, S, 3] whose raw patches are `now`; the budgets
    are shared by all cameras.

    attention [M, N]: of the text of the tick before on the visual tokens, None if there was none; visual [N, D]:
    their embeddings.
    """
    count = slots.visual
    nothing: Scores = np.zeros(count)
    reason = episode.reason or ("mode full" if tunables.mode == "full" else None)
    if reason:
        return Choice(all_fresh(count), nothing, nothing, reason)
    reference = slots.reference if tunables.static_reference == "anchor" else slots.previous
    static = static_patches(now, reference, tunables.similarity_threshold, tunables.difference_threshold)
    static &= slots.valid
    if 1.0 - static.mean() > tunables.scene_cut:
        return Choice(all_fresh(count, static), nothing, nothing, "scene cut")
    patch = math.isqrt(now.shape[1] // 3)  # RGB
    seen = image_entropy(patches(grey(frames), patch), tunables.histogram_bins)
    attended = nothing if attention is None else _scores(attention, tunables)
    urgency: Scores = slots.age.astype(np.float64)
    if tunables.fill_order == "influence":
        urgency = influence(slots.drift(visual), nothing if attention is None else attention_mass(attention))
    return Choice(select(tunables, episode.t, seen, attended, static, slots.age, urgency), seen, attended, None)


def _scores(attention: NDArray[np.float32], tunables: Tunables) -> Scores:
    if tunables.mode == "vla_cache":
        return attention_mass(attention)
    return attention_score(attention, tunables.mass_weighted)
