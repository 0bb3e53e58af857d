"""What `kernels` computes, on tensors: products with a decoder's weights, and the steps between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import triton
from torch import Tensor, nn
from torch.nn import functional as F

from .kernels import (
    FP8,
    INT8,
    PLAIN,
    add_layer_norm_kernel,
    add_norm_kernel,
    attend_kernel,
    embed_kernel,
    few_rows_kernel,
    gate_kernel,
    gated_kernel,
    product_kernel,
    rotate_kernel,
    round_kernel,
)  # fmt: skip
from .quantise import Linear

FEW, SOME = 16, 64  # rows: up to FEW a product waits for its weights alone; above SOME, 16 bits are cuBLAS's
PARTS = 4  # of K, added up by the next kernel, where a product has few outputs: so that every processor has a share
FEW_OUTPUTS = 6000  # of a product below which its K is cut into parts
KINDS = {torch.int8: INT8, torch.float8_e4m3fn: FP8}
SHARED = 101_376  # bytes of shared memory that a program may have on any device since Ampere


@dataclass(frozen=True)
class Rows:
    """Rows [M, K] on their way to a product; scale [M] where they are in 8 bits."""

    values: Tensor
    scale: Tensor | None = None


@dataclass(frozen=True)
class Tile:
    """Rows, outputs and inputs that one program works on at a time, its warps, and tiles on their way."""

    rows: int
    outputs: int
    inputs: int
    warps: int
    stages: int

    def within(self, shared: int, row: int, weight: int) -> Tile:
        """The tile with as many stages as `shared` bytes hold; row, weight: bytes of one row's, one output's input."""
        stage = self.inputs * (self.rows * row + self.outputs * weight)
        return replace(self, stages=max(1, min(self.stages, shared // stage)))


def tile(rows: int, kind: int, gated: bool) -> Tile:
    """The tile of a product of `rows`, as measured on Hopper; gated: of two weights at once."""
    wide = 64 if kind == PLAIN else 128
    if rows <= SOME:
        least = FEW if rows <= FEW else 32 if rows <= 32 else SOME
        return Tile(least, 64, wide, 4, 3 if kind == INT8 else 4 if gated or kind == FP8 else 5)
    if gated:
        return Tile(128, 128, wide, 8, 4) if kind == FP8 else Tile(64, 64, wide, 4, 3)
    return Tile(128, 64, wide, 4, 4) if kind == FP8 else Tile(128, 64, 64, 4, 3)


class Weight:
    """A linear layer's weight [N, K] as the kernels take it."""

    def __init__(self, layer: Linear) -> None:
        self.tensor, self.scale = layer.weight.detach(), layer.scale
        self.outputs, self.inputs = self.tensor.shape
        self.kind = KINDS.get(self.tensor.dtype, PLAIN)
        self._parts = PARTS if self.outputs < FEW_OUTPUTS and self.inputs >= 4096 else 1

    def of(self, rows: Rows, dtype: torch.dtype) -> Tensor:
        """Product [parts, M, N] of rows [M, K]; their sum is the result, in float32 where there are several."""
        x, count = rows.values, len(rows.values)
        if self._apart(count):
            if self.kind == PLAIN:
                return F.linear(x, self.tensor)[None]
            out = torch.empty(1, count, self.outputs, device=x.device, dtype=dtype)
            few_rows_kernel[(triton.cdiv(self.outputs, 32),)](
                x, self.tensor, self.scale, out, count, self.outputs, self.inputs, BM=FEW, BN=32, BK=256, num_warps=4,
                num_stages=_stages(x.device, 4, 256 * (FEW * x.itemsize + 32)),
            )  # fmt: skip
            return out
        t, parts = self._tile(rows, gated=False), self._parts
        steps = -(-triton.cdiv(self.inputs, t.inputs) // parts)
        kind = torch.float32 if parts > 1 else dtype
        out = torch.empty(parts, count, self.outputs, device=x.device, dtype=kind)
        even = self.inputs % t.inputs == 0 and self.outputs % t.outputs == 0
        product_kernel[(triton.cdiv(count, t.rows), triton.cdiv(self.outputs, t.outputs), parts)](
            x, rows.scale, self.tensor, self.scale, out, count, self.outputs, self.inputs, steps,
            KIND=self.kind, EVEN=even, BM=t.rows, BN=t.outputs, BK=t.inputs, num_warps=t.warps, num_stages=t.stages,
        )  # fmt: skip
        return out

    def gated(self, rows: Rows, dtype: torch.dtype) -> Tensor:
        """silu(gate) * up [M, N / 2] of rows [M, K]; the weight is gate [N / 2, K] and up, stacked."""
        x, count, outputs = rows.values, len(rows.values), self.outputs // 2
        out = torch.empty(count, outputs, device=x.device, dtype=dtype)
        if self._apart(count):
            gate_kernel[(count, triton.cdiv(outputs, 1024))](self.of(rows, dtype), out, outputs, WIDTH=1024)
            return out
        t = self._tile(rows, gated=True)
        even = self.inputs % t.inputs == 0 and outputs % t.outputs == 0
        gated_kernel[(triton.cdiv(count, t.rows), triton.cdiv(outputs, t.outputs))](
            x, rows.scale, self.tensor, self.scale, out, count, outputs, self.inputs,
            KIND=self.kind, EVEN=even, BM=t.rows, BN=t.outputs, BK=t.inputs, num_warps=t.warps, num_stages=t.stages,
        )  # fmt: skip
        return out

    def _apart(self, count: int) -> bool:
        """Whether a product of so many rows is none of tiles: of 16 bits cuBLAS's, of int8 one for a few rows."""
        return (self.kind == PLAIN and count > SOME) or (self.kind == INT8 and count <= FEW)

    def _tile(self, rows: Rows, gated: bool) -> Tile:
        chosen, weight = tile(len(rows.values), self.kind, gated), self.tensor.itemsize * (2 if gated else 1)
        return chosen.within(_shared(rows.values.device), rows.values.itemsize, weight)


def add_norm(x: Tensor, parts: Tensor | None, weight: Tensor, eps: float, kind: int) -> Rows:
    """Add the sum of `parts` [P, M, D] to `x` [M, D] in place; its norm for a product with weights of `kind`."""
    count, width = x.shape
    out, scale = _rows_like(x, kind)
    add_norm_kernel[(count,)](
        x, parts, weight, out, scale, count, width, eps, PARTS=0 if parts is None else len(parts), KIND=kind,
        WIDTH=triton.next_power_of_2(width), num_warps=8,
    )  # fmt: skip
    return Rows(out, scale)


def add_layer_norm(x: Tensor, added: Tensor | None, norm: nn.LayerNorm) -> Tensor:
    """Add `added` to `x` [..., D] in place, both contiguous; return the layer norm of the sum."""
    width, out = x.shape[-1], torch.empty_like(x)
    add_layer_norm_kernel[(x.numel() // width,)](
        x, added, norm.weight, norm.bias, out, width, norm.eps, ADDED=added is not None,
        WIDTH=triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    return out


def rows_for(x: Tensor, kind: int) -> Rows:
    """Rows [M, D] as a product with weights of `kind` takes them."""
    if kind != FP8:
        return Rows(x)
    out, scale = _rows_like(x, kind)
    count, width = x.shape
    round_kernel[(count,)](x, out, scale, width, WIDTH=triton.next_power_of_2(width), num_warps=8)
    return Rows(out, scale)


def embed_rows(source: Tensor, token: Tensor, inputs: Tensor, embeddings: Tensor) -> Tensor:
    """Rows [R, D]: those of `inputs` which `source` [R] names, where it is negative the embedding of `token` [R]."""
    width = inputs.shape[1]
    out = torch.empty(len(source), width, device=inputs.device, dtype=inputs.dtype)
    embed_kernel[(len(source),)](
        source, token, inputs, embeddings, out, width, WIDTH=triton.next_power_of_2(width), num_warps=8
    )
    return out


def rotate_into(
    qkv: Tensor, cos: Tensor, sin: Tensor, position: Tensor, slot: Tensor, query: Tensor | None, keys: Tensor,
    values: Tensor, queries: Tensor,
) -> None:  # fmt: skip
    """Rotate qkv [R, H + 2 Hkv, hd] in place, write its keys and values into slots, keep the queries asked for."""
    rows, count, width = qkv.shape
    kv_heads, length, _ = keys.shape
    group = min(32, triton.next_power_of_2(count))
    rotate_kernel[(rows, triton.cdiv(count, group))](
        qkv, cos, sin, position, slot, query, keys, values, queries, length, queries.shape[1] - 1, width // 2,
        H=count - 2 * kv_heads, HK=kv_heads, GROUP=group, WIDTH=triton.next_power_of_2(width // 2), num_warps=4,
    )  # fmt: skip


def attend(qkv: Tensor, keys: Tensor, values: Tensor, seen: Tensor, branch: Tensor, area: Tensor) -> Tensor:
    """Attention [R, H * hd] of rotated qkv [R, H + 2 Hkv, hd] over slots [Hkv, length, hd]; hd: a power of two.

    A row sees the first `seen` [R] slots, and slot area + n for bit n of its `branch` [R]; area: one number.
    """
    rows, count, width = qkv.shape
    kv_heads, length, _ = keys.shape
    heads = count - 2 * kv_heads
    out = torch.empty(rows, heads * width, device=qkv.device, dtype=qkv.dtype)
    at_once = FEW if rows <= SOME else 2 * FEW
    attend_kernel[(heads, triton.cdiv(rows, at_once))](
        qkv, keys, values, seen, branch, area, out, rows, length, math.log2(math.e) / math.sqrt(width), H=heads,
        HK=kv_heads, D=width, BR=at_once, BS=64, num_warps=4,
        num_stages=_stages(qkv.device, 3, 2 * 64 * width * qkv.itemsize),
    )  # fmt: skip
    return out


def _rows_like(x: Tensor, kind: int) -> tuple[Tensor, Tensor | None]:
    if kind != FP8:
        return torch.empty_like(x), None
    return torch.empty_like(x, dtype=torch.float8_e4m3fn), torch.empty(len(x), device=x.device)


def _stages(device: torch.device, most: int, stage: int) -> int:
    return max(1, min(most, _shared(device) // stage))


@lru_cache(maxsize=8)
def _shared(device: torch.device) -> int:
    """Bytes of shared memory that one program may have."""
    if device.type != "cuda":
        return SHARED
    return int(getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", SHARED))
