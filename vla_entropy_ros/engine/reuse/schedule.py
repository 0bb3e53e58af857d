"""Budgets over time and depth: the paper's schedule, an adaptive one, and layers that compute fewer rows.

VLA-Cache (arXiv 2502.02175), layer-adaptive reuse (opt-in): the sharper a layer's attention of the tick before, the
more of the reusable tokens are reused from there on. Taper (ours): the last layers compute fewer of the fresh tokens,
for by then the text has read most of what it needs. Adaptive (ours; the paper names it as future work, opt-in): motion,
gripper events and uncertain actions drive the budgets and the time scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..tunables import Tunables

BOUNDARIES = (2, 6, 9, 11)  # layers at which the set grows, of DEPTH
DEPTH = 32
CALM, URGENT = 0.5, 1.5  # factors of k1, k2, row_budget and taper_rows when nothing happens, and when everything does
EVENT = 0.25  # change of the gripper's opening [share of its range] that counts as an event
MEMORY = 5  # ticks that an event keeps the budgets up


def budgets(mode: str, t: int, k1: int, k2: int, T: int) -> tuple[int, int]:
    """(k_vis, k_attn) at tick t; their sum is k1 + k2 in every mode but `full`, so modes differ in the score alone.

    info_entropy, place_entropy: the paper's schedule, k2 -> k1 by visual information while k1 -> k2 by attention, over
    T ticks; k1 is the smaller of the pair. static_union: both at once with alpha fixed at one half (the paper leaves
    the value open).
    """
    total, (k1, k2) = k1 + k2, sorted((k1, k2))
    if mode == "full":
        return 0, 0
    if mode == "visual_only":
        return total, 0
    if mode in ("attention_only", "vla_cache"):
        return 0, total
    alpha = 0.5 if mode == "static_union" else min(t / T, 1.0)
    k_vis = round(k2 - (k2 - k1) * alpha)
    return k_vis, total - k_vis


@dataclass
class Activity:
    """What the last ticks were like: share of changed patches, entropy of the action, ticks since a gripper event."""

    motion: float = 0.0
    uncertainty: float = 0.0
    since_event: int = MEMORY
    _opening: float | None = None

    @property
    def urgency(self) -> float:
        """0 calm to 1 urgent: the strongest of motion, uncertainty and a fading gripper event."""
        event = max(0.0, 1.0 - self.since_event / MEMORY)
        return float(np.clip(max(self.motion, self.uncertainty, event), 0.0, 1.0))

    def observe(self, static_share: float, uncertainty: float, opening: float | None) -> bool:
        """Take in one tick: share of static patches, mean token entropy, gripper opening; True at a gripper event.

        uncertainty is 0 where the action has no tokens, opening None where it has no gripper.
        """
        self.motion = 1.0 - static_share
        self.uncertainty = uncertainty
        event = opening is not None and self._opening is not None and abs(opening - self._opening) > EVENT
        self._opening = opening
        self.since_event = 0 if event else self.since_event + 1
        return event


def adapt(tunables: Tunables, activity: Activity, tokens: int) -> Tunables:
    """Tunables for the next tick: budgets from CALM to URGENT times their values, T shorter the more moves."""
    factor = CALM + (URGENT - CALM) * activity.urgency
    limits = {"k1": tokens // 2, "k2": tokens // 2, "row_budget": tokens, "taper_rows": tokens}
    scaled = {name: min(round(getattr(tunables, name) * factor), limit) for name, limit in limits.items()}
    T = max(1, round(tunables.T * (1.0 - 0.5 * activity.motion)))
    return replace(tunables, T=T, **scaled)


def boundaries(layers: int) -> list[int]:
    """Layers at which the reused set grows in a decoder of `layers`: BOUNDARIES in proportion, never the first."""
    grown = {int(np.clip(np.ceil(b * layers / DEPTH), 1, layers - 1)) for b in BOUNDARIES}
    return sorted(grown) if layers > 1 else []


def taper_layer(share: float, layers: int) -> int:
    """First of `layers` that no longer computes all fresh tokens, when `share` of them do; the first always does."""
    return max(1, round(share * layers))


def layer_entropy(attention: NDArray[np.float32]) -> NDArray[np.float64]:
    """Entropy [L] of each layer's attention [L, M, N] over the N visual tokens, mean of the M text tokens, 0 to 1."""
    weight = attention.astype(np.float64)
    share = weight / np.maximum(weight.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
    terms = share * np.log(np.where(share > 0, share, 1.0))
    return -terms.sum(-1).mean(-1) / np.log(max(attention.shape[-1], 2))


def shares(entropy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share [L] of the reusable tokens that each layer reuses: summed relative decrease of entropy, 0 to 1."""
    before = np.maximum(entropy[:-1], np.finfo(np.float64).tiny)
    decrease = np.concatenate(([0.0], (entropy[:-1] - entropy[1:]) / before))
    return np.maximum.accumulate(np.clip(np.cumsum(decrease), 0.0, 1.0))


def growth(reusable: NDArray[np.int64], entropy: NDArray[np.float64]) -> dict[int, NDArray[np.int64]]:
    """Tokens reused from each boundary layer on; `reusable`: those that may be, the first to be reused first."""
    share = shares(entropy)
    return {layer: reusable[: round(float(share[layer]) * len(reusable))] for layer in boundaries(len(entropy))}
