"""Weights of the decoder in 8 bits, one scale per output channel.

int8 leaves activations as they are. fp8 (float8_e4m3fn) rounds them, too, with a scale per row, so that
tensor cores multiply 8 bits by 8 bits: nothing is widened, on the devices that can.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..device import Placement, kernels_available

LEVELS = {"int8": 127.0, "fp8": 448.0}  # largest value: symmetric, and that of float8_e4m3fn
KINDS = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
LEAST_SCALE = 1e-12  # of a row of zeros
BLOCK = 2**22  # numbers that are quantised at a time: what is wider than the weight stays small beside it

# room(weight [N, K], kind) -> where that weight is to be kept, and its scales [N] in 8 bits
Room = Callable[[Tensor, str], tuple[Tensor, Tensor | None]]


def widened(where: Placement) -> str | None:
    """A line that says why weights in 8 bits are widened on a GPU; None where they are not."""
    if where.quantisation == "none" or where.device.type != "cuda":
        return None
    if reason := kernels_available(where.device):
        return f"quantisation: {where.quantisation} saves memory on {where.device}, but no time: {reason}"
    return None


def quantise(weight: Tensor, levels: Tensor, scale: Tensor) -> None:
    """Write `weight` [N, K] as `levels` [N, K] in 8 bits and `scale` [N]; it is about their product, row by row."""
    low, high = weight.aminmax(dim=1)
    whole = levels.dtype == torch.int8
    least, most = torch.finfo(torch.float32).tiny, LEVELS["int8" if whole else "fp8"]
    # rounded to its type first, so that the levels fit the scale that is kept
    scale.copy_((torch.maximum(-low, high).float() / most).clamp_min(least))
    step = max(1, BLOCK // weight.shape[1])
    for rows in (slice(first, first + step) for first in range(0, len(weight), step)):
        wide = weight[rows] / scale[rows, None].float().clamp_min(least)  # in float32
        levels[rows].copy_((wide.round_() if whole else wide).clamp_(-most, most))


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
    """A linear layer without bias whose weight may be int8; `scale` [N] then belongs to it."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows, bias=False)
        self.scale: Tensor | None = None
        self._room: Room | None = None  # that a stack keeps for its weight

    def hold(self, weight: Tensor, kind: str = "none") -> None:
        """Compute with `weight` [N, K] from now on, in 8 bits where `kind` is one of KINDS; for inference.

        A layer of a stack copies it there; another one keeps the tensor itself, unless it gets fewer bits.
        """
        kept, scale = (self._room or _own_room)(weight, kind)
        if scale is not None:
            quantise(weight, kept, scale)
        elif kept is not weight:
            kept.copy_(weight)
        self.weight, self.scale = nn.Parameter(kept, requires_grad=False), scale

    def join(self, room: Room) -> None:
        """Be a layer of a stack, which keeps this `room` for the weight: the one it has moves there."""
        self._room = room
        if not self.weight.is_meta:
            self.hold(self.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` [..., K] to [..., N]."""
        return product(x, self.weight, self.scale)


def _own_room(weight: Tensor, kind: str) -> tuple[Tensor, Tensor | None]:
    """The `Room` of a layer that is alone."""
    return _empty(weight, len(weight), kind) if kind in KINDS else (weight, None)


def _empty(like: Tensor, rows: int, kind: str) -> tuple[Tensor, Tensor | None]:
    """Memory for a weight of so many rows, `like` this one otherwise, and for their scales in 8 bits."""
    weight = like.new_empty(rows, *like.shape[1:], dtype=KINDS.get(kind, like.dtype))
    return weight, like.new_empty(rows) if kind in KINDS else None


class Stack(Linear):
    """Layers computed by one product: their weights are rows of its own, so that nothing is stored twice.

    It takes memory when the first of them is given its weight.
    """

    def __init__(self, *layers: Linear) -> None:
        with torch.device("meta"):
            super().__init__(layers[0].in_features, sum(layer.out_features for layer in layers))
        self.requires_grad_(False)
        self._taken = False  # its memory
        first = 0
        for layer in layers:
            layer.join(partial(self._rows, slice(first, first + layer.out_features)))
            first += layer.out_features

    def _rows(self, rows: slice, weight: Tensor, kind: str) -> tuple[Tensor, Tensor | None]:
        """The `Room` for the layer of these rows."""
        if not self._taken:
            whole, self.scale = _empty(weight, self.out_features, kind)
            self.weight, self._taken = nn.Parameter(whole, requires_grad=False), True
        return self.weight.detach()[rows], None if self.scale is None else self.scale[rows]
