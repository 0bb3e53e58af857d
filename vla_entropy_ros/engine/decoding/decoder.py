"""One decoder pass over any set of rows: each writes its slot, then sees every slot up to its own position."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.llama import Llama, rotary
from .kv_cache import Slots

# Rows of a pass are padded to a multiple of this: BLAS sums 1 to 3 rows in another order than more, so a token's keys
# would depend on how many others are computed beside it.
ROW_MULTIPLE = 4


@dataclass(frozen=True)
class _Rows:
    """Rows of a pass: positions [S], the same padded, mask [S padded, visible] or None where all is visible."""

    positions: Tensor
    padded: Tensor
    mask: Tensor | None

    @property
    def count(self) -> int:
        """S."""
        return len(self.positions)


class Decoder:
    """A Llama decoder over persistent slots; `text` is the largest number of text rows whose queries can be kept."""

    def __init__(self, llama: Llama, slots: Slots, text: int) -> None:
        config = llama.config
        self.llama, self.slots = llama, slots
        device, dtype = slots.keys.device, slots.keys.dtype
        self.positions = torch.arange(slots.count, device=device)  # sliced, so that a pass need not make its own
        cos, sin = rotary(self.positions, config.head_dim, config.rope_theta)
        self._cos, self._sin = cos[:, None].to(dtype), sin[:, None].to(dtype)  # [slots, 1, hd]
        hidden = torch.arange(slots.length, device=device)[None] > self.positions[:, None]  # [slots, length]
        self._mask = torch.zeros(hidden.shape, device=device, dtype=dtype).masked_fill(hidden, -math.inf)
        self._parts = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
        self._grouped = config.num_key_value_heads != config.num_attention_heads
        layers, heads = config.num_hidden_layers, config.num_attention_heads
        self.text = text  # number of the scratch row of queries
        self._queries = torch.zeros(layers, heads, text + 1, config.head_dim, device=device, dtype=dtype)
        self._layers = [(slots.keys[i, None], slots.values[i, None]) for i in range(layers)]
        self.kept = (0, 0)  # position of the first text row whose queries are kept, number of them
        self.rows: list[int] = []  # of each pass since it was last emptied, mean of its layers

    def step(
        self,
        rows: Tensor,
        positions: Tensor,
        visible: int,
        keep: int = 0,
        behind: int = 0,
        narrow: Mapping[int, Tensor] | None = None,
        tail: int = 0,
    ) -> Tensor:
        """Hidden states [S, D] of `rows` [S, D] at ascending `positions` [S], of which the last is `visible` - 1.

        Keys and values are written into the slots of `positions` and no others. The queries of `keep` rows, with
        `behind` rows behind them, are kept for `text_attention`. Every slot below a row's position must hold something
        by then. narrow: by layer, the rows that go on from there (ascending, the last keep + behind rows among them,
        none that was left out before); the states of those that reach the end are returned.
        tail: only the states of the last rows, at least so many, are returned; of the others, the last layer computes
        no more than keys and values. 0: all; with `keep`, not below keep + behind.
        """
        now = self._rows(positions, visible, alone=len(positions) == 1 and not keep)
        cos, sin = self._cos.index_select(0, now.padded), self._sin.index_select(0, now.padded)
        x = F.pad(rows, (0, 0, 0, len(now.padded) - now.count))[None]
        if keep:
            self.kept = (visible - behind - keep, keep)
        counts = [now.count] * self.llama.config.num_hidden_layers
        last = len(counts) - 1
        left: Tensor | None = None  # None: all rows

        def go_on(layer: int, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            nonlocal now, left
            if narrow is None or layer not in narrow:
                return x, cos, sin
            among = narrow[layer] if left is None else torch.searchsorted(left, narrow[layer])
            left = narrow[layer]
            now = self._rows(positions[left], visible)
            counts[layer:] = [now.count] * (len(counts) - layer)
            among = F.pad(among, (0, len(now.padded) - now.count), value=int(among[-1]))
            return x.index_select(1, among), cos.index_select(0, among), sin.index_select(0, among)

        def mix(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = qkv.transpose(1, 2).split(self._parts, dim=1)  # [1, H, S padded, hd]
            keys, values = self._layers[layer]  # [1, Hkv, slots, hd]
            keys.index_copy_(2, now.positions, k[:, :, : now.count])
            values.index_copy_(2, now.positions, v[:, :, : now.count])
            if keep:
                self._queries[layer, :, :keep] = q[0, :, now.count - behind - keep : now.count - behind]
            mask = now.mask
            if tail and layer == last:
                first = (now.count - tail) // ROW_MULTIPLE * ROW_MULTIPLE
                q, mask = q[:, :, first:], None if mask is None else mask[first:]
            keys, values = keys[:, :, :visible], values[:, :, :visible]
            out = F.scaled_dot_product_attention(q, keys, values, mask, enable_gqa=self._grouped)
            return out.transpose(1, 2)

        states = self.llama.run(x, cos, sin, mix, go_on if narrow else None)[0]
        states = states[: len(states) - len(now.padded) + now.count]
        self.rows.append(round(sum(counts) / len(counts)))
        return states

    def _rows(self, positions: Tensor, visible: int, alone: bool = False) -> _Rows:
        """Rows at `positions`, padded by repeating the last one; `alone`: one row, which sees all there is."""
        if alone:
            return _Rows(positions, positions, None)
        padded = F.pad(positions, (0, -len(positions) % ROW_MULTIPLE), value=visible - 1)
        return _Rows(positions, padded, self._mask.index_select(0, padded)[:, :visible])

    def fixed(
        self, rows: Tensor, positions: Tensor, slots: Tensor, queries: Tensor | None, tail: int
    ) -> Tensor:  # fmt: skip
        """States [tail, D] of the last rows of `rows` [R, D], with no shape or branch that depends on the data.

        positions, slots [R]: where each row stands and where its keys and values go, the scratch slot for padding;
        queries [R]: text row as which its query is kept, `text` for none; None to keep none.
        """
        cos, sin, mask = (table.index_select(0, positions) for table in (self._cos, self._sin, self._mask))
        first, last = len(rows) - tail, len(self._layers) - 1

        def mix(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = qkv.transpose(1, 2).split(self._parts, dim=1)  # [1, H, R, hd]
            keys, values = self._layers[layer]
            keys.index_copy_(2, slots, k)
            values.index_copy_(2, slots, v)
            if queries is not None:
                self._queries[layer].index_copy_(1, queries, q[0])
            visible = mask
            if layer == last:
                q, visible = q[:, :, first:], mask[first:]
            out = F.scaled_dot_product_attention(q, keys, values, visible, enable_gqa=self._grouped)
            return out.transpose(1, 2)

        return self.llama.run(rows[None], cos, sin, mix)[0]

    def text_attention(self) -> Tensor:
        """Attention [layers, M, N] of the kept text rows on the visual slots, averaged over heads, float32.

        Computed from the kept queries and the slots as they are now; call it before the next pass that keeps queries.
        """
        return self.attention_of(*self.kept)

    def attention_of(self, first: int, count: int) -> Tensor:
        """`text_attention` of the first `count` kept rows, of which the first stands at position `first`."""
        queries = self._queries[:, :, :count]  # [L, H, M, hd]
        layers, heads, _, width = queries.shape
        keys = self.slots.keys[:, :, : first + count]  # [L, Hkv, n, hd]
        grouped = queries.reshape(layers, keys.shape[1], -1, width)  # [L, Hkv, H / Hkv * M, hd]
        scores = (grouped @ keys.transpose(2, 3)).reshape(layers, heads, count, -1).float() / math.sqrt(width)
        weights = (scores + self._mask[first : first + count, : first + count].float()).softmax(-1)
        return weights.mean(1)[:, :, 1 : 1 + self.slots.visual]
