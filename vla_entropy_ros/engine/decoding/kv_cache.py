"""Keys and values that live on between passes."""

from __future__ import annotations

import math

import torch

from ..model.shapes import LlamaConfig

ALIGNMENT = 8  # of the buffers' length: fast attention under a mask asks for it
PANELS = 32  # the same of keys that are stored transposed: compiled products read that many slots at a time


class KVCache:
    """Buffers [layers, Hkv, length, hd] of which slot number k belongs to position k of the sequence.

    Slot number `count` is scratch: padding is written there, and no row sees it. transposed: whether in memory the keys
    of a head are [hd, length], as the compiled stack reads them.
    """

    def __init__(
        self, config: LlamaConfig, count: int, device: torch.device, dtype: torch.dtype, transposed: bool = False
    ) -> None:
        self.count, self.layers = count, config.num_hidden_layers
        aligned = PANELS if transposed else ALIGNMENT
        self.length = -(-(count + 1) // aligned) * aligned
        heads = (self.layers, config.num_key_value_heads)
        shape = (*heads, self.length, config.head_dim)
        if transposed:
            self.keys = torch.zeros(*heads, config.head_dim, self.length, device=device, dtype=dtype).transpose(2, 3)
            room = torch.zeros(math.prod(shape) + PANELS, device=device, dtype=dtype)  # read beyond the last head
            self.values = room[: math.prod(shape)].view(shape)
        else:
            self.keys = torch.zeros(shape, device=device, dtype=dtype)
            self.values = torch.zeros(shape, device=device, dtype=dtype)

    def clear(self) -> None:
        """Forget all contents: after a failure there may be values that are not finite, which no mask hides."""
        self.keys.zero_()
        self.values.zero_()
