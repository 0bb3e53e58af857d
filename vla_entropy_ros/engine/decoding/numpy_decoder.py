"""Small passes in NumPy, on a CPU without a compiler: what `Decoder.run` computes, with less dispatch around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..model.llama import Llama, LlamaLayer
from ..model.quantise import Linear
from ..model.watch import Watch
from .decoder import ROW_MULTIPLE, Decoder, Sight
from .kv_cache import KVCache
from .runner import EagerRunner
from .sequence import Layout

MOST_ROWS = 130  # of a pass: above, PyTorch's modules are faster
MANY_ROWS = 32  # from which PyTorch's kernels are, for all their dispatch
Floats = NDArray[np.float32]
# slots [R], text rows whose queries are kept [R] or None, cosine, sine [R, 1, hd], what is added to the scores or None
Now = tuple[Any, Any, Any, Any, Any]


class NumpyDecoder(Decoder):
    """A decoder in float32 that runs passes of few rows in NumPy, over the same K/V cache; larger ones as modules.

    Norms and the scale of the scores are folded into copies of the weights.
    """

    def __init__(self, llama: Llama, cache: KVCache, layout: Layout) -> None:
        super().__init__(llama, cache, layout)
        config = llama.config
        self._heads, self._kv_heads, self._width = (
            config.num_attention_heads, config.num_key_value_heads, config.head_dim,
        )  # fmt: skip
        self._share, self._eps = np.float32(1 / config.hidden_size), np.float32(config.rms_norm_eps)
        self._scale = np.float32(math.sqrt(config.head_dim))
        self._watch = Watch(llama.model.layers.parameters())
        self._fold()
        self._norm = self.llama.model.norm.weight.detach().numpy()
        self._keys, self._values = self.cache.keys.numpy(), self.cache.values.numpy()
        self._kept = self.queries.numpy()

    def run(
        self, x: Tensor, position: Tensor, slot: Tensor, sight: Sight, tail: int, query: Tensor | None = None,
        narrow: Mapping[int, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """See `Decoder.run`."""
        if query is not None and self._watch.changed():
            self._fold()
        if len(x) > MOST_ROWS:
            return super().run(x, position, slot, sight, tail, query, narrow)
        with np.errstate(all="ignore"):  # e^88 of a gate that is shut, and what is no number shows in the output
            return self._passed(x, position, slot, sight, tail, query, narrow or {})

    def _passed(
        self, x: Tensor, position: Tensor, slot: Tensor, sight: Sight, tail: int, query: Tensor | None,
        narrow: Mapping[int, Tensor],
    ) -> Tensor:  # fmt: skip
        cosine, sine = (table.index_select(0, position).numpy() for table in self.tables)  # [R, 1, hd]
        hidden = sight.mask(self._slots, torch.float32)
        held = (None if part is None else part.numpy() for part in (query, hidden))
        now: Now = (slot.numpy(), next(held), cosine, sine, next(held))
        rows: NDArray[np.int64] = np.arange(len(x))
        states = x.numpy().copy()
        for layer in range(len(self._weights)):
            if layer in narrow:
                kept = narrow[layer].numpy()
                among = np.searchsorted(rows, kept)
                among = np.concatenate((np.zeros(-len(kept) % ROW_MULTIPLE, np.int64), among))
                rows, states = rows[among], states[among]
                now = tuple(None if part is None else part[among] for part in now)  # type: ignore[assignment]
                now[0][: len(among) - len(kept)] = self.cache.count
                rows[: len(among) - len(kept)] = -1
            first = self._first(len(states), tail) if layer == len(self._weights) - 1 else 0
            states = self._layer(layer, states, now, sight.reach, first)
        self._normalise(states)
        states *= self._norm
        return torch.from_numpy(states)[len(states) - tail :]

    def _fold(self) -> None:
        """Copy the weights, with what is folded into them."""
        layers = self.llama.model.layers
        self._weights = [self._folded(layer) for layer in layers if isinstance(layer, LlamaLayer)]

    def _layer(self, number: int, x: Floats, now: Now, reach: int, first: int) -> Floats:
        slot, query, cosine, sine, hidden = now
        heads, kv_heads, width = self._heads, self._kv_heads, self._width
        qkv_weight, out_weight, gate_up_weight, down_weight = self._weights[number]
        qkv = product(self._normalised(x), qkv_weight).reshape(len(x), -1, width)
        turned = qkv[:, : heads + kv_heads]
        rolled = np.empty_like(turned)
        rolled[..., : width // 2], rolled[..., width // 2 :] = turned[..., width // 2 :], turned[..., : width // 2]
        rolled *= sine
        turned *= cosine
        turned += rolled
        keys, values = self._keys[number], self._values[number]
        keys[:, slot] = qkv[:, heads : heads + kv_heads].transpose(1, 0, 2)
        values[:, slot] = qkv[:, heads + kv_heads :].transpose(1, 0, 2)
        if query is not None:
            self._kept[number][:, query] = turned[:, :heads].transpose(1, 0, 2) * self._scale
        x, qkv = x[first:], qkv[first:]
        mixed = self._attend(
            qkv[:, :heads], keys[:, :reach], values[:, :reach], None if hidden is None else hidden[first:]
        )
        x = x + product(mixed, out_weight)
        x += product(gated(product(self._normalised(x), gate_up_weight)), down_weight)
        return x

    def _attend(self, q: Floats, keys: Floats, values: Floats, hidden: Floats | None) -> Floats:
        """Mixed values [R, H * hd] of q [R, H, hd], which is scaled already."""
        rows = len(q)
        if rows >= MANY_ROWS:
            wide, its_keys, its_values = (torch.from_numpy(part)[None] for part in (q.transpose(1, 0, 2), keys, values))
            mask = None if hidden is None else torch.from_numpy(hidden)
            found = F.scaled_dot_product_attention(
                wide, its_keys, its_values, mask, scale=1.0, enable_gqa=self._grouped
            )
            return found[0].transpose(0, 1).reshape(rows, -1).numpy()
        grouped = q.reshape(rows, self._kv_heads, -1, self._width).transpose(1, 2, 0, 3)  # [Hkv, G, R, hd]
        scores = grouped @ keys[:, None].swapaxes(2, 3)
        if hidden is not None:
            scores += hidden
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        mixed = scores @ values[:, None]
        mixed /= scores.sum(-1, keepdims=True)
        return mixed.transpose(2, 0, 1, 3).reshape(rows, -1)

    def _normalised(self, x: Floats) -> Floats:
        return self._normalise(x.copy())

    def _normalise(self, x: Floats) -> Floats:
        """Divide rows by the root of their mean square, in place."""
        size = np.einsum("rd,rd->r", x, x)
        size *= self._share
        size += self._eps
        x /= np.sqrt(size)[:, None]
        return x

    def _folded(self, layer: LlamaLayer) -> tuple[Floats, Floats, Floats, Floats]:
        """Weights [K, N] of a layer: of q, k and v, out, gate and up, down."""
        qkv = _weight(layer.self_attn._fused[0]) * layer.input_layernorm.weight.detach().double().numpy()
        qkv[: self._heads * self._width] /= math.sqrt(self._width)
        gate_up = _weight(layer.mlp._fused[0]) * layer.post_attention_layernorm.weight.detach().double().numpy()
        made = (qkv, _weight(layer.self_attn.o_proj), gate_up, _weight(layer.mlp.down_proj))
        qkv, out, gate_up, down = (np.ascontiguousarray(part.T, np.float32) for part in made)
        return qkv, out, gate_up, down


def product(x: Floats, weight: Floats) -> Floats:
    """`x` [R, K] times a weight [K, N]; PyTorch's is faster for many rows, NumPy's for few."""
    if len(x) < MANY_ROWS:
        return x @ weight
    return torch.mm(torch.from_numpy(x), torch.from_numpy(weight)).numpy()


def gated(gate_up: Floats) -> Floats:
    """SiLU of the first half of the columns, times the second."""
    gate, up = np.split(gate_up, 2, axis=1)
    if len(gate) >= MANY_ROWS:
        return F.silu(torch.from_numpy(gate)).mul_(torch.from_numpy(up)).numpy()
    made = np.exp(-gate)
    made += np.float32(1)
    np.divide(gate, made, out=made)
    made *= up
    return made


def _weight(layer: Linear) -> NDArray[np.float64]:
    return layer.weight.detach().double().numpy()


class NumpyRunner(EagerRunner):
    """Passes over a `NumpyDecoder`."""

    kind = "NumPy"
