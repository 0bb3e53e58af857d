"""What rows look at, from queries that were kept: attention weights, and the information in them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

HIDDEN = -30000.0  # added to the scores of a slot that is not seen: its weight is exactly 0, in half precision, too
SHARPNESS = 2  # power of pointedness: 1 caught as much of what matters, 2 kept slightly more ticks equal


def scores(queries: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
    """Scores [L, H, M, n], float32, of queries [L, H, M, hd] for keys [L, Hkv, n, hd]; next to none where `hidden`."""
    layers, heads, words, width = queries.shape
    grouped = queries.reshape(layers, keys.shape[1], -1, width)  # [L, Hkv, H / Hkv * M, hd]
    found = (grouped @ keys.transpose(2, 3)).reshape(layers, heads, words, -1).float()
    return found.div_(math.sqrt(width)).masked_fill_(hidden, HIDDEN)


def information(log_weights: Tensor) -> Tensor:
    """Attention times pointedness squared, summed over layers and heads, from logarithms [L, H, M, N]: [M, N].

    Pointedness of a row in a head: 1 - entropy of its attention over the N places, 0 everywhere alike, 1 on one place.
    Ours: VLA-InfoEntropy (arXiv 2604.05323) takes the entropy of a place over the words, after the mean of the heads.
    """
    weights = log_weights.exp()
    total = weights.sum(-1).clamp_min(torch.finfo(weights.dtype).tiny)  # [L, H, M]
    entropy = total.log() - torch.linalg.vecdot(weights, log_weights) / total  # 0 log 0: both are finite
    pointedness = (1.0 - entropy / math.log(max(weights.shape[-1], 2))).clamp(0.0, 1.0)
    return weights.mul_((pointedness**SHARPNESS)[..., None]).sum((0, 1))  # einsum takes nine times as long on a CPU
