"""The Llama decoder as modules that carry the checkpoint's own tensor names.

Attention is passed in: training passes a masked one (`Attend`), the engine one that writes K/V into slots (`Mix`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .quantise import Linear, Stack
from .shapes import LlamaConfig

# attend(layer, q [B, H, S, hd], k [B, Hkv, S, hd], v [B, Hkv, S, hd]) -> [B, H, S, hd]; q and k are already rotated.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
# mix(layer, qkv [B, S, H + 2 Hkv, hd]) -> [B, T, H, hd] for the last T <= S rows; q and k are already rotated.
Mix = Callable[[int, Tensor], Tensor]
# narrow(layer, x [B, S, D], cos [S, 1, hd], sin [S, 1, hd]) -> the rows of each that go on
Narrow = Callable[[int, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def rotary(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary embedding at `positions` [...]; each [..., head_dim], float32.

    The first half of the sine is negated, as `rotate` needs it.
    """
    exponent = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angle = positions.to(torch.float32)[..., None] * theta**-exponent  # [..., head_dim / 2]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor | None = None) -> Tensor:
    """Apply rotary embedding to `x` [B, S, H, hd]; cos and sin broadcast to [B, S, 1, hd]; `out` may be `x` itself."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin, out=out)


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 as Llama does."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of `x` [..., D]."""
        if x.is_cuda:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)  # one kernel there, many on a CPU
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class LlamaAttention(nn.Module):
    """Projections of one attention layer."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        width = config.hidden_size
        self.q_proj = Linear(width, self.heads * self.head_dim)
        self.k_proj = Linear(width, self.kv_heads * self.head_dim)
        self.v_proj = Linear(width, self.kv_heads * self.head_dim)
        self.o_proj = Linear(self.heads * self.head_dim, width)
        self._fused: list[Linear] = []  # one once fused; in a list, for its tensors have names already

    def fuse(self) -> None:
        """Project q, k and v by one product from now on; for inference, the weights keep their names."""
        self._fused = [Stack(self.q_proj, self.k_proj, self.v_proj)]

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int, mix: Mix) -> Tensor:
        """Project `x` [B, S, D], rotate, mix, project back to [B, T, D]."""
        batch, rows, _ = x.shape
        turned = self.heads + self.kv_heads
        if not self._fused:
            qk = torch.cat((self.q_proj(x), self.k_proj(x)), dim=-1).view(batch, rows, turned, self.head_dim)
            v = self.v_proj(x).view(batch, rows, self.kv_heads, self.head_dim)
            qkv = torch.cat((rotate(qk, cos, sin), v), dim=2)
        else:
            qkv = self._fused[0](x).view(batch, rows, -1, self.head_dim)
            qk = qkv[:, :, :turned]
            rotate(qk, cos, sin, out=qk)
        return self.o_proj(mix(layer, qkv).flatten(2))


class LlamaMLP(nn.Module):
    """Gated feed-forward block."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)
        self._fused: list[Linear] = []  # one once fused; in a list, for its tensors have names already

    def fuse(self) -> None:
        """Compute gate and up by one product from now on; for inference, the weights keep their names."""
        self._fused = [Stack(self.gate_proj, self.up_proj)]

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [..., D] to [..., D]."""
        if not self._fused:
            return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        gate, up = self._fused[0](x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class LlamaLayer(nn.Module):
    """One pre-norm decoder layer."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.self_attn = LlamaAttention(config)
        self.mlp = LlamaMLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int, mix: Mix) -> Tensor:
        """Run rows `x` [B, S, D] through layer number `layer`; only those that `mix` returns go on."""
        mixed = self.self_attn(self.input_layernorm(x), cos, sin, layer, mix)
        x = x[:, x.shape[1] - mixed.shape[1] :] + mixed
        return x + self.mlp(self.post_attention_layernorm(x))


def _embedding(rows: int, width: int) -> nn.Embedding:
    """An embedding with random weights; none on the meta device, where drawing them would import torch._dynamo."""
    bare = torch.get_default_device().type == "meta"
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width) if bare else None)


class LlamaBody(nn.Module):
    """Embedding, layers and final norm: the `model.` part of a Llama checkpoint."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = _embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """A Llama decoder whose `state_dict` keys are those under `language_model.` of an OpenVLA checkpoint."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaBody(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def fuse(self) -> Llama:
        """Compute with fewer, larger products from now on; for inference only.

        Weights that come later go straight to where those products read them.
        """
        for module in self.modules():
            if isinstance(module, (LlamaAttention, LlamaMLP)):
                module.fuse()
        return self

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [..., D] of token ids [...]."""
        return self.model.embed_tokens(ids)

    def forward(self, x: Tensor, positions: Tensor, attend: Attend, narrow: Narrow | None = None) -> Tensor:
        """Hidden states [B, S, D] after the final norm, of rows `x` [B, S, D] at `positions` [S] or [B, S]."""
        cos, sin = rotary(positions, self.config.head_dim, self.config.rope_theta)
        parts = (self.config.num_attention_heads, *2 * (self.config.num_key_value_heads,))

        def mix(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = (part.transpose(1, 2) for part in qkv.split(parts, dim=2))
            return attend(layer, q, k, v).transpose(1, 2)

        return self.run(x, cos.unsqueeze(-2).to(x.dtype), sin.unsqueeze(-2).to(x.dtype), mix, narrow)

    def run(self, x: Tensor, cos: Tensor, sin: Tensor, mix: Mix, narrow: Narrow | None = None) -> Tensor:
        """`forward` with the rotary embedding given: cos and sin broadcast to [B, S, 1, hd], in the dtype of `x`.

        narrow: called before each layer, may leave out rows from there on.
        """
        for number, layer in enumerate(self.model.layers):
            if narrow is not None:
                x, cos, sin = narrow(number, x, cos, sin)
            x = layer(x, cos, sin, number, mix)
        return self.model.norm(x)
