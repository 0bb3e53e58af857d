"""The choice of one tick: what to compare, what to score, and when everything is fresh regardless."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    drift: Scores,
) -> Choice:
    """Choose the fresh visual tokens of frames [C, S, S, 3] whose raw patches are `now`; the budgets
    are shared by all cameras.

    attention [M, N]: of the text of the tick before on the visual tokens, None if there was none; drift [N]: squared
    relative change of each visual token's embedding since its keys and values were computed.
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
    patch = round((frames[..., 0].size / count) ** 0.5)
    seen = image_entropy(patches(grey(frames), patch), tunables.histogram_bins)
    attended = nothing if attention is None else _scores(attention, tunables)
    urgency: Scores = slots.age.astype(np.float64)
    if tunables.fill_order == "influence":
        urgency = influence(drift, nothing if attention is None else attention_mass(attention))
    return Choice(select(tunables, episode.t, seen, attended, static, slots.age, urgency), seen, attended, None)


def _scores(attention: NDArray[np.float32], tunables: Tunables) -> Scores:
    if tunables.mode == "vla_cache":
        return attention_mass(attention)
    return attention_score(attention, tunables.mass_weighted)
