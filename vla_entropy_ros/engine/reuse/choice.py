"""The choice of one tick: what to compare, what to score, and when everything is fresh regardless."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..decoding.kv_cache import Slots
from ..model.preprocess import grey
from ..tunables import Tunables
from .episode import Episode
from .scores import GREY_LEVELS, Attention, Scores, image_entropy
from .selection import Patches, Selection, all_fresh, budgets, influence, select, static_patches


@dataclass(frozen=True)
class Choice:
    """A selection, the scores [N] behind it, and why it is all fresh regardless of them, or None."""

    selection: Selection
    image_entropy: Scores
    attention_score: Scores
    reason: str | None


def choose(
    now: Patches,
    slots: Slots,
    attention: Attention | None,
    episode: Episode,
    tunables: Tunables,
    visual: Tensor,
) -> Choice:
    """Choose the fresh visual tokens among those of patches `now`; all cameras share the budgets.

    attention: of the text of the tick before on the visual tokens, None if there was none; visual [N, D]: their
    embeddings. What the mode and the budgets do not ask for is not computed.
    """
    count = slots.visual
    nothing: Scores = np.zeros(count)
    reason = episode.reason or ("mode full" if tunables.mode == "full" else None)
    if reason:
        return Choice(all_fresh(count), nothing, nothing, reason)
    reference = slots.reference if tunables.static_reference == "anchor" else slots.previous
    static = static_patches(now, reference, tunables.static_similarity, tunables.static_difference)
    static &= slots.valid
    if count - np.count_nonzero(static) > tunables.scene_cut * count:
        return Choice(all_fresh(count, static), nothing, nothing, "scene cut")
    k_vis, k_attn = budgets(tunables.mode, episode.t, tunables.k1, tunables.k2, tunables.T)
    seen = image_entropy(grey(now.pixels), GREY_LEVELS) if k_vis else nothing
    attended = _scores(attention, tunables) if attention is not None and k_attn else nothing
    age = slots.deep_age
    urgency: Scores = age.astype(np.float64)
    deep = urgency if tunables.taper_rows and not tunables.growth_by_layer else None
    if tunables.fill_order == "influence":
        mass = nothing if attention is None else attention.mass
        urgency = influence(slots.drift(visual), mass)
        deep = None if deep is None else influence(slots.deep_drift(visual), mass)
    return Choice(select(tunables, episode.t, seen, attended, static, age, urgency, deep), seen, attended, None)


def prepare(attention: Attention, tunables: Tunables) -> None:
    """Compute the scores that `choose` will ask for, while nobody waits."""
    _scores(attention, tunables)
    if tunables.fill_order == "influence":
        _ = attention.mass


def _scores(attention: Attention, tunables: Tunables) -> Scores:
    return attention.mass if tunables.mode == "vla_cache" else attention.score(tunables.mass_weighted)
