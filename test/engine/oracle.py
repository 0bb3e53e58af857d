"""transformers as the oracle: an OpenVLA checkpoint's tensors under the names of its models, and ticks run by them.

Read from the files alone; nothing here is the package's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

Tensors = dict[str, Tensor]
Images = Sequence[NDArray[np.uint8]]

# timm's names -> those of transformers, by regular expressions, each applied once; attn.qkv is split before
DINOV2 = {
    r"^(cls_token)$": r"embeddings.\1",
    r"^reg_token$": "embeddings.register_tokens",
    r"^patch_embed\.proj": "embeddings.patch_embeddings.projection",
    r"^norm\.": "layernorm.",
    r"^blocks\.": "encoder.layer.",
    r"\.attn\.proj": ".attention.o_proj",
    r"\.attn\.": ".attention.",
    r"\.ls(\d)\.scale_factor": r".layer_scale\1.lambda1",
}
SIGLIP = {
    r"^patch_embed\.proj": "embeddings.patch_embedding",
    r"^norm\.": "post_layernorm.",
    r"^blocks\.": "encoder.layers.",
    r"\.attn\.proj": ".self_attn.out_proj",
    r"\.attn\.": ".self_attn.",
    r"\.norm(\d)\.": r".layer_norm\1.",
}
# the cache of a pass: transformers 5.24 calls it `cache`, 5.20, which Python 3.10 has, `past_key_values`
CACHE = next(name for name in ("cache", "past_key_values") if name in signature(LlamaForCausalLM.forward).parameters)


def renamed(stored: Tensors, names: Mapping[str, str]) -> Tensors:
    """A tower's tensors under the names of transformers; pooling, which OpenVLA never uses, is left out."""
    made: Tensors = {}
    for name, tensor in stored.items():
        if name == "pos_embed" or name.startswith("attn_pool."):
            continue
        parts = {name: tensor}
        if ".attn.qkv." in name:
            parts = {name.replace("qkv", f"{x}_proj"): part for x, part in zip("qkv", tensor.chunk(3), strict=True)}
        for new, part in parts.items():
            for pattern, replacement in names.items():
                new = re.sub(pattern, replacement, new)
            made[new] = part
    return made


def shape_of(stored: Tensors, size: int) -> dict[str, Any]:
    """What the configurations of both towers have in common."""
    blocks = {name.split(".")[1] for name in stored if name.startswith("blocks.")}
    return {
        "hidden_size": stored["patch_embed.proj.bias"].numel(),
        "num_hidden_layers": len(blocks),
        "num_attention_heads": 16,
        "image_size": size,
        "patch_size": 14,
        "hidden_act": "gelu",  # exact, also in SigLIP: its own would be the tanh form
        "layer_norm_eps": 1e-6,
        "attn_implementation": "eager",  # formulas, where ours takes PyTorch's fused attention
    }


def dinov2(stored: Tensors, size: int) -> nn.Module:
    shape, hidden = shape_of(stored, size), stored["blocks.0.mlp.fc1.bias"].numel()
    registers = stored["reg_token"].shape[1] if "reg_token" in stored else 0
    config = Dinov2WithRegistersConfig(**shape, mlp_ratio=hidden // shape["hidden_size"], num_register_tokens=registers)
    state = renamed(stored, DINOV2)
    state.setdefault("embeddings.register_tokens", torch.zeros(1, 0, shape["hidden_size"]))
    state["embeddings.mask_token"] = torch.zeros(1, shape["hidden_size"])  # of training
    nowhere = torch.zeros(1, 1, shape["hidden_size"])  # in timm's layout the class token has no position
    state["embeddings.position_embeddings"] = torch.cat((nowhere, stored["pos_embed"]), dim=1)
    return filled(Dinov2WithRegistersModel(config), state)


def siglip(stored: Tensors, size: int) -> nn.Module:
    hidden = stored["blocks.0.mlp.fc1.bias"].numel()
    shape: dict[str, Any] = {**shape_of(stored, size), "intermediate_size": hidden, "vision_use_head": False}
    state = renamed(stored, SIGLIP)
    state["embeddings.position_embedding.weight"] = stored["pos_embed"][0]
    return filled(SiglipVisionModel(SiglipVisionConfig(**shape)), state)


def filled(model: nn.Module, state: Tensors) -> nn.Module:
    model.load_state_dict(state)
    return model.eval()


IMAGENET, HALF = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,) * 3, (0.5,) * 3)
TOWERS = {
    "dinosiglip-vit-so-224px": ((dinov2, *IMAGENET), (siglip, *HALF)),
    "dinov2-vit-l": ((dinov2, *IMAGENET),),
    "siglip-vit-so400m": ((siglip, *HALF),),
}


def below(stored: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name.startswith(prefix)}


