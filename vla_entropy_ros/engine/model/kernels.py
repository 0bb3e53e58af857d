"""Triton kernels of a decoder layer: products by 16- and 8-bit weights, and what lies between them.

A product computes the transpose, weight [N, K] times rows^T [K, M]: the weight is the operand that tensor cores read
from registers, so 8 bits are widened on the way and never stored wider. Sums run over K in the same order whatever the
number of rows, so a row's result does not depend, to the bit, on how many stand beside it.
"""

from __future__ import annotations

import triton
import triton.language as tl

PLAIN, INT8, FP8 = 0, 1, 2  # kinds of weights
LARGEST = tl.constexpr(448.0)  # of float8_e4m3fn
BRANCHES = tl.constexpr(62)  # bits of a row's `branch`
HIDDEN = tl.constexpr(-1e30)  # a score that weighs nothing
LEAST = tl.constexpr(1e-12)  # scale of a block of zeros


@triton.jit  # type: ignore[untyped-decorator]
def _dot(a, b, total, KIND: tl.constexpr):  # type: ignore[no-untyped-def]
    """Add a weight's tile [BN, BK] times that of rows [BK, BM]; both are in 8 bits where KIND is FP8."""
    if KIND == 2:
        return tl.dot(a, b, total)
    return tl.dot(a.to(b.dtype), b, total, input_precision="ieee")


@triton.jit  # type: ignore[untyped-decorator]
def _scaled(total, xs, ws, m, n, M, N, KIND: tl.constexpr):  # type: ignore[no-untyped-def]
    """Times the scale of each output, and of each row where KIND is FP8."""
    if KIND > 0:
        total *= tl.load(ws + n, mask=n < N, other=0.0).to(tl.float32)[:, None]
    if KIND == 2:
        total *= tl.load(xs + m, mask=m < M, other=0.0)[None, :]
    return total


@triton.jit
def _rounded(row, scale):  # type: ignore[no-untyped-def]
    """A row over its scale, which is stored: its largest value becomes the largest of 8 bits."""
    size = tl.maximum(tl.max(tl.abs(row), 0) / LARGEST, LEAST)
    tl.store(scale, size)
    return row / size


