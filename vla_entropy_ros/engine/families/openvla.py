"""OpenVLA: a causal decoder behind one or two vision towers, whose actions are seven tokens of one bin each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from ..actions.token_head import TokenHead
from ..actions.tokens import ACTION_NAMES, BINS, ActionSpace
from ..cost import vision_flops
from ..decoding.sequence import Layout
from ..device import DTYPES, Placement
from ..errors import CheckpointError
from ..files import plain
from ..model.backbones import TOWER_NAMES, tower_config, unused_tensors
from ..model.checkpoint import EMBEDDING, fill, memory_needed, wanted_shapes
from ..model.llama import LlamaConfig
from ..model.network import Network
from ..model.preprocess import Preprocessor
from ..model.prompt import MAX_TEXT, Prompter
from ..model.stored import StoredTensors
from .description import Description
from .family import Config, LoadOptions, Model
from .openvla_config import PolicyConfig, read_config, read_visual_tokens

MODEL_TYPES = ("openvla", "prismatic")
PARTS = ("language_model.", "vision_backbone.", "projector.")
LAYER = re.compile(r"language_model\.model\.layers\.(\d+)\.")


class OpenVLA:
    """Checkpoints in the OpenVLA layout (config.json, safetensors, tokenizer.json); see `Family`."""

    name = "openvla"

    def recognises(self, config: Config) -> bool:
        """Whether config.json is of this family; one without a model_type is taken for it."""
        kind = config.get("model_type")
        return kind in MODEL_TYPES or (kind is None and "text_config" in config)

    def visual_tokens(self, folder: Path) -> int:
        """See `Family`."""
        return read_visual_tokens(folder)

    def describe(self, folder: Path) -> Description:
        """See `Family`."""
        told = Description(self.name, action_names=ACTION_NAMES)
        with told.attempt():
            _describe_config(told, read_config(folder), folder)
        return told

    def load(self, folder: Path, options: LoadOptions) -> Model:
        """See `Family`; what is cheap to check comes before the weights are read."""
        config = read_config(folder)
        space = ActionSpace(config.action_vocabulary, config.norm_stats, options.unnorm_key)
        stored = StoredTensors(folder)
        network, unused = _shaped(config, stored)
        prompter = config.prompter(options.encoder, folder)
        fill(network, config.llama, config.cameras, stored, unused, options.where, options.progress)
        return build(config, network.fuse(), prompter, space, options, tuple(stored.remarks))


def build(
    config: PolicyConfig, network: Network, prompter: Prompter, space: ActionSpace, options: LoadOptions,
    remarks: tuple[str, ...] = (),
) -> Model:  # fmt: skip
    """The model around a network whose weights are in place."""
    tower, where, llama = network.vision_backbone.featurizer.config, options.where, network.language_model
    layout = Layout((config.bos_id,), config.cameras * tower.grid**2, MAX_TEXT, len(ACTION_NAMES))
    return Model(
        family=OpenVLA.name,
        backbone=config.vision_backbone_id,
        preprocess=Preprocessor(config.image_size, config.towers, options.preprocess, where.device, where.dtype),
        prompt=prompter,
        network=network,
        layout=layout,
        head=TokenHead(space, len(ACTION_NAMES), llama.lm_head, guarded=where.dtype != torch.float32),
        where=where,
        cameras=config.cameras,
        grid=(tower.grid, tower.grid),
        patch=tower.patch,
        parameters=_parameters(network),
        vision_flops=vision_flops(network.vision_backbone.configs, llama.config.hidden_size),
        action_names=ACTION_NAMES,
        tokens=len(ACTION_NAMES),
        unnorm_key=space.key,
        unnorm_keys=space.keys,
        action_range=space.range,
        remarks=(*config.remarks, *remarks),
    )


def _describe_config(told: Description, config: PolicyConfig, folder: Path) -> None:
    """Add what follows from config.json, the tokenizer and the stored tensors' shapes to `told`."""
    told.remarks += config.remarks
    told.sizes |= {
        "vision backbone": config.vision_backbone_id,
        "image size": config.image_size,
        "cameras": config.cameras,
        "visual tokens": config.visual_tokens,
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
        stored = StoredTensors(folder)
        told.remarks += stored.remarks
        network, unused = _shaped(config, stored)
        wanted = wanted_shapes(network, config.llama)
        told.sizes["parameters"] = sum(map(math.prod, wanted.values()))
        told.sizes |= {
            name: asdict(tower) for name, tower in zip(TOWER_NAMES, network.vision_backbone.configs, strict=False)
        }
        told.memory = _memory(wanted, config)
        stored.check(wanted, unused)


def _memory(wanted: Mapping[str, tuple[int, ...]], config: PolicyConfig) -> dict[str, int]:
    """Bytes by number type, and by that of what stays beside weights in 8 bits."""
    cpu = torch.device("cpu")
    places = {name: Placement(cpu, kind) for name, kind in DTYPES.items()}
    places |= {f"int8, {name}": replace(where, quantisation="int8") for name, where in places.items()}
    return {name: memory_needed(wanted, config.llama, config.cameras, where) for name, where in places.items()}


def _shaped(config: PolicyConfig, stored: StoredTensors) -> tuple[Network, set[str]]:
    """The network that config.json and the stored shapes describe, without memory, and what of `stored` it never uses.

    What decides how much is built is compared with the stored tensors first.
    """
    _check_decoder(config.llama, stored)
    prefixes = [f"vision_backbone.{name}." for name in TOWER_NAMES[: len(config.towers)]]
    towers = [
        tower_config(kind, prefix, stored.shapes, config.image_size, config.described_tower)
        for kind, prefix in zip(config.towers, prefixes, strict=True)
    ]
    unused = (unused_tensors(kind, prefix, stored.shapes) for kind, prefix in zip(config.towers, prefixes, strict=True))
    return Network.shaped(towers, config.llama), set().union(*unused)


def _check_decoder(llama: LlamaConfig, stored: StoredTensors) -> None:
    if not any(name.startswith(PARTS) for name in stored.shapes):
        first = plain(next(iter(stored.shapes), "none at all"))
        raise CheckpointError(
            f"the tensors of the folder have other names than OpenVLA's ({first}, ...): expected {', '.join(PARTS)} at "
            "their beginning; save the state_dict of the model itself, not of what wraps it"
        )
    layers = {int(found[1]) for name in stored.shapes if (found := LAYER.match(name))}
    if layers != set(range(llama.num_hidden_layers)):
        raise CheckpointError(
            f"config.json: text_config.num_hidden_layers {llama.num_hidden_layers}, but the folder has tensors of "
            f"{len(layers)} layers"
        )
    embedding = (llama.vocab_size, llama.hidden_size)
    if stored.shapes.get(EMBEDDING, embedding) != embedding:
        raise CheckpointError(
            f"config.json: text_config has vocab_size and hidden_size {list(embedding)}, but {EMBEDDING} is "
            f"{list(stored.shapes[EMBEDDING])}"
        )


def _parameters(network: nn.Module) -> int:
    """Numbers in the network; a head that is tied to the embedding counts once."""
    return sum(tensor.numel() for tensor in network.parameters())
