"""Weights of the decoder in 8 bits, one scale per output channel.

int8 leaves activations as they are. fp8 (float8_e4m3fn) rounds them, too, with a scale per row, so that
tensor cores multiply 8 bits by 8 bits: nothing is widened, on the devices that can.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import DeviceError
from ..tunables import QUANTISATIONS

LEVELS = {"int8": 127.0, "fp8": 448.0}  # largest value: symmetric, and that of float8_e4m3fn
LEAST_SCALE = 1e-12  # of a row of zeros


def check_quantisation(name: str, device: torch.device) -> str:
    """Return `name`; raises DeviceError that lists the ones valid on `device`."""
    valid = QUANTISATIONS if device.type != "cuda" or importlib.util.find_spec("triton") else ("none",)
    if name not in valid:
        raise DeviceError(f"quantisation {name!r} is not valid on {device}: valid are {', '.join(valid)}")
    return name


def quantise(weight: Tensor, kind: str = "int8") -> tuple[Tensor, Tensor]:
    """Weight [N, K] in 8 bits [N, K] and scales [N] in its own dtype; the weight is about their product, row by row.

    kind: one of LEVELS.
    """
    wide, most = weight.float(), LEVELS[kind]
    tiny = torch.finfo(torch.float32).tiny
    scale = (wide.abs().amax(1) / most).clamp_min(tiny)
    scale = scale.to(weight.dtype)  # rounded first, so that the levels fit the scale that is kept
    levels = (wide / scale.float().clamp_min(tiny)[:, None]).clamp(-most, most)
    return (levels.round().to(torch.int8) if kind == "int8" else levels.to(torch.float8_e4m3fn)), scale


def rounded(x: Tensor) -> Tensor:
    """`x` [..., K] as fp8 products see it, float32: each row in 8 bits of its own scale."""
    wide = x.float()
    scale = (wide.abs().amax(-1, keepdim=True) / LEVELS["fp8"]).clamp_min(LEAST_SCALE)
    return (wide / scale).to(torch.float8_e4m3fn).float() * scale


def product(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """`x` [..., K] times the transpose of `weight` [N, K]; weights in 8 bits come with `scale` [N]."""
    if scale is None:
        return F.linear(x, weight)
    if weight.dtype == torch.float8_e4m3fn:
        return (F.linear(rounded(x), weight.float()) * scale.float()).to(x.dtype)
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
