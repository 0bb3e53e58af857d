"""The baseline: `generate` as transformers runs it, on the same weights, nothing captured and nothing reused."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...engine import Observation
from ...engine.device import Stopwatch
from ...engine.model.llama import LlamaAttention, LlamaLayer, LlamaMLP, rotary, rotate
from ...engine.model.network import Network
from ...engine.model.preprocess import Preprocessor
from ...engine.result import Timings


class Generate:
    """Greedy decoding with a growing cache: one projection at a time, each token looked at before the next."""

    def __init__(self, network: Network, preprocess: Preprocessor, prompt: Sequence[int], device: torch.device) -> None:
        self._network, self._preprocess, self._device = network, preprocess, device
        self._llama = network.language_model
        self._prompt = torch.tensor([1, *prompt], device=device)

    @torch.inference_mode()
    def tick(self, observation: Observation, tokens: int = 7) -> tuple[list[int], Timings]:
        """Action tokens for one observation and the time of each stage."""
        watch = Stopwatch(self._device)
        frames = self._preprocess.frames(observation.images)
        pixels = self._preprocess.pixels(frames)
        watch.lap("preprocess")
        visual = self._network.projector(self._towers(pixels))
        watch.lap("vision")
        watch.lap("select")
        text = self._llama.embed(self._prompt)[None]
        rows = torch.cat((text[:, :1], visual, text[:, 1:]), dim=1)
        cache: list[tuple[Tensor, Tensor]] = []
        ids = [self._next(rows, 0, cache)]
        watch.lap("prefill")
        for _ in range(tokens - 1):
            rows = self._llama.embed(torch.tensor([[ids[-1]]], device=self._device))
            ids.append(self._next(rows, cache[0][0].shape[2], cache))
        watch.lap("decode")
        return ids, Timings(**watch.timings())

    def _towers(self, pixels: Tensor) -> Tensor:
        vision = self._network.vision_backbone
        first = vision.featurizer(pixels[:, :3])
        if vision.fused_featurizer is None:
            return first
        return torch.cat((first, vision.fused_featurizer(pixels[:, 3:])), dim=-1)

    def _next(self, x: Tensor, start: int, cache: list[tuple[Tensor, Tensor]]) -> int:
        """The token behind rows `x` [1, S, D], which stand from `start` on; the cache grows by them."""
        config = self._llama.config
        where = torch.arange(start, start + x.shape[1], device=x.device)
        cos, sin = (part.unsqueeze(-2).to(x.dtype) for part in rotary(where, config.head_dim, config.rope_theta))
        for number, layer in enumerate(self._llama.model.layers):
            assert isinstance(layer, LlamaLayer)
            x = x + _attention(layer.self_attn, layer.input_layernorm(x), cos, sin, number, cache)
            x = x + _mlp(layer.mlp, layer.post_attention_layernorm(x))
        logits = self._llama.lm_head(self._llama.model.norm(x[:, -1]))
        return int(logits.argmax(-1))


def _attention(
    part: LlamaAttention, x: Tensor, cos: Tensor, sin: Tensor, layer: int, cache: list[tuple[Tensor, Tensor]]
) -> Tensor:
    heads = (*x.shape[:2], -1, part.head_dim)
    q = rotate(part.q_proj(x).view(heads), cos, sin).transpose(1, 2)
    k = rotate(part.k_proj(x).view(heads), cos, sin).transpose(1, 2)
    v = part.v_proj(x).view(heads).transpose(1, 2)
    if layer < len(cache):
        k, v = torch.cat((cache[layer][0], k), 2), torch.cat((cache[layer][1], v), 2)
        cache[layer] = (k, v)
    else:
        cache.append((k, v))
    shared = part.heads != part.kv_heads
    out = F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1, enable_gqa=shared)
    return part.o_proj(out.transpose(1, 2).flatten(2))


def _mlp(part: LlamaMLP, x: Tensor) -> Tensor:
    return part.down_proj(F.silu(part.gate_proj(x)) * part.up_proj(x))
