"""What the parts of a layer take: its products by their rows, and attention, ours beside the libraries'.

For whoever has another device than those in docs/gpu.md: tiles that suit one need not suit the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...engine.decoding.cuda_graphs import Captures
from ...engine.decoding.probe import HIDDEN
from ...engine.device import kernels_available
from ...engine.families import Model
from ...engine.model.llama import LlamaLayer
from ...engine.model.quantise import Linear
from .roofline import median

ROWS = (1, 16, 64, 128)
SLOTS, SHARE = 400, 0.9  # that attention looks at, and the part of them that each row sees
TIMES = 32  # that one attention is run in turn
BACKENDS = {"efficient": SDPBackend.EFFICIENT_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
PRODUCTS: dict[str, Callable[[LlamaLayer], Linear]] = {
    "qkv": lambda layer: layer.self_attn._fused[0],
    "out": lambda layer: layer.self_attn.o_proj,
    "gate_up": lambda layer: layer.mlp._fused[0],
    "down": lambda layer: layer.mlp.down_proj,
}

Figures = dict[str, dict[str, float]]  # by number of rows
Work = Callable[[], object]


@torch.inference_mode()
def parts(model: Model) -> dict[str, Figures]:
    """Microseconds of each product of a layer and of its attention, by rows; of products also GB/s and TFLOP/s.

    A product goes through all layers in turn, so that its weights come from memory. modules: as passes are without
    kernels; ours: in kernels, where they can be had. What a device does not have is left out.
    """
    layers = [layer for layer in model.network.language_model.model.layers if isinstance(layer, LlamaLayer)]
    found = {
        name: {str(rows): _product(model, [part(layer) for layer in layers], rows) for rows in ROWS}
        for name, part in PRODUCTS.items()
    }
    return found | {"attention": {str(rows): _attention(model, rows) for rows in ROWS}}


def _product(model: Model, layers: Sequence[Linear], rows: int) -> dict[str, float]:
    device, dtype = model.where.device, model.where.dtype
    weight = layers[0].weight
    x = torch.randn(rows, layers[0].in_features, device=device, dtype=dtype)
    ways: dict[str, list[Work]] = {"modules": [_called(layer, x) for layer in layers]}
    if dtype != torch.float32 and kernels_available(device) is None:
        from ...engine.model.products import Weight, rows_for  # brings Triton

        weights = [Weight(layer) for layer in layers]
        its = rows_for(x, weights[0].kind)
        ways["ours"] = [_called(each.of, its, dtype) for each in weights]
    made = {}
    for name, work in ways.items():
        seconds = _seconds(work, device)
        made[f"{name}_us"] = _short(1e6 * seconds)
        made[f"{name}_gb_s"] = _short(weight.nbytes / seconds / 1e9)
        made[f"{name}_tflop_s"] = _short(2 * rows * weight.numel() / seconds / 1e12)
    return made


def _attention(model: Model, rows: int) -> dict[str, float]:
    config, device, dtype = model.network.language_model.config, model.where.device, model.where.dtype
    heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    keys, values = (torch.randn(kv_heads, SLOTS, width, device=device, dtype=dtype) for _ in range(2))
    qkv = torch.randn(rows, heads + 2 * kv_heads, width, device=device, dtype=dtype)
    seen = torch.full((rows,), round(SHARE * SLOTS), device=device)
    mask = torch.where(torch.arange(SLOTS, device=device) < seen[:, None], 0.0, HIDDEN).to(dtype)
    q = qkv[:, :heads].transpose(0, 1)[None]

    def library() -> Tensor:
        grouped = heads != kv_heads
        return F.scaled_dot_product_attention(q, keys[None], values[None], mask, enable_gqa=grouped)

    ways: dict[str, tuple[Work, AbstractContextManager[object]]] = {}
    if device.type == "cuda":
        ways = {name: (library, sdpa_kernel(backend)) for name, backend in BACKENDS.items()}
    else:
        ways["modules"] = (library, nullcontext())
    if dtype != torch.float32 and kernels_available(device) is None:
        from ...engine.model.products import attend  # brings Triton

        none = torch.zeros_like(seen)
        ways["ours"] = (lambda: attend(qkv, keys, values, seen, none, none[:1]), nullcontext())
    made = {}
    for name, (work, chosen) in ways.items():
        try:
            with chosen:
                made[f"{name}_us"] = _short(1e6 * _seconds([work] * TIMES, device))
        except RuntimeError:  # no kernel of that library for these shapes on this device
            continue
    return made


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _called(work: Callable[..., object], *args: object) -> Work:
    return lambda: work(*args)


def _seconds(works: Sequence[Work], device: torch.device) -> float:
    """Seconds of one of `works`, run in turn; captured where there is CUDA, so that no launch is waited for."""

    def run() -> None:
        for work in works:
            work()

    return median(Captures().capture(run) if device.type == "cuda" else run, device) / len(works)