@triton.jit  # type: ignore[untyped-decorator]
def _tile(x, weight, m, n, first, last, M, N, K, KIND: tl.constexpr, EVEN: tl.constexpr,  # type: ignore[no-untyped-def]
          BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """Sum [BN, BM] over K steps `first` to `last` of weight [n, K] times x [m, K]."""
    k = first * BK + tl.arange(0, BK)
    left = weight + n[:, None].to(tl.int64) * K + k[None, :]
    right = x + m[None, :].to(tl.int64) * K + k[:, None]
    there = m[None, :] < M
    total = tl.zeros((BN, BM), dtype=tl.float32)
    for step in range(first, last):
        if EVEN:
            a = tl.load(left)
            b = tl.load(right, mask=there, other=0.0)
        else:
            inside = step * BK + tl.arange(0, BK) < K
            a = tl.load(left, mask=(n[:, None] < N) & inside[None, :], other=0.0)
            b = tl.load(right, mask=there & inside[:, None], other=0.0)
        total = _dot(a, b, total, KIND)
        left += BK
        right += BK
    return total


@triton.jit  # type: ignore[untyped-decorator]
def product_kernel(x, xs, weight, ws, out, M, N, K, STEPS, KIND: tl.constexpr, EVEN: tl.constexpr,  # type: ignore[no-untyped-def]
                   BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """One tile of out [parts, M, N]: x [M, K] times weight [N, K] transposed, over the STEPS of one part of K."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)  # neighbours share their weights through the L2 cache
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    part = tl.program_id(2)
    first = part * STEPS
    last = tl.minimum(first + STEPS, tl.cdiv(K, BK))
    total = _tile(x, weight, m, n, first, last, M, N, K, KIND, EVEN, BM, BN, BK)
    total = _scaled(total, xs, ws, m, n, M, N, KIND)
    target = out + (part * M + m[:, None]).to(tl.int64) * N + n[None, :]
    keep = (m[:, None] < M) & (n[None, :] < N)
    tl.store(target, tl.trans(total).to(out.dtype.element_ty), mask=keep)


@triton.jit  # type: ignore[untyped-decorator]
def few_rows_kernel(x, weight, ws, out, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # type: ignore[no-untyped-def]
    """One tile of out [M, N] of int8 weights and at most BM rows: many small tiles keep more bytes on their way."""
    m, n, k = tl.arange(0, BM), tl.program_id(0) * BN + tl.arange(0, BN), tl.arange(0, BK)
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
    total *= tl.load(ws + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    tl.store(out + m[:, None].to(tl.int64) * N + n[None, :], total.to(out.dtype.element_ty), mask=row & column)


@triton.jit  # type: ignore[untyped-decorator]
def gate_kernel(x, out, N, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """WIDTH columns of one row: out [M, N] = silu(gate) times up, of x [M, 2 N], gate first."""
    r = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    gate = tl.load(x + r * 2 * N + c, mask=c < N, other=0.0).to(tl.float32)
    up = tl.load(x + r * 2 * N + N + c, mask=c < N, other=0.0).to(tl.float32)
    tl.store(out + r * N + c, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), mask=c < N)


@triton.jit  # type: ignore[untyped-decorator]
def gated_kernel(x, xs, weight, ws, out, M, N, K, KIND: tl.constexpr, EVEN: tl.constexpr,  # type: ignore[no-untyped-def]
                 BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """One tile of out [M, N]: silu(x times gate) x times up; weight [2 N, K], gate first."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    gates = weight + n[:, None].to(tl.int64) * K + k[None, :]
    ups = weight + (N + n)[:, None].to(tl.int64) * K + k[None, :]
    right = x + m[None, :].to(tl.int64) * K + k[:, None]
    there = m[None, :] < M
    gate = tl.zeros((BN, BM), dtype=tl.float32)
    up = tl.zeros((BN, BM), dtype=tl.float32)
    for step in range(tl.cdiv(K, BK)):
        if EVEN:
            b = tl.load(right, mask=there, other=0.0)
            a = tl.load(gates)
            c = tl.load(ups)
        else:
            inside = step * BK + k < K
            within = (n[:, None] < N) & inside[None, :]
            b = tl.load(right, mask=there & inside[:, None], other=0.0)
            a = tl.load(gates, mask=within, other=0.0)
            c = tl.load(ups, mask=within, other=0.0)
        gate, up = _dot(a, b, gate, KIND), _dot(c, b, up, KIND)
        gates += BK
        ups += BK
        right += BK
    gate, up = _scaled(gate, xs, ws, m, n, M, N, KIND), _scaled(up, xs, ws, m, N + n, M, 2 * N, KIND)
    y = gate * tl.sigmoid(gate) * up
    target = out + m[:, None].to(tl.int64) * N + n[None, :]
    keep = (m[:, None] < M) & (n[None, :] < N)
    tl.store(target, tl.trans(y).to(out.dtype.element_ty), mask=keep)


@triton.jit  # type: ignore[untyped-decorator]
def add_norm_kernel(x, parts, weight, out, outs, M, D, eps, PARTS: tl.constexpr, KIND: tl.constexpr,  # type: ignore[no-untyped-def]
                    WIDTH: tl.constexpr):  # fmt: skip
    """One row: x [M, D] += the sum of `parts` [PARTS, M, D]; out = its root-mean-square norm."""
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, WIDTH)
    keep = c < D
    row = tl.load(x + r * D + c, mask=keep, other=0.0).to(tl.float32)
    if PARTS > 0:
        added = tl.load(parts + r * D + c, mask=keep, other=0.0)
        for part in tl.static_range(1, PARTS):
            added += tl.load(parts + (part * M + r) * D + c, mask=keep, other=0.0)
        row = (row + added.to(x.dtype.element_ty).to(tl.float32)).to(x.dtype.element_ty)
        tl.store(x + r * D + c, row, mask=keep)
        row = row.to(tl.float32)
    row = row * tl.rsqrt(tl.sum(row * row, 0) / D + eps)
    row = row.to(x.dtype.element_ty) * tl.load(weight + c, mask=keep, other=0.0)
    if KIND == 2:
        row = _rounded(row.to(tl.float32), outs + r)
    tl.store(out + r * D + c, row.to(out.dtype.element_ty), mask=keep)


@triton.jit  # type: ignore[untyped-decorator]
def add_layer_norm_kernel(x, added, weight, bias, out, D, eps, ADDED: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """One row: x [M, D] += added [M, D]; out = its layer norm."""
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, WIDTH)
    keep = c < D
    row = tl.load(x + r * D + c, mask=keep, other=0.0).to(tl.float32)
    if ADDED:
        row = (row + tl.load(added + r * D + c, mask=keep, other=0.0).to(tl.float32)).to(x.dtype.element_ty)
        tl.store(x + r * D + c, row, mask=keep)
        row = row.to(tl.float32)
    apart = tl.where(keep, row - tl.sum(row, 0) / D, 0.0)
    row = (
        apart * tl.rsqrt(tl.sum(apart * apart, 0) / D + eps) * tl.load(weight + c, mask=keep, other=0.0).to(tl.float32)
    )
    row += tl.load(bias + c, mask=keep, other=0.0).to(tl.float32)
    tl.store(out + r * D + c, row.to(out.dtype.element_ty), mask=keep)


@triton.jit  # type: ignore[untyped-decorator]
def round_kernel(x, out, outs, D, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """One row of x [M, D] in 8 bits, and its scale."""
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, WIDTH)
    keep = c < D
    row = _rounded(tl.load(x + r * D + c, mask=keep, other=0.0).to(tl.float32), outs + r)
    tl.store(out + r * D + c, row.to(out.dtype.element_ty), mask=keep)


@triton.jit  # type: ignore[untyped-decorator]
def embed_kernel(source, token, inputs, embeddings, out, D, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """One row of out [R, D]: that of `inputs` which `source` names, or where it names none the embedding of `token`."""
    r = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, WIDTH)
    number, word = tl.load(source + r), tl.load(token + r)
    held = tl.load(inputs + number * D + c, mask=(c < D) & (number >= 0), other=0.0)
    row = tl.load(embeddings + word * D + c, mask=(c < D) & (number < 0), other=0.0)
    tl.store(out + r * D + c, tl.where(number >= 0, held, row), mask=c < D)


@triton.jit  # type: ignore[untyped-decorator]
def rotate_kernel(qkv, cos, sin, position, slot, query, keys, values, queries, LENGTH, KEPT, HALF,  # type: ignore[no-untyped-def]
                  H: tl.constexpr, HK: tl.constexpr, GROUP: tl.constexpr, WIDTH: tl.constexpr):  # fmt: skip
    """One row of qkv [R, H + 2 HK, 2 HALF]: rotate q in place and k, write k and v to the row's slot, keep q if asked.

    cos and sin [positions, 2 HALF], the first half of the sine negated; keys and values [HK, LENGTH, 2 HALF]; queries
    [H, KEPT + 1, 2 HALF], of which the last is scratch.
    """
    r = tl.program_id(0).to(tl.int64)
    h = tl.program_id(1) * GROUP + tl.arange(0, GROUP)
    c = tl.arange(0, WIDTH)
    column = c[None, :]
    keep = (h < H + 2 * HK)[:, None] & (column < HALF)
    at = qkv + (r * (H + 2 * HK) + h[:, None]) * 2 * HALF + column
    one = tl.load(at, mask=keep, other=0.0).to(tl.float32)
    two = tl.load(at + HALF, mask=keep, other=0.0).to(tl.float32)
    p = tl.load(position + r)
    cosine = tl.load(cos + p * 2 * HALF + c, mask=c < HALF, other=0.0).to(tl.float32)[None, :]
    sine = tl.load(sin + p * 2 * HALF + HALF + c, mask=c < HALF, other=0.0).to(tl.float32)[None, :]
    turned = (h < H + HK)[:, None]
    first = tl.where(turned, one * cosine - two * sine, one).to(qkv.dtype.element_ty)
    second = tl.where(turned, two * cosine + one * sine, two).to(qkv.dtype.element_ty)
    asks = (h < H)[:, None] & keep
    tl.store(at, first, mask=asks)
    tl.store(at + HALF, second, mask=asks)
    s = tl.load(slot + r)
    is_key = ((h >= H) & (h < H + HK))[:, None] & keep
    key = keys + ((h - H)[:, None].to(tl.int64) * LENGTH + s) * 2 * HALF + column
    tl.store(key, first, mask=is_key)
    tl.store(key + HALF, second, mask=is_key)
    is_value = (h >= H + HK)[:, None] & keep
    value = values + ((h - H - HK)[:, None].to(tl.int64) * LENGTH + s) * 2 * HALF + column
    tl.store(value, first, mask=is_value)
    tl.store(value + HALF, second, mask=is_value)
    if query is not None:
        number = tl.load(query + r)
        kept = queries + (h[:, None].to(tl.int64) * (KEPT + 1) + number) * 2 * HALF + column
        tl.store(kept, first, mask=asks & (number < KEPT))
        tl.store(kept + HALF, second, mask=asks & (number < KEPT))


@triton.jit  # type: ignore[untyped-decorator]
def attend_kernel(qkv, keys, values, seen, branch, area, out, R, LENGTH, scale,  # type: ignore[no-untyped-def]
                  H: tl.constexpr, HK: tl.constexpr, D: tl.constexpr, BR: tl.constexpr, BS: tl.constexpr):  # fmt: skip
    """BR rows of one head: out [R, H, D]; a row sees slots below `seen`, and those from `area` on that `branch` names.

    scale: 1 / sqrt(D) times log2(e); area: one number.
    """
    h = tl.program_id(0)
    r = tl.program_id(1) * BR + tl.arange(0, BR)
    c = tl.arange(0, D)
    there = r < R
    q = tl.load(qkv + (r[:, None].to(tl.int64) * (H + 2 * HK) + h) * D + c[None, :], mask=there[:, None], other=0.0)
    below = tl.load(seen + r, mask=there, other=1)
    bits = tl.load(branch + r, mask=there, other=0)
    begin = tl.load(area)
    branched = tl.max(tl.where(bits != 0, 1, 0), 0)
    end = tl.minimum(tl.maximum(tl.max(below, 0), branched * (begin + BRANCHES)), LENGTH)  # nothing is seen behind it
    head = (h // (H // HK)).to(tl.int64) * LENGTH * D
    top = tl.full((BR,), HIDDEN, tl.float32)
    mass = tl.zeros((BR,), tl.float32)
    total = tl.zeros((BR, D), tl.float32)
    for start in range(0, end, BS):
        s = start + tl.arange(0, BS)
        holds = s < end
        key = tl.load(keys + head + s[None, :] * D + c[:, None], mask=holds[None, :], other=0.0)
        score = tl.dot(q, key, input_precision="ieee") * scale
        n = s - begin
        inside = (n >= 0) & (n < BRANCHES)
        named = ((bits[:, None] >> tl.where(inside, n, 0)[None, :]) & 1) == 1
        visible = ((s[None, :] < below[:, None]) | (inside[None, :] & named)) & holds[None, :]
        score = tl.where(visible, score, HIDDEN)
        high = tl.maximum(top, tl.max(score, 1))
        share = tl.where(visible, tl.exp2(score - high[:, None]), 0.0)
        fade = tl.exp2(top - high)
        value = tl.load(values + head + s[:, None] * D + c[None, :], mask=holds[:, None], other=0.0)
        mass = mass * fade + tl.sum(share, 1)
        total = tl.dot(share.to(value.dtype), value, total * fade[:, None], input_precision="ieee")
        top = high
    total = total / mass[:, None]
    target = out + (r[:, None].to(tl.int64) * H + h) * D + c[None, :]
    tl.store(target, total.to(out.dtype.element_ty), mask=there[:, None])
