"""Decoder passes in compiled code, on a CPU in float32: what `Decoder.run` computes, without dispatch.

Sums run in one order whatever rows are beside a row, and over what a row sees in the order of positions: drafts are
exact by construction, and no row is padded.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.compiled.library import Copies, DecoderC, LayerC, Library, PassC
from ..model.compiled.memory import MOST_PANEL, Buffers, Floats, empty, pointer
from ..model.compiled.vision import CompiledVision
from ..model.llama import Llama, LlamaLayer
from .decoder import Decoder
from .kv_cache import KVCache
from .runner import EagerRunner, Embedded, Endpoints, Table
from .sequence import RowPlan


class TransposedKVCache(KVCache):
    """A K/V cache in float32 on a CPU, where in memory the keys of a head are [hd, length]."""

    alignment = MOST_PANEL  # so many slots are read at a time

    @staticmethod
    def _buffers(shape: tuple[int, ...], **_: Any) -> tuple[Tensor, Tensor]:
        keys, values = empty((*shape[:2], shape[3], shape[2])), empty(shape)
        return torch.from_numpy(keys).transpose(2, 3), torch.from_numpy(values)


class PackedWeights:
    """A decoder's weights as the products of a library read them: copies, which follow weights that are changed."""

    def __init__(self, library: Library, llama: Llama) -> None:
        self.library, self._made = library, Copies(library)
        body, made = llama.model, self._made
        layers = [self._layer(layer) for layer in body.layers if isinstance(layer, LlamaLayer)]
        self.layers = (LayerC * len(layers))(*layers)
        self.norm, self.embedding = made.tensor(body.norm.weight), made.tensor(body.embed_tokens.weight)
        self.head = made.linear(llama.lm_head.weight)

    def renew(self) -> None:
        """Copy again what was changed in place since."""
        self._made.renew()

    def _layer(self, layer: LlamaLayer) -> LayerC:
        attention, mlp = layer.self_attn, layer.mlp
        norms = layer.input_layernorm, layer.post_attention_layernorm
        weights = attention._fused[0], attention.o_proj, mlp._fused[0], mlp.down_proj
        kept = (self._made.tensor(norm.weight) for norm in norms)
        return LayerC(*kept, *(self._made.linear(layer.weight) for layer in weights))


