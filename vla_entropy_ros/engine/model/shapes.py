"""Shape of a network, of every tensor that a checkpoint stores of it, and the memory they need; by arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

PATCH = 14  # pixels along a side: of every tower that OpenVLA checkpoints have
TOWER_NAMES = ("featurizer", "fused_featurizer")
EMBEDDING, HEAD = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"
QUANTISED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")  # output head: left alone
WORKING = 7  # numbers that a pass holds for each of a row's in the feed-forward block
LOGITS = 6  # float32 numbers that are held for each logit of a row of drafts
PROBED = 2**24  # bytes of attention scores that are looked back at at a time
WORKSPACES = 4 * 2**25  # bytes: cuBLAS takes 32 MiB for each stream on Hopper, a quarter of it elsewhere

Shapes = Mapping[str, tuple[int, ...]]


class Positions(Protocol):
    """Of a decoder's sequence: how many there are, how many may be text, and how many drafts and what they become."""

    @property
    def count(self) -> int:
        """All of them."""
        ...

    @property
    def text(self) -> int:
        """Those of text."""
        ...

    @property
    def area(self) -> int:
        """Those behind the text."""
        ...


@dataclass(frozen=True)
class LlamaConfig:
    """Shape of a Llama decoder, by default Llama-2-7B's as OpenVLA has it; tied: the head is the embedding's weight."""

    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    vocab_size: int = 32064
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    tied: bool = False

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class TowerConfig:
    """Shape of one vision transformer; `depth` counts the blocks that are run, not those stored."""

    image_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    patch: int = PATCH
    class_token: bool = False
    registers: int = 0
    layer_scale: bool = False
    stem_width: int = 0  # 0: one linear patch embedding; else a two-convolution stem of that width

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch


def tensor_shapes(towers: Sequence[TowerConfig], llama: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of such a network by its name in an OpenVLA checkpoint; no head where it is tied."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tower in zip(TOWER_NAMES, towers, strict=False):
        shapes |= {f"vision_backbone.{name}.{part}": shape for part, shape in _tower(tower).items()}
    features, width = sum(tower.width for tower in towers), llama.hidden_size
    through = (features, 4 * features, width, width) if len(towers) == 2 else (features, width, width)
    for number, (columns, rows) in enumerate(pairwise(through), 1):
        shapes |= _linear(f"projector.fc{number}", columns, rows)
    return shapes | {f"language_model.{part}": shape for part, shape in _decoder(llama).items()}


def _tower(tower: TowerConfig) -> dict[str, tuple[int, ...]]:
    """Of a vision transformer, by timm's names."""
    width, stem = tower.width, tower.stem_width
    side, channels = (tower.patch // 2, stem) if stem else (tower.patch, 3)
    shapes: dict[str, tuple[int, ...]] = {"pos_embed": (1, tower.grid**2, width)}
    shapes |= {"cls_token": (1, 1, width)} if tower.class_token else {}
    shapes |= {"reg_token": (1, tower.registers, width)} if tower.registers else {}
    shapes |= {"patch_embed.stem.weight": (stem, 3, 5, 5), "patch_embed.stem.bias": (stem,)} if stem else {}
    shapes |= {"patch_embed.proj.weight": (width, channels, side, side), "patch_embed.proj.bias": (width,)}
    block: dict[str, tuple[int, ...]] = {
        f"{norm}.{part}": (width,) for norm in ("norm1", "norm2") for part in ("weight", "bias")
    }
    block |= _linear("attn.qkv", width, 3 * width) | _linear("attn.proj", width, width)
    block |= _linear("mlp.fc1", width, tower.mlp_width) | _linear("mlp.fc2", tower.mlp_width, width)
    block |= {f"{norm}.{part}": (width,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
    block |= {f"{scale}.scale_factor": (width,) for scale in ("ls1", "ls2") if tower.layer_scale}
    return shapes | {f"blocks.{i}.{part}": shape for i in range(tower.depth) for part, shape in block.items()}


def _linear(name: str, columns: int, rows: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _decoder(llama: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Of a Llama, by transformers' names."""
    width, hidden, grouped = llama.hidden_size, llama.intermediate_size, llama.num_key_value_heads * llama.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (grouped, width),
        "self_attn.v_proj": (grouped, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (hidden, width),
        "mlp.up_proj": (hidden, width),
        "mlp.down_proj": (width, hidden),
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"model.layers.{i}.{part}.weight": shape
        for i in range(llama.num_hidden_layers)
        for part, shape in layer.items()
    }
    shapes |= {"model.embed_tokens.weight": (llama.vocab_size, width), "model.norm.weight": (width,)}
    return shapes | ({} if llama.tied else {"lm_head.weight": (llama.vocab_size, width)})


def is_quantised(name: str) -> bool:
    """Whether the tensor of that name in a checkpoint becomes int8, where weights do."""
    path = name.split(".")
    return path[0] == "language_model" and path[-2] in QUANTISED


def memory_needed(
    shapes: Shapes, llama: LlamaConfig, positions: Positions, size: int, eight: bool, widened: bool = False
) -> int:  # fmt: skip
    """Bytes of device memory for a policy with weights of those shapes: they, what ticks hold, and what libraries take.

    size: bytes of a number; eight: whether the decoder's weights are in 8 bits; widened: whether each is widened again
    for its product, for want of a kernel that reads it as it is.
    """
    narrow = {name: shape for name, shape in shapes.items() if eight and is_quantised(name)}
    weights = sum(math.prod(shape) * (1 if name in narrow else size) for name, shape in shapes.items())
    weights += sum(shape[0] * size for shape in narrow.values())  # scales
    width, layers, grouped = llama.hidden_size, llama.num_hidden_layers, llama.num_key_value_heads * llama.head_dim
    kept = positions.count * (2 * layers * grouped + 4 * width) + positions.text * layers * width  # numbers
    working = WORKING * positions.count * llama.intermediate_size * size
    working += LOGITS * positions.area * llama.vocab_size * 4
    if eight and widened:
        working += max(2 * llama.intermediate_size, width + 2 * grouped) * width * size
    largest = max(math.prod(shape) for shape in shapes.values()) * size
    loading = 2 * largest if llama.tied else largest  # a tied head is compared with the embedding
    return weights + max(kept * size + max(working, 4 * PROBED), loading) + WORKSPACES
