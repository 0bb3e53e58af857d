"""Budgets over time and depth: the paper's schedule, and layers that compute fewer rows.

VLA-Cache (arXiv 2502.02175), layer-adaptive reuse (opt-in): the sharper a layer's attention of the tick before, the
more of the reusable tokens are reused from there on. Taper (ours): the last layers compute fewer of the fresh tokens,
for by then the text has read most of what it needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOUNDARIES = (2, 6, 9, 11)  # layers at which the set grows, of DEPTH
DEPTH = 32


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
