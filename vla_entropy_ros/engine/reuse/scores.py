"""Scores of visual tokens: how much there is to see in a patch, and how pointedly the text looks at it."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


GREY_LEVELS = 256
CHUNK = 256  # patches that are told apart by one byte


@lru_cache(maxsize=8)
def _count_terms(pixels: int) -> NDArray[np.float64]:
    """`count_terms` of a byte [256], 0 above `pixels`."""
    terms = np.zeros(256)
    terms[: pixels + 1] = count_terms(pixels)
    return terms


def count_terms(pixels: int) -> NDArray[np.float64]:
    """n log n for n = 0 .. `pixels`."""
    counts = np.arange(pixels + 1, dtype=np.float64)
    counts[1:] *= np.log(counts[1:])
    return counts


@lru_cache(maxsize=8)
def _bin_of_level(bins: int) -> NDArray[np.uint8]:
    """Bin of each grey level [256]."""
    return (np.arange(256) * bins // 256).astype(np.uint8)


@lru_cache(maxsize=8)
def _numbers(pixels: int) -> NDArray[np.uint8]:
    """For each pixel [CHUNK, P], the number of its patch."""
    return np.repeat(np.arange(CHUNK, dtype=np.uint8)[:, None], pixels, axis=1)


class Counting:
    """Memory in which `image_entropy` counts the grey levels of patches, so that a tick need not ask for any."""

    def __init__(self, patches: int = CHUNK, bins: int = GREY_LEVELS) -> None:
        self.histogram = np.empty((patches, bins), np.float32)
        self.counts = np.empty((patches, bins), np.uint8)
        self.terms = np.empty((patches, bins), np.float64)


def image_entropy(grey_patches: NDArray[np.uint8], bins: int, memory: Counting | None = None) -> Scores:
    """Entropy [N] of the grey-level histogram of patches [N, P], 0 (flat) to 1 (all P pixels as different as can be).

    VLA-InfoEntropy (arXiv 2604.05323), image entropy; normalised by the most that P pixels in `bins` bins can reach.
    memory: for CHUNK patches and as many bins. ValueError if P is above 255: a count must fit a byte.
    """
    count, pixels = grey_patches.shape
    if pixels > 255:
        raise ValueError(f"patches of {pixels} pixels: at most 255")
    if count > CHUNK:
        parts = [grey_patches[first : first + CHUNK] for first in range(0, count, CHUNK)]
        return np.concatenate([image_entropy(part, bins, memory) for part in parts])
    level = grey_patches if bins == 256 else cv2.LUT(grey_patches, _bin_of_level(bins))
    # one histogram in two dimensions, patch and level: half the time of counting numbers of bins
    memory, numbers = memory or Counting(count, bins), _numbers(pixels)[:count]
    ranges, histogram = [0, count, 0, bins], memory.histogram[:count]
    cv2.calcHist([numbers, level], [0, 1], None, [count, bins], ranges, histogram)
    # -sum p log p = log P - (sum n log n) / P, with n pixels in a bin
    counts, terms = memory.counts[:count], memory.terms[:count]
    np.copyto(counts, histogram, casting="unsafe")
    cv2.LUT(counts, _count_terms(pixels), terms)
    spread = math.log(pixels) - terms.sum(1) / pixels
    return (spread / math.log(min(bins, pixels))).clip(0.0, 1.0)


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


class Attention:
    """Attention `weights` [M, N] of M text tokens on the visual tokens; each score is computed once, when first asked.

    The policy asks after it has published, so that the next tick finds the scores ready.
    """

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self._weights = weights
        self._scores: dict[bool, Scores] = {}

    @cached_property
    def mass(self) -> Scores:
        """VLA-Cache's score [N]: `attention_mass`."""
        return attention_mass(self._weights)

    def score(self, mass_weighted: bool) -> Scores:
        """The paper's score [N]: `attention_score`."""
        if mass_weighted not in self._scores:
            self._scores[mass_weighted] = attention_score(self._weights, mass_weighted)
        return self._scores[mass_weighted]
