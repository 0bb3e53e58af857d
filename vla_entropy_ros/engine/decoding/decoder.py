"""One decoder pass over any set of rows: each writes its slot, then sees the slots that it may see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.llama import Llama, rotary
from ..model.shapes import PROBED
from .kv_cache import KVCache
from .probe import HIDDEN, information, scores
from .sequence import BITS, Layout

# Rows of a pass are padded to a multiple of this: BLAS sums 1 to 3 rows in another order than more, so a token's keys
# would depend on how many others are computed beside it.
ROW_MULTIPLE = 4
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Sight:
    """Which slots the rows [R] of a pass see: the first `seen` [R], and slot `area + n` for bit n of `branch` [R].

    area: a number, or a tensor that broadcasts to [R, 1]. reach: how many slots are looked at; all_seen: whether every
    row sees all of them.
    """

    seen: Tensor
    branch: Tensor
    area: int | Tensor
    reach: int
    all_seen: bool = False

    def mask(self, slots: Tensor, dtype: torch.dtype) -> Tensor | None:
        """What is added to the scores [R, reach]; None where nothing is hidden. slots: 0, 1, 2, ... [reach or more]."""
        if self.all_seen:
            return None
        slots = slots[: self.reach]
        bit = slots - self.area
        bit = torch.where(bit < 0, BITS, bit).clamp_max(BITS)  # a bit that is never set
        visible = (slots < self.seen[:, None]) | ((self.branch[:, None] >> bit) & 1).bool()
        return torch.where(visible, 0.0, HIDDEN).to(dtype)


class Decoder:
    """A Llama decoder over a K/V cache; the queries of text rows can be kept, to see later what they look at."""

    def __init__(self, llama: Llama, cache: KVCache, layout: Layout) -> None:
        config = llama.config
        self.llama, self.cache, self.layout = llama, cache, layout
        device, dtype = cache.keys.device, cache.keys.dtype
        self.positions = torch.arange(cache.count, device=device)
        cos, sin = rotary(self.positions, config.head_dim, config.rope_theta)
        self.tables = cos[:, None].to(dtype), sin[:, None].to(dtype)  # cosine and sine [count, 1, hd]
        self._slots = torch.arange(cache.length, device=device)
        self._parts = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
        self._grouped = config.num_key_value_heads != config.num_attention_heads
        self.no_query = layout.text  # number of the scratch row of queries
        layers, heads = config.num_hidden_layers, config.num_attention_heads
        self.queries = torch.zeros(layers, heads, layout.text + 1, config.head_dim, device=device, dtype=dtype)
        self._layers = [(cache.keys[i, None], cache.values[i, None]) for i in range(layers)]

    def embed(self, source: Tensor, token: Tensor, inputs: Tensor) -> Tensor:
        """Rows [R, D]: those of `inputs` which `source` [R] names; where it is negative, `token` [R] embedded."""
        held = inputs.index_select(0, source.clamp_min(0))
        return torch.where((source >= 0)[:, None], held, self.llama.embed(token))

    def run(
        self,
        x: Tensor,
        position: Tensor,
        slot: Tensor,
        sight: Sight,
        tail: int,
        query: Tensor | None = None,
        narrow: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """States [tail, D] of the last rows of `x` [R, D], which stand at `position` [R] and are written to `slot` [R].

        Every slot that a row sees must hold something by then. query [R]: text row as which a row's query is kept,
        `no_query` for none; None to keep none. narrow: by layer, the rows that go on from there (ascending, none that
        was left out before, the last rows among them); those are padded again.
        """
        cos, sin = (table.index_select(0, position) for table in self.tables)  # [R, 1, hd]
        now = _Rows(slot, query, cos, sin, sight.mask(self._slots, self.cache.keys.dtype))
        reach = sight.reach
        last = len(self._layers) - 1
        rows = torch.arange(len(position), device=x.device) if narrow else None  # numbers of those still there

        def go_on(layer: int, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            nonlocal now, rows
            if narrow is None or rows is None or layer not in narrow:
                return x, cos, sin
            among = torch.searchsorted(rows, narrow[layer])
            rows = narrow[layer]
            padding = -len(among) % ROW_MULTIPLE
            among = F.pad(among, (padding, 0))
            now = now.select(among)
            now.slot[:padding] = self.cache.count
            rows = F.pad(rows, (padding, 0), value=-1)  # padding is left out at the next narrowing
            return x.index_select(1, among), now.cos, now.sin

        def mix(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = qkv.transpose(1, 2).split(self._parts, dim=1)  # [1, H, R, hd]
            keys, values = self._layers[layer]  # [1, Hkv, length, hd]
            keys.index_copy_(2, now.slot, k)
            values.index_copy_(2, now.slot, v)
            if now.query is not None:
                self.queries[layer].index_copy_(1, now.query, q[0])
            mask = now.mask
            if layer == last:
                first = self._first(q.shape[2], tail)
                q, mask = q[:, :, first:], None if mask is None else mask[first:]
            keys, values = keys[:, :, :reach], values[:, :, :reach]
            out = F.scaled_dot_product_attention(q, keys, values, mask, enable_gqa=self._grouped)
            return out.transpose(1, 2)

        states = self.llama.run(x[None], now.cos, now.sin, mix, go_on if narrow else None)[0]
        return states[len(states) - tail :]

    def text_attention(self, seen: Tensor, reach: int) -> Tensor:
        """Attention [layers, M, N] of the kept text rows on the visual slots, averaged over heads, float32.

        seen [M]: how many leading slots each of them sees, `reach` at most. Computed from the kept queries and the
        slots as they are now; call it before the next pass that keeps queries.
        """
        return torch.cat([self._visual(found.softmax(-1)).mean(1) for found in self._scores(seen, reach)])

    def text_information(self, seen: Tensor, reach: int) -> Tensor:
        """Attention information [M, N] in what the kept text rows look at: see `information`, mean of layers and heads.

        seen, reach: as for `text_attention`, and when to call it, too.
        """
        layers, heads = self.queries.shape[:2]
        parts = [information(self._visual(found.log_softmax(-1))) for found in self._scores(seen, reach)]
        return (parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)) / (layers * heads)

    def _visual(self, weights: Tensor) -> Tensor:
        """Those of `weights` [..., n] that go to the visual slots [..., N]."""
        start = self.layout.first_visual
        return weights[..., start : start + self.layout.visual]

    def _scores(self, seen: Tensor, reach: int) -> Iterator[Tensor]:
        """Scores [L, H, M, reach] of the kept text rows, some layers after the other."""
        words, (layers, heads) = len(seen), self.queries.shape[:2]
        hidden = self._slots[:reach] >= seen[:, None]
        step = max(1, PROBED // (heads * words * reach * FLOAT))  # layers at a time: it bounds the memory
        for number in range(0, layers, step):
            part = slice(number, number + step)
            yield scores(self.queries[part, :, :words], self.cache.keys[part, :, :reach], hidden)

    @staticmethod
    def _first(rows: int, tail: int) -> int:
        """First of the rows that the last layer computes to the end, so that `tail` are among them."""
        return (rows - tail) // ROW_MULTIPLE * ROW_MULTIPLE


@dataclass
class _Rows:
    """Rows [R] of a pass as a layer needs them: slots, kept queries or None, rotary tables, mask or None."""

    slot: Tensor
    query: Tensor | None
    cos: Tensor
    sin: Tensor
    mask: Tensor | None

    def select(self, among: Tensor) -> _Rows:
        """Only the rows `among` [r]."""
        parts = (self.slot, self.query, self.cos, self.sin, self.mask)
        slot, query, cos, sin, mask = (None if part is None else part.index_select(0, among) for part in parts)
        assert slot is not None
        assert cos is not None
        assert sin is not None
        return _Rows(slot, query, cos, sin, mask)
