"""A second family, to prove the seam: every row sees every other, a state vector, three actions by regression."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from vla_entropy_ros.engine.actions.drafts import NO_DRAFT, Draft
from vla_entropy_ros.engine.actions.head import Acted
from vla_entropy_ros.engine.actions.speculative import Extend, Prefill
from vla_entropy_ros.engine.cost import vision_flops
from vla_entropy_ros.engine.decoding.runner import Table
from vla_entropy_ros.engine.decoding.sequence import Layout
from vla_entropy_ros.engine.errors import ActionError
from vla_entropy_ros.engine.families import Description
from vla_entropy_ros.engine.families.family import Config, LoadOptions, Model
from vla_entropy_ros.engine.files import read_json
from vla_entropy_ros.engine.model.backbones import SMALL
from vla_entropy_ros.engine.model.checkpoint import fill
from vla_entropy_ros.engine.model.llama import Llama
from vla_entropy_ros.engine.model.preprocess import Preprocessor
from vla_entropy_ros.engine.model.prompt import Prompter, Template
from vla_entropy_ros.engine.model.shapes import LlamaConfig, TowerConfig
from vla_entropy_ros.engine.model.stored import StoredTensors
from vla_entropy_ros.engine.model.vision import Projector, VisionBackbone
from vla_entropy_ros.engine.tunables import Tunables

STATE_NAMES = ("shoulder", "elbow", "finger")
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
CHUNK, BOS = 3, 1
WORDS = ("<unk>", "<s>", "pick", "up", "the", "red", "green", "cube", "put", "it", "down")
TOWER = TowerConfig(image_size=56, width=16, depth=1, heads=2, mlp_width=32, stem_width=4)
LLAMA = LlamaConfig(32, 48, 3, 4, 2, vocab_size=len(WORDS))


class ToyNetwork(nn.Module):
    """Tower, projector and decoder as OpenVLA has them; a row for the state, a row per action that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.vision_backbone = VisionBackbone(TOWER)
        self.projector = Projector(TOWER.width, LLAMA.hidden_size, fused=False)
        self.language_model = Llama(LLAMA)
        self.state_proj = nn.Linear(len(STATE_NAMES), LLAMA.hidden_size)
        self.placeholders = nn.Parameter(torch.zeros(CHUNK, LLAMA.hidden_size))
        self.action_out = nn.Linear(LLAMA.hidden_size, len(ACTION_NAMES))

    def visual_tokens(self, pixels: Tensor) -> Tensor:
        return self.projector(self.vision_backbone(pixels))

    def use_kernels(self, on: bool) -> None:
        """There are none for it."""

    def further_rows(self, state: Tensor) -> Tensor:
        return torch.cat((self.state_proj(state)[None], self.placeholders))


class RegressionHead:
    """Each of the last CHUNK rows is an action."""

    rows = CHUNK
    extensions: tuple[int, ...] = ()

    def __init__(self, network: ToyNetwork) -> None:
        self._network = network

    def outputs(self, states: Tensor) -> Tensor:
        return self._network.action_out(states).tanh()

    def readout(self, states: Tensor) -> Tensor:
        return self.outputs(states).float()

    def calibrate(self, prefill: Prefill, extend: Extend, prompt: int) -> None:
        pass

    def propose(self, tunables: Tunables) -> Draft:
        return NO_DRAFT

    def act(
        self, table: Table, draft: Draft, prompt: Sequence[int], extend: Extend, tunables: Tunables, began: float
    ) -> Acted:
        if not np.isfinite(table).all():
            raise ActionError("the policy's output holds values that are not finite")
        actions = table * ([0.03] * 3 + [0.1] * 3 + [0.5]) + ([0.0] * 6 + [0.5])
        return Acted(actions)

    def forget(self) -> None:
        pass


class ToyFamily:
    """Folders whose config.json says `"model_type": "toy"`."""

    name = "toy"

    def recognises(self, config: Config) -> bool:
        return config.get("model_type") == "toy"

    def visual_tokens(self, folder: Path) -> int:
        return int(read_json(folder / "config.json")["num_images_in_input"]) * TOWER.grid**2

    def describe(self, folder: Path) -> Description:
        return Description(self.name, {"visual tokens": self.visual_tokens(folder)}, action_names=ACTION_NAMES)

    def load(self, folder: Path, options: LoadOptions) -> Model:
        cameras, where = int(read_json(folder / "config.json")["num_images_in_input"]), options.where
        with torch.device("meta"):
            network = ToyNetwork()
        network.language_model.fuse()
        layout = Layout((BOS,), cameras * TOWER.grid**2, 16, CHUNK, state=1, placeholders=CHUNK, causal=False)
        fill(network, LLAMA, layout, StoredTensors(folder), set(), where, options.progress)
        template = Template("{}", LLAMA.vocab_size, BOS)
        return Model(
            family=self.name,
            backbone="toy",
            preprocess=Preprocessor(TOWER.image_size, (SMALL,), options.preprocess, where.device, where.dtype),
            prompt=Prompter(template, options.encoder, folder),
            network=network,
            layout=layout,
            head=RegressionHead(network),
            where=where,
            cameras=cameras,
            grid=(TOWER.grid, TOWER.grid),
            patch=TOWER.patch,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            vision_flops=vision_flops((TOWER,), LLAMA.hidden_size),
            action_names=ACTION_NAMES,
            chunk=CHUNK,
            state_names=STATE_NAMES,
        )


def write_toy(folder: Path, cameras: int = 1) -> Path:
    """Write a checkpoint of random weights and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    network = ToyNetwork()
    for name, parameter in network.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.3 if parameter.dim() < 2 else 1.2 / parameter[0].numel() ** 0.5)
    save_file(dict(network.state_dict()), folder / "model.safetensors")
    config: dict[str, Any] = {"model_type": "toy", "num_images_in_input": cameras}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
