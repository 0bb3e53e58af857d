"""Triton kernels, for CUDA only: products with int8 weights, which are read once and widened on the way."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

FEW = 16  # rows up to which a product is bound by the weights alone


def _configurations() -> list[triton.Config]:
    few = [(16, n, k, warps, stages) for n, k, warps, stages in ((32, 256, 4, 4), (64, 128, 4, 5), (32, 128, 4, 6))]
    many = [(64, 128, 64, 4, 4), (128, 128, 64, 8, 4), (64, 64, 128, 4, 4), (128, 64, 64, 4, 4)]
    return [
        triton.Config({"BM": m, "BN": n, "BK": k}, num_warps=warps, num_stages=stages)
        for m, n, k, warps, stages in (*few, *many)
    ]


@triton.autotune(configs=_configurations(), key=["many", "N", "K"])  # type: ignore[untyped-decorator]
@triton.jit  # type: ignore[untyped-decorator]
def _int8_product(  # type: ignore[no-untyped-def]
    x, weight, scale, out, M, N, K, many, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr  # noqa: ARG001 (a key)
):  # fmt: skip
    """One tile [BM, BN] of out [M, N] = x [M, K] @ weight [N, K]^T * scale [N]."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)  # neighbours share their weights through the L2 cache
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    row, column = m[:, None] < M, n[None, :] < N
    left = x + m[:, None].to(tl.int64) * K + k[None, :]
    right = weight + n[None, :].to(tl.int64) * K + k[:, None]
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        rest = K - start
        a = tl.load(left, mask=row & (k[None, :] < rest), other=0.0)
        b = tl.load(right, mask=column & (k[:, None] < rest), other=0)
        total = tl.dot(a, b.to(a.dtype), total, input_precision="ieee")
        left += BK
        right += BK
    total *= tl.load(scale + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    tl.store(out + m[:, None].to(tl.int64) * N + n[None, :], total.to(out.dtype.element_ty), mask=row & column)


def int8_product(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """`x` [..., K] times the transpose of int8 `weight` [N, K], contiguous, times `scale` [N]; in the dtype of `x`."""
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    (count, columns), width = rows.shape, len(weight)
    out = torch.empty(count, width, device=x.device, dtype=x.dtype)

    def grid(chosen: dict[str, int]) -> tuple[int, int]:
        return triton.cdiv(count, chosen["BM"]), triton.cdiv(width, chosen["BN"])

    _int8_product[grid](rows, weight, scale, out, count, width, columns, int(count > FEW))
    return out.view(*x.shape[:-1], width)
