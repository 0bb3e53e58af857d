"""What rows look at, from queries that were kept: attention weights, and the information in them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

HIDDEN = -30000.0  # added to the scores of a slot that is not seen: its weight is exactly 0, in half precision, too
SHARPNESS = 2  # power of pointedness: 1 caught as much of what matters, 2 kept slightly more ticks equal


def attention(queries: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
    """Attention weights [L, H, M, n], float32, of queries [L, H, M, hd] on keys [L, Hkv, n, hd] not `hidden` [M, n]."""
    layers, heads, words, width = queries.shape
    grouped = queries.reshape(layers, keys.shape[1], -1, width)  # [L, Hkv, H / Hkv * M, hd]
    scores = (grouped @ keys.transpose(2, 3)).reshape(layers, heads, words, -1).float()
    return scores.div_(math.sqrt(width)).masked_fill_(hidden, HIDDEN).softmax(-1)


def information(weights: Tensor) -> Tensor:
    """Attention [L, H, M, N] times pointedness squared, summed over layers and heads: [M, N].

    Pointedness of a row in a head: 1 - entropy of its attention over the N places, 0 everywhere alike, 1 on one place.
    Ours: VLA-InfoEntropy (arXiv 2604.05323) takes the entropy of a place over the words, after the mean of the heads.
    """
    total = weights.sum(-1).clamp_min(torch.finfo(weights.dtype).tiny)  # [L, H, M]
    entropy = torch.special.entr(weights).sum(-1) / total + total.log()
    pointedness = (1.0 - entropy / math.log(max(weights.shape[-1], 2))).clamp(0.0, 1.0)
    return torch.einsum("lhmn,lhm->mn", weights, pointedness**SHARPNESS)
