"""Towers and projector in compiled code: from the bytes of a frame to visual tokens, normalisation in the weights."""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..network import Network
from ..preprocess import Preprocessor
from ..vision import LayerScale, PatchEmbed, Projector, StemPatchEmbed, Tower, TowerBlock
from .library import BlockC, Copies, Library, ProductC, ProjectorC, TowerC, numbers
from .memory import Buffers, Floats, empty, pointer

WHOLE = 255  # of a byte
CHANNELS = 3
ALIGNED = 32  # rows of transposed keys
BORDER = 4  # pixels beyond the picture along an axis, where a stem looks


class CompiledVision:
    """What `Network.visual_tokens` computes of frames; buffers are allocated here, once."""

    def __init__(self, library: Library, network: Network, preprocess: Preprocessor) -> None:
        vision = network.vision_backbone
        self._library, self.threads = library, torch.get_num_threads()
        self._made, self._buffers = Copies(library), Buffers()
        towers = [tower for tower in (vision.featurizer, vision.fused_featurizer) if tower is not None]
        norms = preprocess.normalisation
        self._towers = [self._tower(tower, *norms[number]) for number, tower in enumerate(towers)]
        self._widths = [tower.config.width for tower in towers]
        self._features = empty((towers[0].config.grid ** 2, vision.width))
        self._projector = self._project(network.projector)

    @classmethod
    def of(cls, library: Library, network: object, preprocess: Preprocessor) -> CompiledVision | None:
        """None where the network is not the engine's own, which says itself what its visual tokens are."""
        return cls(library, network, preprocess) if type(network) is Network else None

    def look(self, frames: NDArray[np.uint8], tokens: Floats) -> None:
        """Write the visual tokens [C * N, D] of frames [C, S, S, 3], camera after camera, to the first rows."""
        self._made.renew()
        threads, count = min(self.threads, torch.get_num_threads()), len(self._features)
        for number, frame in enumerate(frames):
            whole, first = np.ascontiguousarray(frame), 0
            for tower, width in zip(self._towers, self._widths, strict=True):
                to = pointer(self._features[:, first:])
                self._library.look(ctypes.byref(tower), pointer(whole), to, self._features.shape[1], threads)
                first += width
            part = pointer(tokens[number * count :])
            self._library.project(ctypes.byref(self._projector), count, pointer(self._features), part, threads)

    def _project(self, projector: Projector) -> ProjectorC:
        layers = [layer for layer in (projector.fc1, projector.fc2, projector.fc3) if layer is not None]
        between = [self._buffers.of(len(self._features), layer.out_features) for layer in layers[:-1]]
        made = (ProductC * 3)(*(self._made.linear(layer.weight, layer.bias) for layer in layers))
        return ProjectorC(len(layers), layers[0].in_features, made, (ctypes.c_void_p * 2)(*between))

    def _tower(self, tower: Tower, mean: Floats, std: Floats) -> TowerC:
        config, made, buffers, threads = tower.config, self._made, self._buffers, self.threads
        patches, width, stem_width = config.grid**2, config.width, config.stem_width
        prefix = [token for token in (tower.cls_token, tower.reg_token) if token is not None]
        rows = patches + sum(token.shape[1] for token in prefix)
        length, side = -(-rows // ALIGNED) * ALIGNED, config.image_size + (BORDER if stem_width else 0)
        stem, embed = self._embedding(tower.patch_embed, std)
        blocks = [self._block(block) for block in tower.blocks if isinstance(block, TowerBlock)]
        return TowerC(
            image=config.image_size, grid=config.grid, patch=config.patch, width=width, depth=len(blocks),
            heads=config.heads, hidden=config.mlp_width, prefixes=rows - patches, length=length, epsilon=1e-6,
            centre=(ctypes.c_float * 3)(*(WHOLE * mean)), stem=stem, embed=embed,
            positions=made.keep(lambda: numbers(tower.pos_embed[0]), tower.pos_embed),
            prefix=made.keep(lambda: np.concatenate((empty((0, width)), *(numbers(t[0]) for t in prefix))), *prefix),
            block=(BlockC * len(blocks))(*blocks), picture=buffers.of(side, side, CHANNELS),
            line=buffers.of(threads, config.image_size // 2 * stem_width), cells=buffers.of(patches, embed.columns),
            x=buffers.of(rows, width), normed=buffers.of(rows, width), qkv=buffers.of(rows, 3 * width),
            mixed=buffers.of(rows, width), keys=buffers.of(width, length), values=buffers.of(length, width),
            hidden_rows=buffers.of(rows, config.mlp_width),
            scores=buffers.of(threads * self._library.tile_rows, length), seen=buffers.copy(np.full(rows, rows)),
            none=buffers.copy(np.zeros(rows, np.int64)),
        )  # fmt: skip

    def _block(self, block: TowerBlock) -> BlockC:
        made, attention, mlp = self._made, block.attn, block.mlp
        norms = [made.tensor(part) for norm in (block.norm1, block.norm2) for part in (norm.weight, norm.bias)]
        proj, fc2 = self._scaled(attention.proj, block.ls1), self._scaled(mlp.fc2, block.ls2)
        qkv, fc1 = (made.linear(layer.weight, layer.bias) for layer in (attention.qkv, mlp.fc1))
        return BlockC(*norms, qkv, proj, fc1, fc2)

    def _scaled(self, layer: nn.Linear, scale: nn.Module) -> ProductC:
        """The product of a layer, times a `LayerScale` behind it."""
        if not isinstance(scale, LayerScale):
            return self._made.linear(layer.weight, layer.bias)
        gain, weight, bias = scale.scale_factor, layer.weight, layer.bias
        scaled = self._made.keep(lambda: numbers(bias * gain), bias, gain)
        return self._made.product(weight.shape, lambda: numbers(weight * gain[:, None]), weight, gain, bias=scaled)

    def _embedding(self, embed: nn.Module, std: Floats) -> tuple[ProductC, ProductC]:
        """Stem, and the product by which patches are embedded; the first of them takes bytes."""
        if isinstance(embed, StemPatchEmbed):
            return self._of_bytes(embed.stem, std), self._convolution(embed.proj)
        assert isinstance(embed, PatchEmbed)
        return ProductC(), self._of_bytes(embed.proj, std)

    def _of_bytes(self, layer: nn.Conv2d, std: Floats) -> ProductC:
        """A convolution of (byte / 255 - mean) / std, for what is left of a byte without 255 times the mean."""
        scale = np.tile(1 / (WHOLE * std.astype(np.float64)), layer.weight[0, 0].numel())
        bias = self._made.tensor(_bias(layer))
        weight = layer.weight
        return self._made.product(
            (len(weight), weight[0].numel()), lambda: (_flat(layer) * scale).astype(np.float32), weight, bias=bias
        )

    def _convolution(self, layer: nn.Conv2d) -> ProductC:
        weight, bias = layer.weight, self._made.tensor(_bias(layer))
        return self._made.product((len(weight), weight[0].numel()), lambda: _flat(layer), weight, bias=bias)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _flat(layer: nn.Conv2d) -> Floats:
    """Weight [N, height * width * channels] of a convolution."""
    return numbers(layer.weight.permute(0, 2, 3, 1).flatten(1))
