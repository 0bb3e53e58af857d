"""Keys and values that live on between passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..model.shapes import LlamaConfig

ALIGNMENT = 8  # of the buffers' length: fast attention under a mask asks for it


class KVCache:
    """Buffers [layers, Hkv, length, hd] of which slot number k belongs to position k of the sequence.

    Slot number `count` is scratch: padding is written there, and no row sees it.
    """

    alignment = ALIGNMENT

    def __init__(self, config: LlamaConfig, count: int, device: torch.device, dtype: torch.dtype) -> None:
        self.count, self.layers = count, config.num_hidden_layers
        self.length = -(-(count + 1) // self.alignment) * self.alignment
        shape = (self.layers, config.num_key_value_heads, self.length, config.head_dim)
        self.keys, self.values = self._buffers(shape, device=device, dtype=dtype)

    def clear(self) -> None:
        """Forget all contents: after a failure there may be values that are not finite, which no mask hides."""
        self.keys.zero_()
        self.values.zero_()

    @staticmethod
    def _buffers(shape: tuple[int, ...], **kind: Any) -> tuple[Tensor, Tensor]:
        return torch.zeros(shape, **kind), torch.zeros(shape, **kind)
