"""An OpenVLA checkpoint as the engine runs it: the network with its weights, and what stands around it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from ..actions.drafts import UNLIKELY
from ..actions.token_head import TokenHead
from ..actions.tokens import ACTION_NAMES, ActionSpace
from ..cost import vision_flops
from ..files import folder_errors
from ..model.checkpoint import fill
from ..model.logits import wide_logits
from ..model.network import Network
from ..model.preprocess import Preprocessor
from ..model.prompt import Prompter
from ..model.shapes import tensor_shapes
from ..model.stored import StoredTensors
from .family import LoadOptions, Model
from .openvla_config import PolicyConfig, read_config
from .openvla_folder import NAME, layout_of, read_towers, unused_of


def load(folder: Path, options: LoadOptions) -> Model:
    """Load the folder, see `Family.load`; what is cheap to check comes before the weights are read."""
    with folder_errors(folder):
        config = read_config(folder)
        space = ActionSpace(config.action_vocabulary, config.norm_stats, options.unnorm_key)
        stored = StoredTensors(folder)
        towers, unused = read_towers(config, stored), unused_of(config, stored)
        stored.check(tensor_shapes(towers, config.llama), unused)  # before anything is built
        prompter = config.prompter(options.encoder, folder)
    network = Network.shaped(towers, config.llama)
    layout = layout_of(config, towers, options.where.device.type)
    fill(network, config.llama, layout, stored, unused, options.where, options.progress)
    return build(config, network.fuse(), prompter, space, options, tuple(stored.remarks))


def build(
    config: PolicyConfig, network: Network, prompter: Prompter, space: ActionSpace, options: LoadOptions,
    remarks: tuple[str, ...] = (),
) -> Model:  # fmt: skip
    """The model around a network whose weights are in place."""
    tower, where, llama = network.vision_backbone.featurizer.config, options.where, network.language_model
    layout, count = layout_of(config, network.vision_backbone.configs, where.device.type), len(ACTION_NAMES)
    rounding = 0.0 if where.dtype == torch.float32 else torch.finfo(where.dtype).eps
    logits, drafted = partial(wide_logits, llama.lm_head), layout.area - count
    return Model(
        family=NAME,
        backbone=config.vision_backbone_id,
        preprocess=Preprocessor(config.image_size, config.towers, options.preprocess, where.device, where.dtype),
        prompt=prompter,
        network=network,
        layout=layout,
        head=TokenHead(space, count, logits, rounding, drafted, UNLIKELY[where.device.type]),
        where=where,
        cameras=config.cameras,
        grid=(tower.grid, tower.grid),
        patch=tower.patch,
        parameters=_parameters(network),
        vision_flops=vision_flops(network.vision_backbone.configs, llama.config.hidden_size),
        action_names=ACTION_NAMES,
        tokens=count,
        unnorm_key=space.key,
        unnorm_keys=space.keys,
        action_range=space.range,
        remarks=(*config.remarks, *remarks),
    )


def _parameters(network: nn.Module) -> int:
    """Numbers in the network; a head that is tied to the embedding counts once."""
    return sum(tensor.numel() for tensor in network.parameters())
