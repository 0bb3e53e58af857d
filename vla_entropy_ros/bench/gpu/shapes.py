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
from ...engine.families import LoadOptions, Model
from ...engine.families.openvla_config import PolicyConfig, read_config
from ...engine.families.openvla_folder import layout_of, read_towers
from ...engine.families.openvla_model import build
from ...engine.model.checkpoint import check_fits, place, wanted_shapes
from ...engine.model.network import Network
from ...engine.model.shapes import LlamaConfig, TowerConfig
from ...engine.model.stored import StoredTensors
from ...resources import default_checkpoint, share_path
from ..openvla import LLAMA, ROWS, TOKENS, TOWERS

PADDING = 64
# Of random logits: of 256 alike the best two are often so close that a tick would spend more passes on second looks
# than a trained policy's. These come in opposite pairs, each a quarter of the one before: a large one decides.
HEAD_SCALE, HEAD_FALL = 32.0, 0.25
ADDED = ("o_proj.weight", "down_proj.weight")  # whose results add up: small ones keep rounding from growing by layer
CAMERA = (480, 640)  # rows and columns of an image
CELLS = 14  # squares of the table along an image's height
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
    model, network = random_model(shape, where)
    return Policy(model, graphs=graphs), network


def random_model(shape: Shape, where: Placement, made_on: torch.device | None = None) -> tuple[Model, Network]:
    """What `random_policy` is made of, for several policies over the same weights.

    made_on: device whose generator makes the weights, None for that of `where`; the same one gives the same weights.
    """
    config = _config(shape)
    words = [1, *(5 + n % 50 for n in range(shape.prompt))]
    network = _network(shape, config, where, made_on or where.device)
    space = ActionSpace(config.action_vocabulary, config.norm_stats, None)
    prompter = config.prompter(lambda _: words, share_path("config"))
    return build(config, network, prompter, space, LoadOptions(where)), network


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


def _network(shape: Shape, config: PolicyConfig, where: Placement, made_on: torch.device) -> Network:
    network = Network.shaped(shape.towers, shape.llama)
    shapes = wanted_shapes(network, shape.llama)
    check_fits(shapes, shape.llama, layout_of(config, shape.towers, where.device.type), where)
    random = torch.Generator(made_on).manual_seed(0)
    for name, size in shapes.items():
        weight = _weight(name, size, config.action_vocabulary, random, where.dtype).to(where.device)
        if name.endswith(ADDED):
            weight /= math.sqrt(2 * shape.llama.num_hidden_layers)
        place(network, name, weight, where.quantisation)
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
        up, down = weight[actions_end - BINS : actions_end].view(-1, 2, weight.shape[1]).unbind(1)
        up.mul_(HEAD_SCALE * HEAD_FALL ** torch.arange(len(up), device=up.device)[:, None])
        torch.neg(up, out=down)
    return weight


def moving(ticks: int, size: tuple[int, int] = CAMERA, seed: int = 0) -> Iterator[Observation]:
    """A scene at 10 Hz in which an arm of a seventh of the height sweeps over a cluttered table, under sensor noise.

    size: rows and columns of its images.
    """
    random = np.random.default_rng(seed)
    height, width = size
    cell = -(-height // CELLS)
    squares = random.integers(40, 216, (CELLS, -(-width // cell), 3))
    table = np.kron(squares, np.ones((cell, cell, 1)))[:height, :width].astype(np.float32)
    side = height // 7
    for tick in range(ticks):
        frame = table + random.standard_normal(table.shape, np.float32)
        row, column = (
            int((0.5 + 0.4 * f(0.05 * tick)) * (length - side)) for f, length in ((math.sin, height), (math.cos, width))
        )
        frame[row : row + side, column : column + side] = (200.0, 120.0, 40.0)
        yield Observation((np.clip(frame, 0, 255).astype(np.uint8),), INSTRUCTION, 0.1 * tick)
