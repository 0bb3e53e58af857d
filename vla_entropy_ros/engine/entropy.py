"""Scores of visual tokens: how much there is to see in a patch, and how pointedly the text looks at it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@lru_cache(maxsize=8)
def _count_terms(pixels: int) -> NDArray[np.float64]:
    """n log n for n = 0 .. pixels."""
    counts = np.arange(pixels + 1, dtype=np.float64)
    counts[1:] *= np.log(counts[1:])
    return counts


def image_entropy(grey_patches: NDArray[np.uint8], bins: int) -> Scores:
    """Entropy [N] of the grey-level histogram of patches [N, P], 0 (flat) to 1 (all P pixels as different as can be).

    VLA-InfoEntropy (arXiv 2604.05323), image entropy; normalised by the most that P pixels in `bins` bins can reach.
    """
    count, pixels = grey_patches.shape
    level = grey_patches.astype(np.int64) * bins // 256
    level += np.arange(count)[:, None] * bins
    histogram = np.bincount(level.ravel(), minlength=count * bins)
    # -sum p log p = log P - (sum n log n) / P, with n pixels in a bin
    spread = np.log(pixels) - _count_terms(pixels)[histogram].reshape(count, bins).sum(1) / pixels
    return np.clip(spread / np.log(min(bins, pixels)), 0.0, 1.0)


def attention_mass(attention: NDArray[np.float32]) -> Scores:
    """Mean attention [N] that visual tokens receive from M text tokens, from attention [M, N]: VLA-Cache's score."""
    return attention.mean(0, dtype=np.float64)


def attention_score(attention: NDArray[np.float32], mass_weighted: bool = False) -> Scores:
    """Score I_attn [N] = 1 - entropy of the attention [M, N] each visual token gets from M text tokens, 0 to 1.

    VLA-InfoEntropy (arXiv 2604.05323), attention entropy. A token without any attention scores 0. `mass_weighted`
    multiplies by its share of the largest mass: without it a token that is hardly looked at may still score high.
    """
    weight = attention.astype(np.float64)
    total = weight.sum(0)
    seen = total > 0
    share = weight / np.where(seen, total, 1.0)
    terms = share * np.log(np.where(share > 0, share, 1.0))  # 0 log 0 = 0
    entropy = -terms.sum(0) / np.log(max(len(weight), 2))
    score = np.where(seen, np.clip(1.0 - entropy, 0.0, 1.0), 0.0)
    if mass_weighted:
        score = score * total / max(total.max(), np.finfo(np.float64).tiny)
    return score
