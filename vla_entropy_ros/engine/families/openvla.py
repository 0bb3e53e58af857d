"""OpenVLA: a causal decoder behind one or two vision towers, whose actions are seven tokens of one bin each."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..actions.token_head import TokenHead
from ..actions.tokens import ACTION_NAMES, BINS, ActionSpace
from ..cost import vision_flops
from ..decoding.sequence import Layout
from ..errors import CheckpointError
from ..model.backbones import TOWER_NAMES, find_backbone, tower_config, unused_tensors
from ..model.checkpoint import StoredTensors, fill
from ..model.llama import LlamaConfig
from ..model.network import Network
from ..model.preprocess import Preprocessor
from ..model.prompt import MAX_TEXT, Encoder, Prompter, Template
from ..model.vision import PATCH
from .family import Config, LoadOptions, Model, read_json

MAX_CAMERAS = 8
PROMPT = "In: What action should the robot take to {}?\nOut:"
VICUNA_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
    "USER: What action should the robot take to {}? ASSISTANT:"
)
SPACE, SPACE_ID = "▁", 29871  # of Llama's tokenizer: OpenVLA ends a prompt with it
MODEL_TYPES = ("openvla", "prismatic", None)


@dataclass(frozen=True)
class PolicyConfig:
    """What config.json says of the policy as a whole; `described_tower` is its `vision_config`, if any."""

    vision_backbone_id: str
    image_size: int
    llama: LlamaConfig
    action_vocabulary: int  # V: the action ids are the last 256 below it
    bos_id: int
    vicuna_prompt: bool
    norm_stats: dict[str, Any]
    described_tower: Any
    cameras: int

    @property
    def visual_tokens(self) -> int:
        """Visual tokens of all cameras."""
        return self.cameras * (self.image_size // PATCH) ** 2

    def prompter(self, encoder: Encoder | None, folder: Path) -> Prompter:
        """Instructions as this checkpoint was trained on them, by `encoder` or the tokenizer in `folder`."""
        text = VICUNA_PROMPT if self.vicuna_prompt else PROMPT
        return Prompter(Template(text, self.llama.vocab_size, self.bos_id, SPACE_ID, SPACE), encoder, folder)


class OpenVLA:
    """Checkpoints in the OpenVLA layout (config.json, safetensors, tokenizer.json); see `Family`."""

    name = "openvla"

    def recognises(self, config: Config) -> bool:
        """Whether config.json is of this family; one without a model_type is taken for it."""
        return config.get("model_type") in MODEL_TYPES or "text_config" in config

    def visual_tokens(self, folder: Path) -> int:
        """See `Family`."""
        return read_config(folder).visual_tokens

    def load(self, folder: Path, options: LoadOptions) -> Model:
        """See `Family`; what is cheap to check comes before the weights are read."""
        config = read_config(folder)
        find_backbone(config.vision_backbone_id)
        prompter = config.prompter(options.encoder, folder)
        space = ActionSpace(config.action_vocabulary, config.norm_stats, options.unnorm_key)
        network = _load_network(folder, config, options)
        return build(config, network, prompter, space, options)


def build(
    config: PolicyConfig, network: Network, prompter: Prompter, space: ActionSpace, options: LoadOptions
) -> Model:
    """The model around a network whose weights are in place."""
    tower, where, llama = network.vision_backbone.featurizer.config, options.where, network.language_model
    layout = Layout((config.bos_id,), config.cameras * tower.grid**2, MAX_TEXT, len(ACTION_NAMES))
    return Model(
        family=OpenVLA.name,
        backbone=config.vision_backbone_id,
        preprocess=Preprocessor(
            config.image_size, find_backbone(config.vision_backbone_id), options.preprocess, where.device, where.dtype
        ),
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
    )


def _load_network(folder: Path, config: PolicyConfig, options: LoadOptions) -> Network:
    """The network that config.json and the stored shapes describe, with its weights in place."""
    kinds, stored = find_backbone(config.vision_backbone_id), StoredTensors(folder)
    prefixes = [f"vision_backbone.{name}." for name in TOWER_NAMES[: len(kinds)]]
    towers = [
        tower_config(kind, prefix, stored.shapes, config.image_size, config.described_tower)
        for kind, prefix in zip(kinds, prefixes, strict=True)
    ]
    if len({tower.grid for tower in towers}) != 1:
        raise CheckpointError("the two vision towers have different grids")
    network = Network.shaped(towers, config.llama)
    unused = set().union(*(unused_tensors(k, p, stored.shapes) for k, p in zip(kinds, prefixes, strict=True)))
    fill(network, config.llama, config.cameras, stored, unused, options.where, options.progress)
    return network.fuse()


def _parameters(network: nn.Module) -> int:
    return sum(math.prod(tensor.shape) for tensor in network.state_dict().values())


def read_config(folder: Path) -> PolicyConfig:
    """Read the configuration of a checkpoint folder; raises CheckpointError."""
    raw = read_json(folder / "config.json")
    text = raw.get("text_config")
    if not isinstance(text, dict):
        raise CheckpointError("config.json: text_config is missing: not a checkpoint in the OpenVLA layout")
    resize = raw.get("image_resize_strategy", "resize-naive")
    if resize != "resize-naive":
        raise CheckpointError(f"config.json: image_resize_strategy {resize!r}: valid is resize-naive")
    if raw.get("n_action_bins", BINS) != BINS:
        raise CheckpointError(f"config.json: n_action_bins {raw['n_action_bins']!r}: valid is {BINS}")
    llama = _llama(text)
    padding = raw.get("pad_to_multiple_of", 64)
    if not isinstance(padding, int) or not 0 <= padding <= llama.vocab_size - BINS:
        raise CheckpointError(f"config.json: pad_to_multiple_of {padding!r} leaves no room for {BINS} action ids")
    bos = text.get("bos_token_id", 1)
    if not isinstance(bos, int) or not 0 <= bos < llama.vocab_size:
        raise CheckpointError(f"config.json: text_config.bos_token_id {bos!r}: valid are 0 to {llama.vocab_size - 1}")
    backbone = str(raw.get("llm_backbone_id", ""))
    statistics = folder / "dataset_statistics.json"
    return PolicyConfig(
        vision_backbone_id=raw.get("vision_backbone_id", ""),
        image_size=_image_size(raw.get("image_sizes")),
        llama=llama,
        action_vocabulary=llama.vocab_size - padding,
        bos_id=bos,
        vicuna_prompt=backbone.startswith("vicuna") or "openvla-v01" in folder.name,
        norm_stats=read_json(statistics) if statistics.is_file() else raw.get("norm_stats") or {},
        described_tower=raw.get("vision_config"),
        cameras=_cameras(raw.get("num_images_in_input", 1)),
    )


def _image_size(sizes: Any) -> int:
    square = isinstance(sizes, list) and len(sizes) == 2 and sizes[0] == sizes[1]
    if not square or not isinstance(sizes[0], int) or sizes[0] < 1:
        raise CheckpointError(f"config.json: image_sizes {sizes!r}: valid are two equal whole numbers")
    return sizes[0]


def _cameras(count: Any) -> int:
    """Camera images per observation; the key is OpenVLA-OFT's."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_CAMERAS:
        raise CheckpointError(f"config.json: num_images_in_input {count!r}: valid are 1 to {MAX_CAMERAS}")
    return count


