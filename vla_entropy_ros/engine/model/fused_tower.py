"""A vision tower whose additions and norms are one kernel each: what `Tower.forward` computes, on CUDA."""

from __future__ import annotations

from torch import Tensor

from .products import add_layer_norm
from .vision import Tower, TowerBlock


def run_tower(tower: Tower, pixels: Tensor) -> Tensor:
    """Patch features [B, N, width] of pixel values [B, 3, S, S]; the tower is folded."""
    x, added = tower.embed(pixels).contiguous(), None
    for block in tower.blocks:
        assert isinstance(block, TowerBlock)
        added = block.attn(add_layer_norm(x, added, block.norm1))
        added = block.mlp(add_layer_norm(x, added, block.norm2))
    return tower.patches(x if added is None else x + added)
