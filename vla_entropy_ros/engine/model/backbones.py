"""The vision towers a checkpoint may have, by the `vision_backbone_id` of its config.json.

Sizes are read off the stored tensors; the table holds what they do not tell. To add a backbone, add a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError
from .vision import TowerConfig

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class TowerKind:
    """What tensors do not tell of a tower: heads, pixel normalisation, whether its last block is used.

    heads is 0 for a tower whose shape stands in config.json as `vision_config`.
    """

    heads: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    last_block_used: bool = False


HALF = (0.5, 0.5, 0.5)
DINOV2 = TowerKind(16, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ViT-L/14 with 4 registers
SIGLIP = TowerKind(16, HALF, HALF)  # so400m/14
SMALL = TowerKind(0, HALF, HALF, last_block_used=True)

BACKBONES: dict[str, tuple[TowerKind, ...]] = {
    "dinosiglip-vit-so-224px": (DINOV2, SIGLIP),
    "dinov2-vit-l": (DINOV2,),
    "siglip-vit-so400m": (SIGLIP,),
    "vla-entropy-vit": (SMALL,),
}
TOWER_NAMES = ("featurizer", "fused_featurizer")


def find_backbone(name: object) -> tuple[TowerKind, ...]:
    """Towers of the backbone of that id; raises CheckpointError that lists the valid ids."""
    if not isinstance(name, str) or name not in BACKBONES:
        raise CheckpointError(f"unknown vision_backbone_id {name!r}: valid are {', '.join(BACKBONES)}")
    return BACKBONES[name]


def tower_config(kind: TowerKind, prefix: str, shapes: Shapes, image_size: int, described: Any) -> TowerConfig:
    """Shape of the tower stored under `prefix` ("vision_backbone.featurizer."); `described` is its vision_config."""
    config = _inferred(kind, prefix, shapes, image_size) if kind.heads else _described(image_size, described)
    if image_size % config.patch:
        raise CheckpointError(f"image size {image_size} is no multiple of the patch size {config.patch}")
    if config.width % config.heads:
        raise CheckpointError(f"{prefix}: width {config.width} is no multiple of its {config.heads} heads")
    return config


def unused_tensors(kind: TowerKind, prefix: str, shapes: Shapes) -> set[str]:
    """Stored tensors that OpenVLA never uses: last block, final norm, attention pooling."""
    if kind.last_block_used:
        return set()
    skipped = (f"{prefix}norm.", f"{prefix}attn_pool.", f"{prefix}blocks.{_stored_blocks(prefix, shapes) - 1}.")
    return {name for name in shapes if name.startswith(skipped)}


def _inferred(kind: TowerKind, prefix: str, shapes: Shapes, image_size: int) -> TowerConfig:
    needed = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
    if missing := [prefix + name for name in needed if prefix + name not in shapes]:
        raise CheckpointError(f"missing tensors: {', '.join(missing)}")
    patch = shapes[f"{prefix}patch_embed.proj.weight"]
    if len(patch) != 4:
        raise CheckpointError(f"misshaped tensor: {prefix}patch_embed.proj.weight is {list(patch)}, not [D, 3, p, p]")
    registers = shapes.get(f"{prefix}reg_token", (1, 0, 0))
    return TowerConfig(
        image_size=image_size,
        width=patch[0],
        depth=_stored_blocks(prefix, shapes) - (0 if kind.last_block_used else 1),
        heads=kind.heads,
        mlp_width=shapes[f"{prefix}blocks.0.mlp.fc1.weight"][0],
        patch=patch[-1],
        class_token=f"{prefix}cls_token" in shapes,
        registers=registers[1],
        layer_scale=f"{prefix}blocks.0.ls1.scale_factor" in shapes,
    )


def _described(image_size: int, described: Any) -> TowerConfig:
    names = ("width", "depth", "heads", "mlp_width", "stem_width")
    if not isinstance(described, dict) or set(described) != set(names):
        raise CheckpointError(f"config.json: vision_config must have exactly the keys {', '.join(names)}")
    if wrong := [name for name in names if not isinstance(described[name], int) or described[name] < 1]:
        raise CheckpointError(f"config.json: vision_config: {', '.join(wrong)} must be a whole number above 0")
    return TowerConfig(image_size=image_size, **described)


def _stored_blocks(prefix: str, shapes: Shapes) -> int:
    start = f"{prefix}blocks."
    numbers = {name[len(start) :].partition(".")[0] for name in shapes if name.startswith(start)}
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)
