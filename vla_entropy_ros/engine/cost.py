"""What a tick costs, by formula: the paper's figure and true floating-point operations."""

from __future__ import annotations

from .model.shapes import LlamaConfig, TowerConfig


def paper_macs(llama: LlamaConfig, rows: float) -> float:
    """The "FLOPs" of VLA-InfoEntropy and VLA-Cache: multiply-accumulates of the decoder layers in one prefill.

    Per layer 4 n d^2 + 2 n^2 d + 3 n d m, n = rows that are computed; output head, vision and decoding left out.
    """
    d, m = llama.hidden_size, llama.intermediate_size
    return llama.num_hidden_layers * (4 * rows * d * d + 2 * rows * rows * d + 3 * rows * d * m)


def decoder_flops(llama: LlamaConfig, rows: int, visible: int, heads_out: int = 1) -> int:
    """True operations (2 per multiply-accumulate) of a pass of `rows` that attends to `visible` slots.

    heads_out: rows whose logits over the vocabulary are computed.
    """
    d, m, grouped = llama.hidden_size, llama.intermediate_size, llama.num_key_value_heads * llama.head_dim
    layer = 2 * rows * (2 * d * d + 2 * d * grouped + 3 * d * m) + 4 * rows * visible * d
    return llama.num_hidden_layers * layer + 2 * heads_out * d * llama.vocab_size


def vision_flops(towers: tuple[TowerConfig, ...], width: int) -> int:
    """True operations of the towers and the projector to visual tokens of `width` channels."""
    features = sum(tower.width for tower in towers)
    tokens = towers[0].grid ** 2
    hidden = 4 * features if len(towers) == 2 else width
    products = features * hidden + hidden * width + (width * width if len(towers) == 2 else 0)
    return sum(_tower(tower) for tower in towers) + 2 * tokens * products


def _tower(tower: TowerConfig) -> int:
    tokens, w = tower.grid**2, tower.width
    rows = tokens + int(tower.class_token) + tower.registers
    if tower.stem_width:
        half = tower.patch // 2
        stem = (tower.image_size // 2) ** 2 * 3 * 25 * tower.stem_width
        embedding = stem + tokens * tower.stem_width * half * half * w
    else:
        embedding = tokens * 3 * tower.patch**2 * w
    block = 2 * rows * (4 * w * w + 2 * w * tower.mlp_width) + 4 * rows * rows * w
    return 2 * embedding + tower.depth * block
