"""A policy's network as functions of tensors, for exporters: what is remembered goes in and comes out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...engine.families import Model
from ...engine.model.llama import LlamaLayer, rotary
from ...engine.model.network import Network

HIDDEN = -1e30  # added to a score that does not count: not infinite, of which a graph may make no number


class Vision(nn.Module):
    """Towers and projector."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Visual tokens [N, D] of pixel values [C, channels, S, S]."""
        return self._network.visual_tokens(pixels).flatten(0, 1)


class Layer(nn.Module):
    """One decoder layer around an attention of the caller's: q, k and v by one product, gate and up by one."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, LlamaLayer)
        attention, mlp = layer.self_attn, layer.mlp
        self.before, self.between = layer.input_layernorm, layer.post_attention_layernorm
        self.mixed, self.down = attention.o_proj, mlp.down_proj
        self.qkv: Tensor
        self.gate_up: Tensor
        self.register_buffer("qkv", _stacked(attention.q_proj, attention.k_proj, attention.v_proj))
        self.register_buffer("gate_up", _stacked(mlp.gate_proj, mlp.up_proj))

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values [1, S, (H + 2 Hkv) hd] of rows `x` [1, S, D], not rotated."""
        return F.linear(self.before(x), self.qkv)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Rows [1, S, D] behind the layer, of those before it and what its attention gave [1, S, H hd]."""
        x = x + self.mixed(attended)
        gate, up = F.linear(self.between(x), self.gate_up).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    """What passes of all kinds share: embedding, layers, head, tables of the rotary embedding for `slots` positions."""

    def __init__(self, model: Model, slots: int) -> None:
        super().__init__()
        assert isinstance(model.network, Network)
        llama = model.network.language_model
        self.config, self.slots, self._start = llama.config, slots, len(model.layout.start)
        self._llama = llama
        self.layers = nn.ModuleList(map(Layer, llama.model.layers))
        self.cos: Tensor
        self.sin: Tensor
        cos, sin = rotary(torch.arange(slots), self.config.head_dim, self.config.rope_theta)
        self.register_buffer("cos", cos)  # [slots, hd]
        self.register_buffer("sin", sin)

    @property
    def names(self) -> list[str]:
        """A name for the keys and for the values of each layer, in the order in which passes take and give them."""
        return [f"{kind}{layer}" for layer in range(self.config.num_hidden_layers) for kind in ("keys", "values")]

    def empty(self) -> list[Tensor]:
        """Keys and values of all slots, zero: of each layer [1, Hkv, slots, hd] twice."""
        shape = (1, self.config.num_key_value_heads, self.slots, self.config.head_dim)
        return [torch.zeros(shape) for _ in self.names]

    def prompt(self, ids: Tensor, visual: Tensor) -> Tensor:
        """Rows [1, S, D] of a prompt: start tokens, visual tokens [N, D], text; ids: without the visual ones."""
        rows = self._llama.embed(ids)
        return torch.cat((rows[: self._start], visual, rows[self._start :]))[None]

    def rows(self, ids: Tensor) -> Tensor:
        """Rows [1, S, D] of token ids [S]."""
        return self._llama.embed(ids)[None]

    def best(self, x: Tensor) -> Tensor:
        """The most likely token [1] behind the last of the rows `x` [1, S, D]."""
        return self._llama.lm_head(self._llama.model.norm(x[:, -1])).argmax(-1)

    def split(self, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries [1, H, S, hd] and keys, and values [1, Hkv, S, hd]; cos and sin [S, 1, hd]."""
        heads, others = self.config.num_attention_heads, self.config.num_key_value_heads
        qkv = qkv.unflatten(-1, (heads + 2 * others, self.config.head_dim))
        turned = qkv[:, :, : heads + others]
        one, other = turned.chunk(2, dim=-1)
        turned = turned * cos + torch.cat((other, one), dim=-1) * sin
        parts = turned[:, :, :heads], turned[:, :, heads:], qkv[:, :, heads + others :]
        return parts[0].transpose(1, 2), parts[1].transpose(1, 2), parts[2].transpose(1, 2)

    def shared(self, kept: Tensor) -> Tensor:
        """Keys or values [1, Hkv, S, hd] as every query head reads them [1, H, S, hd]."""
        return kept.repeat_interleave(self.config.num_attention_heads // self.config.num_key_value_heads, dim=1)


class FirstPass(Decoder):
    """The pass over a whole prompt."""

    def __init__(self, model: Model, slots: int) -> None:
        super().__init__(model, slots)
        self.seen: Tensor
        self.register_buffer("seen", torch.ones(slots, slots, dtype=torch.bool).tril())

    def forward(self, ids: Tensor, visual: Tensor) -> tuple[Tensor, ...]:
        """Token [1] and keys and values [1, Hkv, S, hd] of each layer; the last one ends with one row; see `prompt`."""
        x, kept = self.prompt(ids, visual), []
        count = x.shape[1]
        cos, sin, seen = self.cos[:count, None], self.sin[:count, None], self.seen[:count, :count]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            q, k, v = self.split(layer.project(x), cos, sin)
            kept += [k, v]
            if number == len(self.layers) - 1:
                q, x, seen = q[:, :, -1:], x[:, -1:], seen[-1:]
            attended = F.scaled_dot_product_attention(q, self.shared(k), self.shared(v), seen)
            x = layer.finish(x, attended.transpose(1, 2).flatten(2))
        return (self.best(x), *kept)


class NextPass(Decoder):
    """The pass over one row behind what is kept in slots; all shapes are fixed."""

    def forward(self, ids: Tensor, position: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        """Token [1] and the row's own keys and values [1, Hkv, 1, hd] of each layer; ids, position: [1].

        kept: see `empty`; of its slots those before `position` count.
        """
        x, new = self.rows(ids), []
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        hidden = torch.where(torch.arange(self.slots) < position, 0.0, HIDDEN)
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            q, k, v = self.split(layer.project(x), cos, sin)
            new += [k, v]
            q = q * self.config.head_dim**-0.5
            keys, values = (self.shared(one) for one in kept[2 * number : 2 * number + 2])
            scores = q @ keys.transpose(2, 3) + hidden, q @ self.shared(k).transpose(2, 3)
            weights = torch.cat(scores, dim=-1).softmax(-1)
            attended = weights[..., : self.slots] @ values + weights[..., self.slots :] * self.shared(v)
            x = layer.finish(x, attended.transpose(1, 2).flatten(2))
        return (self.best(x), *new)


def _stacked(*layers: nn.Linear) -> Tensor:
    return torch.cat([layer.weight.detach() for layer in layers])
