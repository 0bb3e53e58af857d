"""Weights of the decoder in 8 bits: one scale per output channel, activations left as they are."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import DeviceError
from ..tunables import QUANTISATIONS

LEVELS = 127  # symmetric: -127 to 127


def check_quantisation(name: str, device: torch.device) -> str:
    """Return `name`; raises DeviceError that lists the ones valid on `device`."""
    valid = QUANTISATIONS if device.type != "cuda" or importlib.util.find_spec("triton") else ("none",)
    if name not in valid:
        raise DeviceError(f"quantisation {name!r} is not valid on {device}: valid are {', '.join(valid)}")
    return name


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [N, K] as int8 [N, K] and scales [N] in its own dtype; weight is about int8 times scale, row by row."""
    wide = weight.float()
    scale = (wide.abs().amax(1) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
    scale = scale.to(weight.dtype)  # rounded first, so that the levels fit the scale that is kept
    levels = (wide / scale.float().clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
    return levels.clamp(-LEVELS, LEVELS).to(torch.int8), scale


def product(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """`x` [..., K] times the transpose of `weight` [N, K]; int8 weights come with `scale` [N]."""
    if scale is None:
        return F.linear(x, weight)
    if x.is_cuda:
        from .kernels import int8_product  # needs Triton, which comes with torch for CUDA

        return int8_product(x, weight, scale)
    return F.linear(x, weight.to(x.dtype)) * scale


class Linear(nn.Linear):
    """A linear layer without bias whose weight may become int8; `scale` [N] then belongs to it."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows, bias=False)
        self.scale: Tensor | None = None

    def quantise(self) -> None:
        """Keep the weight in 8 bits from now on; for inference."""
        self.hold(*quantise(self.weight))

    def hold(self, weight: Tensor, scale: Tensor | None) -> None:
        """Compute with this weight from now on."""
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [..., K] to [..., N]."""
        return product(x, self.weight, self.scale)


def stack(*layers: Linear) -> Linear:
    """One layer made of several; their weights become views of its own, so that nothing is stored twice."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    scales = [layer.scale for layer in layers if layer.scale is not None]
    scale = torch.cat(scales) if scales else None
    sizes = [layer.out_features for layer in layers]
    parts = weight.split(sizes)
    each = scale.split(sizes) if scale is not None else (None,) * len(layers)
    for layer, part, its in zip(layers, parts, each, strict=True):
        layer.hold(part, its)
    with torch.device("meta"):
        made = Linear(layers[0].in_features, sum(sizes))
    made.hold(weight, scale)
    return made
