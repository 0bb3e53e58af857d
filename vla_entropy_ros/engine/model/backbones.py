"""The vision towers a checkpoint may have, by the `vision_backbone_id` of its config.json.

Sizes are read off the stored tensors; the table holds what they do not tell. To add a backbone, add a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError
from ..files import shown
from .shapes import PATCH, Shapes, TowerConfig


@dataclass(frozen=True)
class TowerKind:
    """What tensors do not tell of a tower: heads, pixel normalisation, whether its last block is used.

    heads is 0 for a tower whose shape stands in config.json as `vision_config`. timm: what that library calls it; width
    and blocks: those of that tower, the last block and what is never used included.
    """

    heads: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    last_block_used: bool = False
    timm: str = ""
    width: int = 0
    blocks: int = 0


HALF = (0.5, 0.5, 0.5)
DINOV2 = TowerKind(
    16,
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
    timm="vit_large_patch14_reg4_dinov2.lvd142m",
    width=1024,
    blocks=24,
)
SIGLIP = TowerKind(16, HALF, HALF, timm="vit_so400m_patch14_siglip_224", width=1152, blocks=27)
SMALL = TowerKind(0, HALF, HALF, last_block_used=True)

BACKBONES: dict[str, tuple[TowerKind, ...]] = {
    "dinosiglip-vit-so-224px": (DINOV2, SIGLIP),
    "dinov2-vit-l": (DINOV2,),
    "siglip-vit-so400m": (SIGLIP,),
    "vla-entropy-vit": (SMALL,),
}
MOST = 2**16  # of any size of a tower


def find_backbone(name: object) -> tuple[TowerKind, ...]:
    """Towers of the backbone of that id; raises CheckpointError that lists the valid ids."""
    if not isinstance(name, str) or name not in BACKBONES:
        raise CheckpointError(f"unknown vision_backbone_id {shown(name)}: valid are {', '.join(BACKBONES)}")
    return BACKBONES[name]


def tower_config(kind: TowerKind, prefix: str, shapes: Shapes, image_size: int, described: Any) -> TowerConfig:
    """Shape of the tower stored under `prefix` ("vision_backbone.featurizer."); `described` is its vision_config."""
    if kind.heads:
        config = _inferred(kind, prefix, shapes, image_size)
    else:
        config = _described(prefix, shapes, image_size, described)
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
    needed = {"patch_embed.proj.weight": 4, "pos_embed": 3, "blocks.0.mlp.fc1.weight": 2}  # axes of each
    if missing := [prefix + name for name in needed if prefix + name not in shapes]:
        raise CheckpointError(f"missing tensors: {', '.join(missing)}")
    axes = needed | ({"reg_token": 3} if f"{prefix}reg_token" in shapes else {})
    for name, count in axes.items():
        if len(shape := shapes[prefix + name]) != count or not 0 < min(shape) <= max(shape) <= MOST:
            raise CheckpointError(f"misshaped tensor: {prefix}{name} is {list(shape)}: expected {count} axes")
    width, _, height, patch = shapes[f"{prefix}patch_embed.proj.weight"]
    if not height == patch == PATCH:
        raise CheckpointError(f"{prefix}patch_embed.proj.weight has patches of {height} x {patch}: valid is {PATCH}")
    blocks = _stored_blocks(prefix, shapes)
    if width == kind.width and blocks != kind.blocks:
        raise CheckpointError(f"{prefix}blocks are {blocks} of width {width}: this tower has {kind.blocks} of them")
    return TowerConfig(
        image_size=image_size,
        width=width,
        depth=blocks - (0 if kind.last_block_used else 1),
        heads=kind.heads,
        mlp_width=shapes[f"{prefix}blocks.0.mlp.fc1.weight"][0],
        patch=patch,
        class_token=f"{prefix}cls_token" in shapes,
        registers=shapes.get(f"{prefix}reg_token", (1, 0, 0))[1],
        layer_scale=f"{prefix}blocks.0.ls1.scale_factor" in shapes,
    )


def _described(prefix: str, shapes: Shapes, image_size: int, described: Any) -> TowerConfig:
    names = ("width", "depth", "heads", "mlp_width", "stem_width")
    if not isinstance(described, dict) or set(described) != set(names):
        raise CheckpointError(f"config.json: vision_config must have exactly the keys {', '.join(names)}")
    if wrong := [n for n in names if type(described[n]) is not int or not 1 <= described[n] <= MOST]:
        raise CheckpointError(f"config.json: vision_config: {', '.join(wrong)} must be whole numbers from 1 to {MOST}")
    if described["depth"] != (stored := _stored_blocks(prefix, shapes)):
        raise CheckpointError(
            f"config.json: vision_config.depth {described['depth']}, but the folder has tensors of {stored} blocks"
        )
    return TowerConfig(image_size=image_size, **described)


def _stored_blocks(prefix: str, shapes: Shapes) -> int:
    """How many blocks are stored; raises CheckpointError where some between are not."""
    start = f"{prefix}blocks."
    names = {name[len(start) :].partition(".")[0] for name in shapes if name.startswith(start)}
    if absent := [number for number in range(len(names)) if str(number) not in names]:
        raise CheckpointError(f"missing tensors: {start}{absent[0]} (there are {len(names)} blocks)")
    return len(names)
