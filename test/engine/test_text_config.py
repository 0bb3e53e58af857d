"""text_config: what transformers reads is what is computed; what would compute something else is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.engine import Policy
from vla_entropy_ros.engine.families.openvla_config import read_config
from vla_entropy_ros.engine.model.text_config import check_text_config, read_text_config

from .folders import change_config, change_tensors, change_text, refusal

PICTURE = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
TOWER = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32, "stem_width": 4}
TIED = ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")


def read(folder: Path, text: dict[str, Any]) -> Any:
    """What is read of a folder with that text_config."""
    (folder / "config.json").write_text(json.dumps({"text_config": text}))
    return read_text_config(folder, check_text_config(text))


@pytest.mark.parametrize(
    "text",
    [
        {"rope_theta": 5e5},
        {"rope_parameters": {"rope_theta": 5e5}},
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
        {"rope_theta": 500000, "rope_scaling": {"type": "default"}},
        {"rope_theta": 500000, "rope_scaling": {"type": "linear", "factor": 1.0}},
        {"rope_theta": 5e5, "rope_parameters": {"rope_theta": 5e5, "partial_rotary_factor": 1.0}},
    ],
)
def test_both_spellings_of_rope_mean_the_same(tmp_path: Path, text: dict[str, Any]) -> None:
    llama, _, remarks = read(tmp_path, text)
    assert (llama.rope_theta, remarks) == (5e5, [])


@pytest.mark.parametrize(
    "text",
    [
        {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2},
        {"sliding_window": 4096, "use_sliding_window": False},
        {"sliding_window": None, "attention_bias": False},
    ],
)
def test_what_says_in_many_words_what_a_llama_does_is_taken(tmp_path: Path, text: dict[str, Any]) -> None:
    llama, _, remarks = read(tmp_path, text)
    assert (llama.num_hidden_layers, remarks) == (text.get("num_hidden_layers", 32), [])


def test_another_base_of_rope_changes_the_logits(broken_folder: Path) -> None:
    before = Policy.load(broken_folder).outputs(PICTURE, (4, 5, 6))
    change_text(broken_folder, rope_parameters={"rope_theta": 3.0})
    assert (Policy.load(broken_folder).outputs(PICTURE, (4, 5, 6)) - before).abs().max() > 0.01


def test_what_a_configuration_leaves_out_is_llamas_default(tmp_path: Path) -> None:
    llama, ends, _ = read(tmp_path, {"model_type": "llama", "vocab_size": 32064, "torch_dtype": "bfloat16"})
    assert (llama.hidden_size, llama.num_key_value_heads, llama.rms_norm_eps, llama.rope_theta) == (4096, 32, 1e-6, 1e4)
    assert (llama.tied, ends) == (False, (2,))
    assert read(tmp_path, {"num_attention_heads": 16})[0].num_key_value_heads == 16


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported: valid is silu"),
        ({"attention_bias": True}, "attention_bias True is not supported: valid is false"),
        ({"mlp_bias": True}, "mlp_bias True"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5: valid is 1"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 8192}}, "rope_type 'llama3' is not supported"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type 'linear' is not supported"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type 'yarn' is not supported"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic' is not supported"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 3.0}}}, "RoPE parameters 'full_attention'"),
        ({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}}, "several values of rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta nan"),
        ({"rope_theta": "1e4"}, "rope_theta '1e4'"),
        ({"sliding_window": 4096}, "sliding_window 4096 is not supported: valid is null"),
        ({"sliding_window": 4096, "use_sliding_window": None}, "sliding_window 4096 is not supported"),
        ({"layer_types": ["sliding_attention"]}, "layer_types"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping 50.0"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping 30.0"),
        ({"logits_scaling": 8.0}, "logits_scaling 8.0"),
        ({"embedding_multiplier": 12.0}, "embedding_multiplier 12.0"),
        ({"num_local_experts": 8}, "num_local_experts 8"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": "qwen2"}, "model_type 'qwen2': valid is llama"),
        ({"head_dim": 4}, "head_dim 4: valid is 8"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps -1.0 must be a number above 0"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps inf"),
        ({"num_hidden_layers": 100000}, "num_hidden_layers 100000: valid are whole numbers from 1 to 1024"),
        ({"num_hidden_layers": 500}, "num_hidden_layers 500, but the folder has tensors of 2 layers"),
        ({"num_hidden_layers": 1}, "num_hidden_layers 1, but the folder has tensors of 2 layers"),
        ({"vocab_size": 2**63}, "vocab_size 9223372036854775808: valid are whole numbers from 1 to"),
        ({"vocab_size": 1000}, "vocab_size and hidden_size [1000, 32]"),
        ({"intermediate_size": 2**40}, "intermediate_size"),
        ({"num_attention_heads": 0}, "num_attention_heads 0: valid are whole numbers from 1"),
        ({"num_key_value_heads": True}, "num_key_value_heads True"),
        ({"bos_token_id": True}, "bos_token_id"),
        ({"bos_token_id": -1}, "bos_token_id -1: valid are 0 to 383"),
        ({"eos_token_id": "</s>"}, "eos_token_id"),
    ],
)  # fmt: skip
def test_what_would_compute_other_numbers_is_refused_by_name(
    broken_folder: Path, text: dict[str, Any], said: str
) -> None:
    change_text(broken_folder, **text)
    line = refusal(broken_folder)
    assert line.startswith("config.json: text_config")
    assert said in line


def test_a_key_that_means_nothing_to_a_llama_is_told_and_changes_nothing(broken_folder: Path) -> None:
    before = Policy.load(broken_folder).outputs(PICTURE, (4, 5, 6))
    change_text(broken_folder, favourite_colour="red", max_length=20, _attn_implementation_autoset=True)
    policy = Policy.load(broken_folder)
    assert policy.info.remarks == ("config.json: text_config.favourite_colour is no key of a Llama: left aside",)
    assert bool((policy.outputs(PICTURE, (4, 5, 6)) == before).all())


def test_a_tied_head_is_the_embedding(broken_folder: Path) -> None:
    change_tensors(broken_folder, lambda tensors: tensors.update({TIED[1]: tensors[TIED[0]].clone()}))
    wanted = Policy.load(broken_folder).outputs(PICTURE, (4, 5, 6))
    change_tensors(broken_folder, lambda tensors: tensors.pop(TIED[1]))
    assert "1 missing: language_model.lm_head.weight" in refusal(broken_folder)
    change_text(broken_folder, tie_word_embeddings=True)
    assert bool((Policy.load(broken_folder).outputs(PICTURE, (4, 5, 6)) == wanted).all())


def test_a_head_beside_a_tied_one_must_be_the_embedding(broken_folder: Path) -> None:
    change_text(broken_folder, tie_word_embeddings=True)
    assert "lm_head.weight is not the embedding, though text_config ties them" in refusal(broken_folder)
    change_tensors(broken_folder, lambda tensors: tensors.update({TIED[1]: tensors[TIED[0]].clone()}))
    Policy.load(broken_folder)


def test_whether_a_head_is_tied_stands_in_the_text_config_alone(broken_folder: Path) -> None:
    """As in OpenVLA; a full dump of its configuration has the key at its top, too, and it means nothing."""
    wanted = Policy.load(broken_folder).outputs(PICTURE, (4, 5, 6))
    change_config(broken_folder, tie_word_embeddings=True)
    assert bool((Policy.load(broken_folder).outputs(PICTURE, (4, 5, 6)) == wanted).all())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"arch_specifier": "no-align+fused-gelu-mlp"}, "valid is one that ends in gelu-mlp"),
        ({"arch_specifier": "no-align+linear"}, "arch_specifier 'no-align+linear'"),
        ({"use_fused_vision_backbone": True}, "use_fused_vision_backbone True: valid is False"),
        ({"timm_override_act_layers": ["quick_gelu"]}, "timm_override_act_layers ['quick_gelu']"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantization_config"),
        ({"image_sizes": [56.0, 56.0]}, "image_sizes [56.0, 56.0]"),
        ({"image_sizes": [2**40, 2**40]}, "image_sizes"),
        ({"image_sizes": 56}, "image_sizes 56"),
        ({"vision_backbone_id": None}, "unknown vision_backbone_id None"),
        ({"vision_backbone_id": ["a"] * 1000}, "unknown vision_backbone_id ['a', 'a'"),
        ({"pad_to_multiple_of": 10**30}, "pad_to_multiple_of"),
        ({"vision_config": {**TOWER, "depth": 10**9}}, "depth must be whole numbers from 1 to"),
        ({"vision_config": {**TOWER, "width": True}}, "width must be"),
    ],
)  # fmt: skip
def test_what_the_policy_as_a_whole_would_compute_otherwise_is_refused(
    broken_folder: Path, values: dict[str, Any], said: str
) -> None:
    change_config(broken_folder, **values)
    assert said in refusal(broken_folder)


@pytest.mark.parametrize(
    ("place", "vicuna"),
    [
        ("openvla-v01-7b", True),
        ("models--openvla--openvla-v01-7b/snapshots/0123", True),
        ("openvla-v01-study/mine", False),
        ("openvla-7b", False),
    ],
)
def test_the_prompt_of_openvla_v01_goes_by_the_name_of_the_folder(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, vicuna: bool
) -> None:
    folder = shutil.copytree(small_folder, tmp_path / place)
    monkeypatch.chdir(folder)
    assert read_config(folder).vicuna_prompt == read_config(Path()).vicuna_prompt == vicuna


def test_a_single_tower_has_one_size_as_openvla_writes_it(broken_folder: Path) -> None:
    change_config(broken_folder, image_sizes=[56])
    assert Policy.load(broken_folder).info.image_size == 56