def _llama(text: dict[str, Any]) -> LlamaConfig:
    if text.get("model_type", "llama") != "llama":
        raise CheckpointError(f"config.json: text_config.model_type {text['model_type']!r}: valid is llama")
    if text.get("rope_scaling"):
        raise CheckpointError("config.json: text_config.rope_scaling is not supported: valid is null")
    values = {field.name: text[field.name] for field in fields(LlamaConfig) if text.get(field.name) is not None}
    if "num_attention_heads" in values:
        values.setdefault("num_key_value_heads", values["num_attention_heads"])
    for name, value in values.items():
        whole = name not in ("rms_norm_eps", "rope_theta")
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value <= 0:
            raise CheckpointError(f"config.json: text_config.{name} {value!r} must be a number above 0")
    llama = LlamaConfig(**values)
    heads, groups = llama.num_attention_heads, llama.num_key_value_heads
    if llama.hidden_size % heads or heads % groups or llama.head_dim % 2:
        raise CheckpointError(
            f"config.json: text_config: hidden_size {llama.hidden_size}, {heads} heads and {groups} key/value heads"
            " do not divide evenly"
        )
    if text.get("head_dim") not in (None, llama.head_dim):
        raise CheckpointError(f"config.json: text_config.head_dim {text['head_dim']!r}: valid is {llama.head_dim}")
    return llama
