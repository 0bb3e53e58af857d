"""Checkpoints of random shapes and weights: what is computed is what transformers' own models compute."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tools.checkpoints import weight, write_json
from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.model.network import Network

from .conftest import DATA, causal

if TYPE_CHECKING:
    from .oracle import Oracle

TOLERANCE = 2e-5
FUSED, DINOV2, SIGLIP = "dinosiglip-vit-so-224px", "dinov2-vit-l", "siglip-vit-so400m"
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 384}
WORDS = (11, 29, 7, 42, 13)


@dataclass(frozen=True)
class Tower:
    """Width, blocks stored and width of the MLP of a tower; registers of a DINOv2."""

    width: int = 32
    blocks: int = 2
    mlp: int = 64
    registers: int = 4


@dataclass(frozen=True)
class Case:
    """What a checkpoint is made of; text: its text_config where that differs from TEXT."""

    backbone: str = FUSED
    dinov2: Tower = field(default_factory=Tower)
    siglip: Tower = field(default_factory=lambda: Tower(48, 2, 86))
    text: Mapping[str, Any] = field(default_factory=dict)
    size: int = 56
    padding: int = 64
    cameras: int = 1

    @property
    def text_config(self) -> dict[str, Any]:
        return {"model_type": "llama", **TEXT, **self.text}

    @property
    def tied(self) -> bool:
        return bool(self.text.get("tie_word_embeddings"))


CASES = {
    "two towers": Case(),
    "grouped heads, another rotary base": Case(text={"num_key_value_heads": 2, "rope_theta": 500.0}),
    "one key/value head, one layer": Case(SIGLIP, text={"num_key_value_heads": 1, "num_hidden_layers": 1}),
    "dinov2 alone, several layers": Case(DINOV2, dinov2=Tower(64, 4, 256), text={"num_hidden_layers": 5}),
    "dinov2 alone, without registers": Case(DINOV2, dinov2=Tower(registers=0), text={"num_attention_heads": 2}),
    "siglip alone": Case(SIGLIP, siglip=Tower(32, 3, 119)),
    "siglip alone, three cameras": Case(SIGLIP, text={"rms_norm_eps": 1e-5, "rope_theta": 1e6}, cameras=3),
    "two towers, two cameras": Case(dinov2=Tower(registers=1), cameras=2, text={"num_key_value_heads": 2}),
    "odd sizes": Case(
        dinov2=Tower(16, 3, 48, 3), siglip=Tower(80, 4, 51), size=70, padding=5,
        text={"hidden_size": 42, "intermediate_size": 45, "num_hidden_layers": 3, "num_attention_heads": 3,
              "vocab_size": 391, "rms_norm_eps": 3e-6},
    ),
    "256 visual tokens": Case(size=224, text={"num_hidden_layers": 3}),
    "tied head": Case(text={"tie_word_embeddings": True}),
}  # fmt: skip
NAMED = list(CASES)


def tower_shapes(prefix: str, tower: Tower, patches: int, dinov2: bool) -> dict[str, tuple[int, ...]]:
    """Tensors of a tower by timm's names, those that OpenVLA never uses among them."""
    w, m = tower.width, tower.mlp
    linear = {"attn.qkv": (3 * w, w), "attn.proj": (w, w), "mlp.fc1": (m, w), "mlp.fc2": (w, m)}
    made: dict[str, tuple[int, ...]] = {"pos_embed": (1, patches, w), "patch_embed.proj.weight": (w, 3, 14, 14)}
    made |= {"patch_embed.proj.bias": (w,), "norm.weight": (w,), "norm.bias": (w,)}
    for block in (f"blocks.{number}." for number in range(tower.blocks)):
        made |= {f"{block}{name}.weight": shape for name, shape in linear.items()}
        made |= {f"{block}{name}.bias": shape[:1] for name, shape in linear.items()}
        made |= {f"{block}norm{n}.{leaf}": (w,) for n in (1, 2) for leaf in ("weight", "bias")}
        made |= {f"{block}ls{n}.scale_factor": (w,) for n in (1, 2) if dinov2}
    if dinov2:
        made["cls_token"] = (1, 1, w)
        made |= {"reg_token": (1, tower.registers, w)} if tower.registers else {}
    else:
        made |= {"attn_pool.latent": (1, 1, w), "attn_pool.kv.weight": (2 * w, w), "attn_pool.kv.bias": (2 * w,)}
    return {prefix + name: shape for name, shape in made.items()}


def shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """All tensors of a checkpoint."""
    text, patches = case.text_config, (case.size // 14) ** 2
    towers = {FUSED: (case.dinov2, case.siglip), DINOV2: (case.dinov2,), SIGLIP: (case.siglip,)}[case.backbone]
    made: dict[str, tuple[int, ...]] = {}
    for name, tower in zip(("featurizer", "fused_featurizer"), towers, strict=False):
        made |= tower_shapes(f"vision_backbone.{name}.", tower, patches, tower is case.dinov2)
    d, m, vocabulary = (text[name] for name in ("hidden_size", "intermediate_size", "vocab_size"))
    features, fused = sum(tower.width for tower in towers), len(towers) == 2
    widths = (features, 4 * features, d, d) if fused else (features, d, d)
    for number, (before, behind) in enumerate(itertools.pairwise(widths), start=1):
        made |= {f"projector.fc{number}.weight": (behind, before), f"projector.fc{number}.bias": (behind,)}
    kv = d // text["num_attention_heads"] * text.get("num_key_value_heads", text["num_attention_heads"])
    model = "language_model.model."
    made |= {f"{model}embed_tokens.weight": (vocabulary, d), f"{model}norm.weight": (d,)}
    for layer in (f"{model}layers.{number}." for number in range(text["num_hidden_layers"])):
        attention = {"q": (d, d), "k": (kv, d), "v": (kv, d), "o": (d, d)}
        made |= {f"{layer}self_attn.{name}_proj.weight": shape for name, shape in attention.items()}
        made |= {f"{layer}mlp.{name}_proj.weight": (m, d) for name in ("gate", "up")}
        made |= {f"{layer}mlp.down_proj.weight": (d, m), f"{layer}input_layernorm.weight": (d,)}
        made[f"{layer}post_attention_layernorm.weight"] = (d,)
    return made if case.tied else made | {"language_model.lm_head.weight": (vocabulary, d)}


def write_openvla(folder: Path, case: Case, seed: int) -> Path:
    """A checkpoint folder in OpenVLA's layout, without a tokenizer."""
    end = case.text_config["vocab_size"] - case.padding
    made = {name: weight(name, shape, seed, (end - 256, end)) for name, shape in shapes(case).items()}
    if case.tied:  # the embedding is the head: its action rows must win, as in `weight`
        name = "language_model.model.embed_tokens.weight"
        made[name] = weight("lm_head", made[name].shape, seed, (end - 256, end))
    save_file(made, folder / "model.safetensors")
    config = json.loads((DATA / "openvla_tiny.json").read_text())["config"]
    two = case.backbone == FUSED
    config |= {"text_config": case.text_config, "vision_backbone_id": case.backbone, "use_fused_vision_backbone": two}
    config |= {"arch_specifier": f"no-align+{'fused-' * two}gelu-mlp", "image_sizes": [case.size] * (1 + two)}
    if not two:
        del config["timm_model_ids"], config["timm_override_act_layers"]
    config |= {"pad_to_multiple_of": case.padding, "pad_token_id": end, "num_images_in_input": case.cameras}
    write_json(folder / "config.json", config)
    return folder


@dataclass(frozen=True)
class Pair:
    """A policy, the oracle over the same folder, and images of all cameras; another of which a part has changed."""

    policy: Policy
    oracle: Oracle
    images: tuple[NDArray[np.uint8], ...]
    moved: tuple[NDArray[np.uint8], ...]

    @property
    def network(self) -> Network:
        assert isinstance(self.policy.model.network, Network)
        return self.policy.model.network


@pytest.fixture(scope="module", params=NAMED)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    from .oracle import Oracle  # here: transformers takes seconds to import

    case, number = CASES[request.param], list(CASES).index(request.param)
    folder = write_openvla(tmp_path_factory.mktemp("oracle"), case, seed=number)
    policy = Policy.load(folder, encoder=lambda _: (1, *WORDS))
    random = np.random.default_rng(number)
    images = tuple(random.integers(0, 256, (90, 120, 3), np.uint8) for _ in range(case.cameras))
    moved = tuple(image.copy() for image in images)
    moved[-1][30:60, 40:80] = 255 - moved[-1][30:60, 40:80]
    return Pair(policy, Oracle(folder, (1, *WORDS)), images, moved)


def close(ours: torch.Tensor, its: torch.Tensor) -> None:
    torch.testing.assert_close(ours, its, rtol=0, atol=TOLERANCE)


@torch.inference_mode()
def test_features_and_visual_tokens_are_those_of_transformers(pair: Pair) -> None:
    preprocess = pair.policy.model.preprocess
    values = preprocess.pixels(preprocess.frames(pair.images))
    close(pair.network.features(values), pair.oracle.features(pair.images))
    close(pair.network.visual_tokens(values).flatten(0, 1), pair.oracle.visual(pair.images))


@torch.inference_mode()
def test_logits_of_every_row_are_those_of_transformers(pair: Pair) -> None:
    policy, llama = pair.policy, pair.network.language_model
    policy.reset()
    embedded = policy._eager.embed_images(policy.model.preprocess.frames(pair.images), np.zeros(0))
    text = llama.embed(torch.tensor(WORDS))
    rows = torch.cat((llama.embed(torch.tensor([1])), embedded.visual, text))
    where = torch.arange(len(rows))
    states = policy._eager.decoder.run(rows, where, where, causal(where), tail=len(rows))
    close(policy.model.head.outputs(states), pair.oracle.logits(pair.images))


def test_what_a_policy_puts_out_is_what_transformers_puts_out(pair: Pair) -> None:
    alike = (pair.images[0],) * len(pair.images)  # `outputs` shows one image to all cameras
    close(pair.policy.outputs(pair.images[0], WORDS)[-1], pair.oracle.logits(alike)[-1])


def test_tokens_of_a_tick_are_those_of_generate(pair: Pair) -> None:
    for number, images in enumerate((pair.images, pair.moved)):
        pair.policy.reset()
        result = pair.policy.infer(Observation(images, "pick", 0.1 * number))
        assert result.reuse.reused == 0
        assert result.tokens.tolist() == pair.oracle.generated(images)


def test_partial_ticks_are_those_of_transformers_over_the_same_cache(pair: Pair) -> None:
    policy, oracle = pair.policy, pair.oracle
    policy.reset()
    oracle.cache = type(oracle.cache)()
    policy.set_tunables(replace(policy.tunables, taper_rows=0))  # every layer computes the same rows
    reused = []
    for number, images in enumerate((pair.images, pair.images, pair.moved, pair.moved, pair.images)):
        result = policy.infer(Observation(images, "pick", 0.1 * number))
        policy.settle()
        assert result.tokens.tolist() == oracle.tick(images, result.reuse.fresh_mask)
        reused.append(result.reuse.reused)
        prompt = policy.model.layout.first_text + len(WORDS)
        for layer, its in enumerate(oracle.cache.kept):
            close(policy._cache.keys[layer, :, :prompt], its.keys[0, :, :prompt])
            close(policy._cache.values[layer, :, :prompt], its.values[0, :, :prompt])
    assert reused[0] == 0 < min(reused[1:])
    assert oracle.tick(pair.moved, np.ones(policy.info.visual_tokens, np.bool_)) == oracle.generated(pair.moved)
