"""Vision towers, projector and decoder as one module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .llama import Llama
from .shapes import LlamaConfig, TowerConfig
from .vision import Projector, StemPatchEmbed, VisionBackbone


class Network(nn.Module):
    """Vision towers, projector and decoder; its `state_dict` has the names of an OpenVLA checkpoint."""

    def __init__(self, vision: VisionBackbone, projector: Projector, llama: Llama) -> None:
        super().__init__()
        self.vision_backbone = vision
        self.projector = projector
        self.language_model = llama

    @classmethod
    def shaped(cls, towers: Sequence[TowerConfig], llama: LlamaConfig) -> Network:
        """One of that shape for inference, on the meta device: no memory is taken until weights are put in."""
        with torch.device("meta"):
            vision = VisionBackbone(*towers)
            projector = Projector(vision.width, llama.hidden_size, fused=len(towers) == 2)
            return cls(vision, projector, Llama(llama).fuse())

    def features(self, pixels: Tensor) -> Tensor:
        """Features [B, N, F] of the towers for pixel values [B, 3 or 6, S, S]."""
        return self.vision_backbone(pixels)

    def visual_tokens(self, pixels: Tensor) -> Tensor:
        """Visual tokens [B, N, D] for pixel values [B, 3 or 6, S, S]."""
        return self.projector(self.vision_backbone(pixels))

    def further_rows(self, state: Tensor) -> Tensor:
        """No rows [0, D]: neither state nor placeholders."""
        return state.new_zeros(0, self.language_model.config.hidden_size)

    def use_kernels(self, on: bool) -> None:
        """Embed images in fused kernels from now on, see `VisionBackbone.use_kernels`."""
        self.vision_backbone.use_kernels(on)

    def fuse(self) -> Network:
        """Lay weights out as they are read fastest; for inference only, after they are loaded."""
        for module in self.vision_backbone.modules():
            if isinstance(module, StemPatchEmbed):
                module.fuse()
        return self
