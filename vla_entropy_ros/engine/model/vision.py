"""Vision towers and projector: pixel values -> visual tokens.

The modules carry timm's tensor names, so a checkpoint loads without a mapping. A tower's output follows OpenVLA: the
block before the last, no final norm, class and register tokens removed; what lies behind it is never built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .shapes import TowerConfig


class PatchEmbed(nn.Module):
    """Image to patch tokens by one convolution of kernel and stride `patch` (timm's name: patch_embed)."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, config.patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixel values [B, 3, S, S] to [B, N, width] in raster order."""
        if not pixels.is_cuda:
            return self.proj(pixels).flatten(2).transpose(1, 2)
        # as a product: a tenth of the time that cuDNN's convolution takes there
        count, channels, side, _ = pixels.shape
        patch = self.proj.kernel_size[0]
        grid = side // patch
        parts = pixels.view(count, channels, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)
        return F.linear(parts.reshape(count, grid**2, -1), self.proj.weight.flatten(1), self.proj.bias)


class StemPatchEmbed(nn.Module):
    """Patch embedding of the small tower: a 5 x 5 convolution of stride 2, then one of patch / 2."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        half = config.patch // 2
        self.stem = nn.Conv2d(3, config.stem_width, 5, 2, padding=2)
        self.proj = nn.Conv2d(config.stem_width, config.width, half, half)

    def fuse(self) -> None:
        """Lay the weights out as the convolutions read them fastest (channels last): half the time on a CPU."""
        for layer in (self.stem, self.proj):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixel values [B, 3, S, S] to [B, N, width] in raster order."""
        return self.proj(F.gelu(self.stem(pixels))).flatten(2).transpose(1, 2)


class TowerAttention(nn.Module):
    """Bidirectional self-attention with one fused qkv projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all rows of `x` [B, N, D]."""
        batch, rows, width = x.shape
        qkv = self.qkv(x).view(batch, rows, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.proj(out.transpose(1, 2).reshape(batch, rows, width))


class TowerMLP(nn.Module):
    """Two linear layers with exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [..., D] to [..., D]."""
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """Per-channel gain of a residual branch (DINOv2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Scale `x` [..., D]."""
        return x * self.scale_factor


class TowerBlock(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = TowerAttention(config.width, config.heads)
        self.ls1 = LayerScale(config.width) if config.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = TowerMLP(config.width, config.mlp_width)
        self.ls2 = LayerScale(config.width) if config.layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run rows `x` [B, N, D]."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))

    def fold(self) -> None:
        """Scale the weights in place of what they give; for inference, once they are loaded."""
        for scale, layer in ((self.ls1, self.attn.proj), (self.ls2, self.mlp.fc2)):
            if isinstance(scale, LayerScale):
                gain = scale.scale_factor.detach()
                layer.weight.data.mul_(gain[:, None])
                layer.bias.data.mul_(gain)
        self.ls1, self.ls2 = nn.Identity(), nn.Identity()


class Tower(nn.Module):
    """A vision transformer up to the block whose output OpenVLA uses."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed: nn.Module = StemPatchEmbed(config) if config.stem_width else PatchEmbed(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2, config.width))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width)) if config.class_token else None
        self.reg_token = nn.Parameter(torch.zeros(1, config.registers, config.width)) if config.registers else None
        self.blocks = nn.ModuleList(TowerBlock(config) for _ in range(config.depth))

    def forward(self, pixels: Tensor) -> Tensor:
        """Patch features [B, N, width] of pixel values [B, 3, S, S]."""
        x = self.embed(pixels)
        for block in self.blocks:
            x = block(x)
        return self.patches(x)

    def embed(self, pixels: Tensor) -> Tensor:
        """Rows [B, P + N, width] of the first block: P class and register tokens, then the patches."""
        x = self.patch_embed(pixels) + self.pos_embed
        prefix = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        return torch.cat((*prefix, x), dim=1)

    def patches(self, x: Tensor) -> Tensor:
        """The patches' rows [B, N, width] of all `x` [B, P + N, width]."""
        return x[:, x.shape[1] - self.config.grid**2 :]

    def fold(self) -> None:
        """Let weights take over what follows them; for inference, once they are loaded."""
        for block in self.blocks:
            assert isinstance(block, TowerBlock)
            block.fold()


class VisionBackbone(nn.Module):
    """One tower, or two whose features are concatenated on the channel axis."""

    def __init__(self, featurizer: TowerConfig, fused_featurizer: TowerConfig | None = None) -> None:
        super().__init__()
        self.configs = (featurizer,) if fused_featurizer is None else (featurizer, fused_featurizer)
        self.featurizer = Tower(featurizer)
        self.fused_featurizer = Tower(fused_featurizer) if fused_featurizer else None
        self._side: Any = None  # the stream of the second tower, on CUDA
        self._run: Callable[[Tower, Tensor], Tensor] = Tower.forward

    @property
    def width(self) -> int:
        """Channels of the concatenated features."""
        fused = self.fused_featurizer.config.width if self.fused_featurizer is not None else 0
        return self.featurizer.config.width + fused

    def use_kernels(self, on: bool) -> None:
        """Run the towers in fused kernels from now on, which needs CUDA and folds them; or as modules again."""
        if not on:
            self._run = Tower.forward
            return
        from .fused_tower import run_tower  # brings Triton

        for tower in (self.featurizer, self.fused_featurizer):
            if tower is not None:
                tower.fold()
        self._run = run_tower

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [B, N, width] of pixel values [B, 3, S, S], or [B, 6, S, S] for two towers."""
        if self.fused_featurizer is None:
            return self._run(self.featurizer, pixels)
        first, second = pixels[:, :3], pixels[:, 3:]
        if not pixels.is_cuda:
            return torch.cat((self._run(self.featurizer, first), self._run(self.fused_featurizer, second)), dim=-1)
        now = torch.cuda.current_stream(pixels.device)
        if self._side is None:
            self._side = torch.cuda.Stream(pixels.device)
        self._side.wait_stream(now)  # neither tower fills a GPU: both at once
        with torch.cuda.stream(self._side):
            beside = self._run(self.fused_featurizer, second)
        features = self._run(self.featurizer, first)
        now.wait_stream(self._side)
        pixels.record_stream(self._side)
        beside.record_stream(now)
        return torch.cat((features, beside), dim=-1)


class Projector(nn.Module):
    """Features to decoder width: two layers for one tower, three for two (OpenVLA's PrismaticProjector)."""

    def __init__(self, features: int, width: int, fused: bool) -> None:
        super().__init__()
        hidden = 4 * features if fused else width
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.fc3 = nn.Linear(width, width) if fused else None

    def forward(self, x: Tensor) -> Tensor:
        """Map features [B, N, F] to visual tokens [B, N, D]."""
        x = self.fc2(F.gelu(self.fc1(x)))
        return x if self.fc3 is None else self.fc3(F.gelu(x))
