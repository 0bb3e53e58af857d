"""Policies of a given shape whose weights are made on the device: latency does not depend on their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...engine import Observation, Policy
from ...engine.actions.tokens import ACTION_NAMES, BINS, ActionSpace
from ...engine.device import Placement
from ...engine.families import LoadOptions
from ...engine.families.openvla_config import PolicyConfig, read_config
from ...engine.families.openvla_folder import read_towers
from ...engine.families.openvla_model import build
from ...engine.model.checkpoint import check_fits, place, wanted_shapes
from ...engine.model.network import Network
from ...engine.model.quantise import check_quantisation
from ...engine.model.shapes import LlamaConfig, TowerConfig
from ...engine.model.stored import StoredTensors
from ...resources import default_checkpoint, share_path
from ..openvla import LLAMA, ROWS, TOKENS, TOWERS

PADDING = 64
INSTRUCTION = "pick up the red cube"


@dataclass(frozen=True)
class Shape:
    """Towers, decoder and length of the prompt [tokens, without BOS] of a policy."""

    backbone: str
    towers: tuple[TowerConfig, ...]
    llama: LlamaConfig
    prompt: int

    @property
    def visual(self) -> int:
        """Visual tokens."""
        return self.towers[0].grid ** 2


FUSED = "dinosiglip-vit-so-224px"
WORDS = 14  # text tokens of a short prompt
TINY = Shape(
    FUSED, (TowerConfig(56, 32, 1, 2, 64, class_token=True, registers=4, layer_scale=True),
            TowerConfig(56, 48, 1, 2, 96)), LlamaConfig(64, 96, 2, 4, 4, 448), WORDS
)  # fmt: skip
SHAPES: dict[str, Callable[[], Shape]] = {
    "7b": lambda: Shape(FUSED, TOWERS, LLAMA, round(ROWS) - 1 - TOKENS),
    "small": lambda: _stored(default_checkpoint()),
    "tiny": lambda: TINY,
}


def find_shape(name: str) -> Shape:
    """Shape of that name, one of SHAPES: OpenVLA-7B's, that of the shipped checkpoint, or one for tests."""
    return SHAPES[name]()


def _stored(folder: Path) -> Shape:
    """Read that of a checkpoint folder."""
    config = read_config(folder)
    return Shape(config.vision_backbone_id, read_towers(config, StoredTensors(folder)), config.llama, WORDS)


def random_policy(shape: Shape, where: Placement, graphs: bool | None = None) -> tuple[Policy, Network]:
    """A policy of that shape and its network; DeviceError if the device has too little memory, before it is used."""
    check_quantisation(where.quantisation, where.device)
    config = _config(shape)
    words = [1, *(5 + n % 50 for n in range(shape.prompt))]
    network = _network(shape, config, where)
    space = ActionSpace(config.action_vocabulary, config.norm_stats, None)
    prompter = config.prompter(lambda _: words, share_path("config"))
    return Policy(build(config, network, prompter, space, LoadOptions(where)), graphs=graphs), network


def _config(shape: Shape) -> PolicyConfig:
    count = len(ACTION_NAMES)
    statistics = {"q01": [-0.03] * count, "q99": [0.03] * count, "mask": [True] * count}
    return PolicyConfig(
        vision_backbone_id=shape.backbone,
        image_size=shape.towers[0].image_size,
        llama=shape.llama,
        action_vocabulary=shape.llama.vocab_size - PADDING,
        bos_id=1,
        vicuna_prompt=False,
        norm_stats={"random": {"action": statistics}},
        described_tower=None,
        cameras=1,
    )


def _network(shape: Shape, config: PolicyConfig, where: Placement) -> Network:
    network = Network.shaped(shape.towers, shape.llama)
    shapes = wanted_shapes(network, shape.llama)
    check_fits(shapes, shape.llama, config.cameras, where)
    random = torch.Generator(where.device).manual_seed(0)
    for name, size in shapes.items():
        place(network, name, _weight(name, size, config.action_vocabulary, random, where.dtype), where.quantisation)
    return network.eval().fuse()


def _weight(name: str, size: tuple[int, ...], actions_end: int, random: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Weights that keep states of order one, and let only action ids win."""
    weight = torch.empty(size, device=random.device, dtype=dtype)
    if "norm" in name or name.endswith("scale_factor"):
        return weight.fill_(0.0 if name.endswith("bias") else 1.0)
    if len(size) < 2:
        return weight.zero_()
    wide = "embed" in name or "token" in name
    weight.normal_(0.0, 1.0 if wide else 1 / math.sqrt(math.prod(size[1:])), generator=random)
    if "lm_head" in name:
        weight[: actions_end - BINS] = weight[actions_end:] = 0.0
    return weight


def moving(size: int, ticks: int, seed: int = 0) -> Iterator[Observation]:
    """A scene at 10 Hz in which an arm of a seventh of the width sweeps over a cluttered table, under sensor noise."""
    random = np.random.default_rng(seed)
    table = np.kron(random.integers(40, 216, (14, 14, 3)), np.ones((size // 14, size // 14, 1))).astype(np.float32)
    width = size // 7
    for tick in range(ticks):
        frame = table + random.normal(0.0, 1.0, table.shape)
        row, column = (int((0.5 + 0.4 * f(0.05 * tick)) * (size - width)) for f in (math.sin, math.cos))
        frame[row : row + width, column : column + width] = (200.0, 120.0, 40.0)
        yield Observation((np.clip(frame, 0, 255).astype(np.uint8),), INSTRUCTION, 0.1 * tick)