class CompiledDecoder:
    """Runs row plans over the K/V cache of a `Decoder`, whose keys are stored transposed, into its kept queries.

    Buffers are allocated here, once.
    """

    def __init__(self, weights: PackedWeights, decoder: Decoder, out: int) -> None:
        """out: most rows of a pass that put something out."""
        cache, config = decoder.cache, decoder.llama.config
        self.weights, self._decoder, self._buffers = weights, decoder, (buffers := Buffers())
        width, heads, kv_heads = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        rows, hidden, head_dim = cache.count, config.intermediate_size, config.head_dim
        self.threads, self.most = torch.get_num_threads(), out
        cosine, sine = (buffers.copy(table[:, 0].numpy()) for table in decoder.tables)
        self.states, self.logits = empty((out, width)), empty((out, config.vocab_size))
        self._c = DecoderC(
            layers=config.num_hidden_layers, width=width, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
            intermediate=hidden, length=cache.length, kept=decoder.queries.shape[2], capacity=rows,
            epsilon=config.rms_norm_eps, layer=weights.layers, norm=weights.norm, embedding=weights.embedding,
            cosine=cosine, sine=sine, head=weights.head, keys=cache.keys.data_ptr(), values=cache.values.data_ptr(),
            queries=decoder.queries.data_ptr(), x=buffers.of(rows, width), normed=buffers.of(rows, width),
            qkv=buffers.of(rows, (heads + 2 * kv_heads) * head_dim), mixed=buffers.of(rows, heads * head_dim),
            gate_up=buffers.of(rows, 2 * hidden),
            scores=buffers.of(self.threads * weights.library.tile_rows, cache.length),
            numbers=buffers.copy(np.zeros((5, rows), np.int64)), slot_position=buffers.copy(np.arange(cache.length)),
        )  # fmt: skip
        self._rows, self._narrowed = empty((6, rows), np.int64), empty((3, config.num_hidden_layers), np.int64)
        self._inputs: Floats | None = None
        self._wanted = pointer(self.logits)
        of_rows, of_layers = (map(pointer, part) for part in (self._rows, self._narrowed))
        self._pass = PassC(0, 0, 0, 0, 0, 0, *of_rows, *of_layers, None, pointer(self.states), None)

    def run(self, plan: RowPlan, inputs: Floats | None, logits: bool) -> Floats:
        """States [out, D] of the plan's last rows, or their logits [out, V]; until the next call.

        inputs: rows [N + E, D] that are no embedded tokens, needed where the plan has any of them.
        """
        if not 0 < plan.out <= min(self.most, len(plan)) or len(plan) > self._c.capacity:
            raise ValueError(f"{plan.out} of {len(plan)} rows: expected {self.most} of {self._c.capacity} at most")
        if inputs is None and (plan.source >= 0).any():
            raise ValueError("rows that are no tokens need inputs")
        if plan.words:
            self.weights.renew()
        asked, count = self._pass, len(plan)
        parts = (plan.source, plan.token, plan.position, plan.slot, plan.seen, plan.branch)
        for kept, part in zip(self._rows, parts, strict=True):
            kept[:count] = part
        asked.rows, asked.area, asked.out = count, plan.area, plan.out
        asked.first_text, asked.words, asked.narrowings = plan.first_text, plan.words, len(plan.narrow)
        narrow = sorted(plan.narrow.items())
        for number, (layer, rows) in enumerate(narrow):
            self._narrowed[0, number], self._narrowed[1, number] = layer, len(rows)
            self._narrowed[2, number] = pointer(rows)
        if inputs is not self._inputs:
            self._inputs, asked.inputs = inputs, pointer(inputs)
        asked.logits = self._wanted if logits else None
        threads = min(self.threads, torch.get_num_threads())
        self.weights.library.decode(ctypes.byref(self._c), ctypes.byref(asked), threads)
        return (self.logits if logits else self.states)[: plan.out]


class CompiledRunner(EagerRunner):
    """Passes in compiled code, towers among them where they are the engine's own."""

    def __init__(self, weights: PackedWeights, ends: Endpoints, decoder: Decoder) -> None:
        super().__init__(ends, decoder)
        self.kind = f"compiled ({weights.library.variant})"
        self._compiled = CompiledDecoder(weights, decoder, max(ends.tail, *ends.extensions, 1))
        self._vision = CompiledVision.of(weights.library, ends.network, ends.preprocess)
        self._visual_tokens = ends.network.visual_tokens
        layout, width = decoder.layout, decoder.llama.config.hidden_size
        self._inputs: Floats = empty((layout.inputs, width))
        self._rows = torch.from_numpy(self._inputs)
        self._embedded = Embedded(self._rows[: layout.visual], self._rows)

    def embed_images(self, frames: NDArray[np.uint8], state: NDArray[np.float64]) -> Embedded:
        """See `Runner`."""
        if self._vision is None or self._ends.network.visual_tokens != self._visual_tokens:  # another one since
            self._rows.copy_(super().embed_images(frames, state).inputs)
        else:  # of networks without further rows
            self._vision.look(frames, self._inputs)
        return self._embedded

    def run(self, plan: RowPlan, embedded: Embedded | None = None) -> Table:
        """See `Runner`."""
        if self._ends.scored is None:
            return super().run(plan, embedded)
        return self._ends.scored(self._pass(plan, embedded, logits=True))

    def states(self, plan: RowPlan, embedded: Embedded | None = None) -> Tensor:
        """See `EagerRunner`; until the next pass."""
        return torch.from_numpy(self._pass(plan, embedded, logits=False))

    def _pass(self, plan: RowPlan, embedded: Embedded | None, logits: bool) -> Floats:
        self._note(plan)
        own = embedded is self._embedded
        inputs = None if embedded is None else self._inputs if own else embedded.inputs.numpy()
        return self._compiled.run(plan, inputs, logits)
