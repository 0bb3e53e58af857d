"""Towers and projector in compiled code: from the bytes of a frame to visual tokens, normalisation in the weights."""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..network import Network
from ..preprocess import Preprocessor
from ..vision import PatchEmbed, Projector, StemPatchEmbed, Tower, TowerBlock
from .library import BlockC, Floats, Library, ProductC, Products, ProjectorC, TowerC, empty, numbers, pointer

WHOLE = 255  # of a byte
CHANNELS = 3
ALIGNED = 32  # rows of transposed keys
BORDER = 4  # pixels beyond the picture along an axis, where a stem looks


class CompiledVision:
    """What `Network.visual_tokens` computes of frames; buffers are allocated here, once."""

    def __init__(self, library: Library, network: Network, preprocess: Preprocessor) -> None:
        vision = network.vision_backbone
        self._library, self.threads = library, torch.get_num_threads()
        self._made = Products(library)
        towers = [tower for tower in (vision.featurizer, vision.fused_featurizer) if tower is not None]
        norms = preprocess.normalisation
        self._towers = [_Tower(library, self._made, tower, *norms[n], self.threads) for n, tower in enumerate(towers)]
        self._features = empty((towers[0].config.grid ** 2, vision.width))
        self._tokens = empty((len(self._features), network.language_model.config.hidden_size))
        self._projector = self._project(network.projector)

    @classmethod
    def of(cls, library: Library, network: object, preprocess: Preprocessor) -> CompiledVision | None:
        """None where the network is not the engine's own, which says itself what its visual tokens are."""
        return cls(library, network, preprocess) if type(network) is Network else None

    def look(self, frames: NDArray[np.uint8], tokens: Floats) -> None:
        """Write the visual tokens [C * N, D] of frames [C, S, S, 3], camera after camera, to the first rows."""
        threads, count = min(self.threads, torch.get_num_threads()), len(self._features)
        for number, frame in enumerate(frames):
            first = 0
            for tower in self._towers:
                tower.look(np.ascontiguousarray(frame), self._features, first, threads)
                first += tower.width
            part = tokens[number * count : (number + 1) * count]
            self._library.project(ctypes.byref(self._projector), count, pointer(self._features), pointer(part), threads)

    def _project(self, projector: Projector) -> ProjectorC:
        layers = [layer for layer in (projector.fc1, projector.fc2, projector.fc3) if layer is not None]
        between = [self._made.keep(empty((len(self._features), layer.out_features))) for layer in layers[:-1]]
        made = (ProductC * 3)(*(_linear(self._made, layer) for layer in layers))
        return ProjectorC(len(layers), layers[0].in_features, made, (ctypes.c_void_p * 2)(*between))


class _Tower:
    """One tower as the library takes it."""

    def __init__(self, library: Library, made: Products, tower: Tower, mean: Floats, std: Floats, threads: int) -> None:
        config, keep = tower.config, made.keep
        self.width, self._library = config.width, library
        rows = config.grid**2 + int(config.class_token) + config.registers
        length = -(-rows // ALIGNED) * ALIGNED
        stem, embed, bias, inside = _embedding(made, tower.patch_embed, mean, std)
        prefix = [numbers(token[0]) for token in (tower.cls_token, tower.reg_token) if token is not None]
        blocks = [_block(made, block) for block in tower.blocks if isinstance(block, TowerBlock)]
        self._blocks = (BlockC * len(blocks))(*blocks)
        side = config.image_size + (BORDER if config.stem_width else 0)
        width = config.width
        self._c = TowerC(
            image=config.image_size, grid=config.grid, patch=config.patch, width=width, depth=len(blocks),
            heads=config.heads, hidden=config.mlp_width, prefixes=rows - config.grid**2, length=length, epsilon=1e-6,
            pad=(ctypes.c_float * 3)(*(WHOLE * mean)), stem=stem, embed=embed,
            positions=keep(numbers(tower.pos_embed[0]) + bias),
            prefix=keep(np.concatenate((empty((0, width)), *prefix))),
            block=self._blocks, picture=keep(empty((side, side, CHANNELS))),
            line=keep(empty((threads, config.image_size // 2 * config.stem_width))),
            cells=keep(empty((config.grid**2, inside))), x=keep(empty((rows, width))),
            normed=keep(empty((rows, width))),
            qkv=keep(empty((rows, 3 * width))), mixed=keep(empty((rows, width))), keys=keep(empty((width, length))),
            values=keep(empty((length, width))), hidden_rows=keep(empty((rows, config.mlp_width))),
            scores=keep(empty((threads * library.tile_rows, length))), seen=keep(np.full(rows, rows)),
            none=keep(np.zeros(rows, np.int64)),
        )  # fmt: skip

    def look(self, frame: NDArray[np.uint8], features: Floats, first: int, threads: int) -> None:
        """Write the features [N, width] of a frame [S, S, 3] to the columns from `first` on."""
        to = features[:, first:]
        self._library.look(ctypes.byref(self._c), pointer(frame), pointer(to), features.shape[1], threads)


def _linear(made: Products, layer: nn.Linear, gain: nn.Module | None = None) -> ProductC:
    """The product of a layer, times a `LayerScale` behind it."""
    weight, bias = numbers(layer.weight), numbers(layer.bias)
    if gain is not None and not isinstance(gain, nn.Identity):
        scale = numbers(gain.scale_factor)  # type: ignore[arg-type]
        weight, bias = weight * scale[:, None], bias * scale
    return made.of(weight, bias)


def _block(made: Products, block: TowerBlock) -> BlockC:
    norms = [made.keep(numbers(part)) for norm in (block.norm1, block.norm2) for part in (norm.weight, norm.bias)]
    attention, mlp = block.attn, block.mlp
    return BlockC(
        *norms, _linear(made, attention.qkv), _linear(made, attention.proj, block.ls1), _linear(made, mlp.fc1),
        _linear(made, mlp.fc2, block.ls2),
    )  # fmt: skip


def _embedding(made: Products, embed: nn.Module, mean: Floats, std: Floats) -> tuple[ProductC, ProductC, Floats, int]:
    """Stem, the product by which patches are embedded, its bias, and the numbers of a patch that it takes in.

    The first of them takes bytes: the normalisation is folded into its weights.
    """
    if isinstance(embed, StemPatchEmbed):
        assert embed.proj.bias is not None
        stem = made.of(*_folded(embed.stem, mean, std))
        return stem, made.of(_flat(embed.proj)), numbers(embed.proj.bias), embed.proj.weight[0].numel()
    assert isinstance(embed, PatchEmbed)
    weight, bias = _folded(embed.proj, mean, std)
    return ProductC(), made.of(weight), bias, weight.shape[1]


def _flat(layer: nn.Conv2d) -> Floats:
    """Weight [N, height * width * channels] of a convolution."""
    return numbers(layer.weight.permute(0, 2, 3, 1).flatten(1))


def _folded(layer: nn.Conv2d, mean: Floats, std: Floats) -> tuple[Floats, Floats]:
    """Weight and bias of a convolution of pixels, for bytes: of (byte / 255 - mean) / std."""
    assert layer.bias is not None
    weight, pixels = _flat(layer).astype(np.float64), layer.weight[0, 0].numel()
    scale, shift = np.tile(1 / std.astype(np.float64), pixels), np.tile((mean / std).astype(np.float64), pixels)
    bias = numbers(layer.bias).astype(np.float64) - weight @ shift
    return (weight * scale / WHOLE).astype(np.float32), bias.astype(np.float32)
