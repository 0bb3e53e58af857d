"""The head's product in float32: rounded to fewer bits, logits that are close would be equal."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK = 1024  # rows of the weight that are widened at a time, where no product of narrow numbers gives wide ones


def wide_logits(head: nn.Linear, states: Tensor) -> Tensor:
    """Logits [R, V] in float32 of states [R, D], both in the head's dtype."""
    weight = head.weight
    if weight.dtype == torch.float32:
        return F.linear(states, weight)
    if states.is_cuda and hasattr(torch.ops.aten.mm, "dtype"):  # torch 2.8 has it
        return torch.mm(states, weight.T, out_dtype=torch.float32)
    wide = states.float()
    return torch.cat([F.linear(wide, part.float()) for part in weight.split(CHUNK)], dim=-1)
