"""One decoder pass over any set of rows: each writes its slot, then sees every slot up to its own position."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .llama import Llama, rotary
from .slots import Slots

# Rows of a pass are padded to a multiple of this: BLAS sums 1 to 3 rows in another order than more, so a token's keys
# would depend on how many others are computed beside it.
ROW_MULTIPLE = 4


class Decoder:
    """A Llama decoder over persistent slots; `text` is the largest number of text rows whose queries can be kept."""

    def __init__(self, llama: Llama, slots: Slots, text: int) -> None:
        config = llama.config
        self.llama, self.slots = llama, slots
        device, dtype = slots.keys.device, slots.keys.dtype
        self.positions = torch.arange(slots.count, device=device)  # sliced, so that a pass need not make its own
        cos, sin = rotary(self.positions, config.head_dim, config.rope_theta)
        self._cos, self._sin = cos.to(dtype), sin.to(dtype)  # [slots, hd]
        hidden = self.positions[None] > self.positions[:, None]
        self._mask = torch.zeros(hidden.shape, device=device, dtype=dtype).masked_fill(hidden, -math.inf)
        self._grouped = config.num_key_value_heads != config.num_attention_heads
        layers, heads = config.num_hidden_layers, config.num_attention_heads
        self._queries = torch.zeros(layers, heads, text, config.head_dim, device=device, dtype=dtype)
        self._layers = [(slots.keys[i, None], slots.values[i, None]) for i in range(layers)]
        self._text = (0, 0)
        self.rows: list[int] = []  # of each pass since it was last emptied

    def step(self, rows: Tensor, positions: Tensor, visible: int, keep: int = 0, behind: int = 0) -> Tensor:
        """Hidden states [S, D] of `rows` [S, D] at ascending `positions` [S], of which the last is `visible` - 1.

        Keys and values are written into the slots of `positions` and no others. The queries of `keep` rows, with
        `behind` rows behind them, are kept for `text_attention`. Every slot below a row's position must hold something
        by then.
        """
        count = len(positions)
        self.rows.append(count)
        if count == 1 and not keep:
            cos, sin = self._cos[visible - 1 : visible], self._sin[visible - 1 : visible]
            mask = None  # the last position sees all that is visible
            padded = rows
        else:
            spare = -count % ROW_MULTIPLE
            padded = F.pad(rows, (0, 0, 0, spare))
            where = F.pad(positions, (0, spare), value=visible - 1)
            cos, sin = self._cos.index_select(0, where), self._sin.index_select(0, where)
            mask = self._mask.index_select(0, where)[:, :visible]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self._layers[layer]  # [1, Hkv, slots, hd]
            keys.index_copy_(2, positions, k[:, :, :count])
            values.index_copy_(2, positions, v[:, :, :count])
            if keep:
                self._queries[layer, :, :keep] = q[0, :, count - behind - keep : count - behind]
            keys, values = keys[:, :, :visible], values[:, :, :visible]
            return F.scaled_dot_product_attention(q, keys, values, mask, enable_gqa=self._grouped)

        if keep:
            self._text = (visible - behind - keep, keep)
        return self.llama.run(padded[None], cos, sin, attend)[0, :count]

    def text_attention(self) -> Tensor:
        """Attention [layers, M, N] of the kept text rows on the visual slots, averaged over heads, float32.

        Computed from the kept queries and the slots as they are now; call it before the next pass that keeps queries.
        """
        first, count = self._text
        queries = self._queries[:, :, :count]  # [L, H, M, hd]
        layers, heads, _, width = queries.shape
        keys = self.slots.keys[:, :, : first + count]  # [L, Hkv, n, hd]
        grouped = queries.reshape(layers, keys.shape[1], -1, width)  # [L, Hkv, H / Hkv * M, hd]
        scores = (grouped @ keys.transpose(2, 3)).reshape(layers, heads, count, -1).float() / math.sqrt(width)
        weights = (scores + self._mask[first : first + count, : first + count].float()).softmax(-1)
        return weights.mean(1)[:, :, 1 : 1 + self.slots.visual]
