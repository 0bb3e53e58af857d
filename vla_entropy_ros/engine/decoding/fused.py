"""A decoder pass in eight kernels a layer: what `Decoder.run` computes, on CUDA, in shapes that depend on no value."""

from __future__ import annotations

from torch import Tensor

from ..model.llama import LlamaLayer
from ..model.products import Weight, add_norm, attend, embed_rows, rotate_into, rows_for
from .decoder import Decoder, Sight


class FusedDecoder:
    """Runs rows through the layers of a `Decoder`, over its K/V cache and into its kept queries."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        body = decoder.llama.model
        layers = [layer for layer in body.layers if isinstance(layer, LlamaLayer)]
        self._layers = [_Weights(layer) for layer in layers]
        self._norm = body.norm.weight
        self._eps = decoder.llama.config.rms_norm_eps

    def embed(self, source: Tensor, token: Tensor, inputs: Tensor) -> Tensor:
        """See `Decoder.embed`."""
        return embed_rows(source, token, inputs, self._decoder.llama.model.embed_tokens.weight)

    def run(
        self, x: Tensor, position: Tensor, slot: Tensor, sight: Sight, tail: int, query: Tensor | None = None
    ) -> Tensor:
        """States [tail, D] of the last rows of `x` [R, D], which is overwritten; see `Decoder.run`."""
        decoder, parts, area = self._decoder, None, sight.area
        assert isinstance(area, Tensor)
        seen, branch, area = sight.seen.contiguous(), sight.branch.contiguous(), area.contiguous()
        for number, layer in enumerate(self._layers):
            keys, values = decoder.cache.keys[number], decoder.cache.values[number]
            rows = add_norm(x, parts, layer.norm, self._eps, layer.qkv.kind)
            qkv = layer.qkv.of(rows, x.dtype)[0].view(len(x), -1, keys.shape[2])
            rotate_into(qkv, *decoder.tables, position, slot, query, keys, values, decoder.queries[number])
            mixed = attend(qkv, keys, values, seen, branch, area)
            mixed = layer.out.of(rows_for(mixed, layer.out.kind), x.dtype)
            rows = add_norm(x, mixed, layer.middle_norm, self._eps, layer.gate_up.kind)
            hidden = layer.gate_up.gated(rows, x.dtype)
            parts = layer.down.of(rows_for(hidden, layer.down.kind), x.dtype)
        first = len(x) - tail
        last = None if parts is None else parts[:, first:].contiguous()
        return add_norm(x[first:], last, self._norm, self._eps, 0).values


class _Weights:
    """One layer's weights as the kernels take them; its products are fused already."""

    def __init__(self, layer: LlamaLayer) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.norm, self.middle_norm = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        self.qkv, self.out = Weight(attention._fused[0]), Weight(attention.o_proj)
        self.gate_up, self.down = Weight(mlp._fused[0]), Weight(mlp.down_proj)