class Slots(DynamicCache):
    """A growing cache that can also be written to at `slots`: what partial recomputation needs."""

    slots: Tensor | None = None

    @property
    def kept(self) -> list[Any]:
        """By layer, `keys` and `values` [1, Hkv, S, hd]."""
        return list(self.layers)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        if self.slots is None:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        layer = self.kept[layer_idx]
        layer.keys = layer.keys.index_copy(2, self.slots, key_states)
        layer.values = layer.values.index_copy(2, self.slots, value_states)
        return layer.keys, layer.values

    def cut(self, length: int) -> None:
        """Forget all slots from `length` on."""
        for layer in self.kept:
            layer.keys, layer.values = layer.keys[:, :, :length], layer.values[:, :, :length]


class Oracle:
    """A checkpoint folder as transformers computes it; ids: the prompt, BOS first."""

    def __init__(self, folder: Path, ids: Sequence[int]) -> None:
        config = json.loads((folder / "config.json").read_text())
        stored = load_file(folder / "model.safetensors")
        self._size = config["image_sizes"][0]
        self._towers = [
            (make(below(stored, f"vision_backbone.{name}."), self._size), mean, std)
            for (make, mean, std), name in zip(
                TOWERS[config["vision_backbone_id"]], ("featurizer", "fused_featurizer"), strict=False
            )
        ]
        self._projector = below(stored, "projector.")
        text = {**config["text_config"], "attn_implementation": "eager"}
        self.llama = LlamaForCausalLM(LlamaConfig(**text)).eval()
        missing = self.llama.load_state_dict(below(stored, "language_model."), strict=False)
        tied = text.get("tie_word_embeddings", False)
        assert (missing.missing_keys, missing.unexpected_keys) == (["lm_head.weight"] if tied else [], [])
        assert (self.llama.lm_head.weight is self.llama.model.embed_tokens.weight) == tied
        self._ids = torch.tensor(ids)
        self.cache = Slots()

    def pixels(self, images: Images, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """Pixel values [C, 3, S, S] of one tower."""
        size = (self._size, self._size)
        resized = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in images]
        values = (np.stack(resized) / 255.0 - np.array(mean)) / np.array(std)
        return torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2)

    @torch.no_grad()
    def features(self, images: Images) -> Tensor:
        """Features [C, N / C, F]: of every tower the block before the last, patches alone, before the final norm."""
        made = []
        for tower, mean, std in self._towers:
            states = tower(self.pixels(images, mean, std), output_hidden_states=True).hidden_states[-2]
            made.append(states[:, -((self._size // 14) ** 2) :])
        return torch.cat(made, dim=-1)

    @torch.no_grad()
    def visual(self, images: Images) -> Tensor:
        """Visual tokens [N, D], camera after camera."""
        x, weights = self.features(images).flatten(0, 1), self._projector
        layers = sorted({name.split(".")[0] for name in weights})
        for layer in layers:
            x = F.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"])
            x = x if layer == layers[-1] else F.gelu(x)
        return x

    @torch.no_grad()
    def rows(self, images: Images) -> Tensor:
        """The rows [S, D] of a prompt: BOS, visual tokens, text."""
        text = self.llama.model.embed_tokens(self._ids)
        return torch.cat((text[:1], self.visual(images), text[1:]))

    @torch.no_grad()
    def logits(self, images: Images) -> Tensor:
        """Logits [S, V] of every row."""
        return self.llama(inputs_embeds=self.rows(images)[None]).logits[0]

    def generated(self, images: Images) -> list[int]:
        """Seven tokens by `generate`."""
        rows = self.rows(images)[None]
        asked = {"attention_mask": torch.ones(rows.shape[:2], dtype=torch.long), "max_new_tokens": 7}
        return self.llama.generate(inputs_embeds=rows, **asked, do_sample=False, pad_token_id=0)[0].tolist()

    @torch.no_grad()
    def tick(self, images: Images, fresh: NDArray[np.bool_]) -> list[int]:
        """Seven tokens, one pass each; keys and values of visual tokens that are not `fresh` [N] stay as they were."""
        rows = self.rows(images)
        first = self.cache.get_seq_length() == 0
        where = torch.arange(len(rows))
        if not first:
            self.cache.cut(len(rows))
            text = torch.ones(len(rows) - 1 - len(fresh), dtype=torch.bool)
            where = where[torch.cat((torch.tensor([False]), torch.from_numpy(fresh), text))]
            self.cache.slots = where
        hidden = torch.arange(len(rows))[None] > where[:, None]
        mask = torch.zeros(hidden.shape).masked_fill(hidden, torch.finfo(torch.float32).min)
        last = self._pass(where, mask[None, None], inputs_embeds=rows[None, where])
        self.cache.slots = None
        tokens = [int(last.argmax())]
        for position in range(len(rows), len(rows) + 6):
            there = torch.tensor([position])
            tokens.append(int(self._pass(there, None, input_ids=torch.tensor([tokens[-1:]])).argmax()))
        return tokens

    def _pass(self, where: Tensor, mask: Tensor | None, **rows: Tensor) -> Tensor:
        """Logits [V] of the last row."""
        rest = {"attention_mask": mask, "position_ids": where[None], "use_cache": True, CACHE: self.cache}
        made = self.llama(**rows, **rest)
        return made.logits[0, -1]
