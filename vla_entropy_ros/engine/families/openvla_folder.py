"""What an OpenVLA folder holds, by its configuration and the headers of its weights; no torch, which takes seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ..actions.drafts import DRAFTED
from ..actions.tokens import ACTION_NAMES, BINS, ActionSpace
from ..decoding.sequence import Layout
from ..errors import CheckpointError
from ..files import plain
from ..model.backbones import TowerKind, tower_config, unused_tensors
from ..model.prompt import MAX_TEXT
from ..model.reading import check_tokenizer
from ..model.shapes import EMBEDDING, HEAD, TOWER_NAMES, LlamaConfig, Shapes, TowerConfig, memory_needed, tensor_shapes
from ..model.stored import StoredTensors
from ..tunables import DTYPE_BYTES
from .description import Description
from .openvla_config import PolicyConfig, read_config, read_outline

NAME = "openvla"
PARTS = ("language_model.", "vision_backbone.", "projector.")
LAYER = re.compile(r"language_model\.model\.layers\.(\d{1,6})\.")


def describe(folder: Path) -> Description:
    """See `Family`; where headers tell that the folder is refused, what takes over a second to read is left out."""
    told = Description(NAME, action_names=ACTION_NAMES)
    with told.attempt():
        outline = read_outline(folder)
        told.sizes |= {
            "vision backbone": outline.raw["vision_backbone_id"],
            "image size": outline.image_size,
            "cameras": outline.cameras,
            "visual tokens": outline.visual_tokens,
        }
        stored = StoredTensors(folder)
        told.remarks += stored.remarks
        with told.attempt():
            check_tokenizer(folder)
        if "num_hidden_layers" in outline.text:
            _check_layers(outline.text["num_hidden_layers"], stored)
        if not told.refused:
            _describe_config(told, read_config(folder, outline), stored, folder)
    return told


def _describe_config(told: Description, config: PolicyConfig, stored: StoredTensors, folder: Path) -> None:
    """Add what follows from the decoder's configuration, the tokenizer and the stored tensors' shapes to `told`."""
    told.remarks += config.remarks
    told.sizes |= {
        "decoder": asdict(config.llama),
        "action ids": f"{config.action_vocabulary - BINS} to {config.action_vocabulary - 1}",
    }
    with told.attempt():
        config.prompter(None, folder)
    unusable = []
    for key in config.norm_stats or [None]:
        try:
            space = ActionSpace(config.action_vocabulary, config.norm_stats, key)
            told.action_ranges[space.key] = space.range
        except CheckpointError as error:
            unusable.append(str(error))
    (told.remarks if told.action_ranges else told.refused).extend(unusable)
    with told.attempt():
        towers = read_towers(config, stored)
        wanted = tensor_shapes(towers, config.llama)
        told.sizes["parameters"] = sum(map(math.prod, wanted.values()))
        told.sizes |= {name: asdict(tower) for name, tower in zip(TOWER_NAMES, towers, strict=False)}
        told.memory = _memory(wanted, config, layout_of(config, towers, "cuda"))
        stored.check(wanted, unused_of(config, stored))


def _memory(wanted: Shapes, config: PolicyConfig, layout: Layout) -> dict[str, int]:
    """Bytes by number type, and by that of what stays beside weights in 8 bits."""
    kinds = [(name, size, eight) for eight in (False, True) for name, size in DTYPE_BYTES.items()]
    return {
        f"int8, {name}" if eight else name: memory_needed(wanted, config.llama, layout, size, eight)
        for name, size, eight in kinds
    }


def layout_of(config: PolicyConfig, towers: Sequence[TowerConfig], device: str) -> Layout:
    """The decoder's sequence: BOS, visual tokens, text, action tokens, of which a kind of device tries some at once."""
    visual, count = config.cameras * towers[0].grid ** 2, len(ACTION_NAMES)
    return Layout((config.bos_id,), visual, MAX_TEXT, count, area=DRAFTED[device] + count)


def read_towers(config: PolicyConfig, stored: StoredTensors) -> tuple[TowerConfig, ...]:
    """Shapes of the vision towers, after what decides how much is built was compared with the stored tensors."""
    _check_decoder(config.llama, stored)
    return tuple(
        tower_config(kind, prefix, stored.shapes, config.image_size, config.described_tower)
        for kind, prefix in _towers(config)
    )


def unused_of(config: PolicyConfig, stored: StoredTensors) -> set[str]:
    """What of `stored` the network never uses."""
    unused = (unused_tensors(kind, prefix, stored.shapes) for kind, prefix in _towers(config))
    return set().union(*unused) | ({HEAD} if config.llama.tied else set())


def _towers(config: PolicyConfig) -> Iterator[tuple[TowerKind, str]]:
    """Each tower, and what the names of its tensors begin with."""
    for kind, name in zip(config.towers, TOWER_NAMES, strict=False):
        yield kind, f"vision_backbone.{name}."


def _check_layers(count: int, stored: StoredTensors) -> None:
    """Raise CheckpointError unless the stored tensors are those of OpenVLA, with `count` layers of a decoder."""
    if not any(name.startswith(PARTS) for name in stored.shapes):
        first = plain(next(iter(stored.shapes), "none at all"))
        raise CheckpointError(
            f"the tensors of the folder have other names than OpenVLA's ({first}, ...): expected {', '.join(PARTS)} at "
            "their beginning; save the state_dict of the model itself, not of what wraps it"
        )
    layers = {int(found[1]) for name in stored.shapes if (found := LAYER.match(name))}
    if layers != set(range(count)):
        raise CheckpointError(
            f"config.json: text_config.num_hidden_layers {count}, but the folder has tensors of {len(layers)} layers"
        )


def _check_decoder(llama: LlamaConfig, stored: StoredTensors) -> None:
    _check_layers(llama.num_hidden_layers, stored)
    embedding = (llama.vocab_size, llama.hidden_size)
    if stored.shapes.get(EMBEDDING, embedding) != embedding:
        raise CheckpointError(
            f"config.json: text_config has vocab_size and hidden_size {list(embedding)}, but {EMBEDDING} is "
            f"{list(stored.shapes[EMBEDDING])}"
        )
