"""text_config of a checkpoint -> shape of the decoder, as transformers reads it; what this decoder lacks is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..files import plain, shown
from .reading import read
from .shapes import LlamaConfig

WHERE = "config.json: text_config"
MOST = 2**20  # of any size; the vocabularies of known models end at 2^18
MOST_LAYERS = 1024
MOST_THETA = 1e12  # known models end at 1e7
PLAIN_ROPE = ("rope_theta", "rope_type", "type", "partial_rotary_factor")

# What changes the numbers and this decoder computes in one way only: key -> values that mean that way.
ONE_WAY: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "hidden_activation": (None, "silu", "swish"),
    "attention_bias": (False, None),
    "qkv_bias": (False, None),
    "mlp_bias": (False, None),
    "partial_rotary_factor": (1, None),
    "rope_interleaved": (False, None),
    "sliding_window": (None,),
    "use_sliding_window": (False, None),
    "attention_chunk_size": (None,),
    "layer_types": (None,),
    "no_rope_layers": (None,),
    "attn_logit_softcapping": (None, 0),
    "attn_logit_softcap": (None, 0),
    "final_logit_softcapping": (None, 0),
    "logit_softcap": (None, 0),
    "logit_scale": (None, 1),
    "logits_scaling": (None, 1),
    "embedding_multiplier": (None, 1),
    "residual_multiplier": (None, 1),
    "attention_multiplier": (None,),
    "query_pre_attn_scalar": (None,),
    "attn_temperature_tuning": (None, False),
    "use_qk_norm": (None, False),
    "qk_norm": (None, False),
    "qk_layernorm": (None, False),
    "clip_qkv": (None,),
    "use_parallel_residual": (None, False),
    "parallel_attn": (None, False),
    "alibi": (None, False),
    "num_local_experts": (None, 0, 1),
    "num_experts": (None, 0, 1),
    "n_routed_experts": (None, 0),
    "quantization_config": (None,),
}


def check_text_config(text: Any) -> Mapping[str, Any]:
    """Return `text`, the text_config of config.json; raises CheckpointError for what is seen to be wrong at once.

    That is what this decoder computes in one way only, and sizes without reason: transformers computes with them.
    """
    if not isinstance(text, dict):
        raise CheckpointError(f"{WHERE} is missing: not a checkpoint in the OpenVLA layout")
    if text.get("model_type", "llama") != "llama":
        raise CheckpointError(f"{WHERE}.model_type {shown(text['model_type'])}: valid is llama")
    for name, meant in ONE_WAY.items():
        if name in text and not _is_one_of(text[name], meant) and not _changes_nothing(name, text):
            valid = " or ".join("null" if value is None else str(value).lower() for value in meant[:2])
            raise CheckpointError(f"{WHERE}.{name} {shown(text[name])} is not supported: valid is {valid}")
    _check_sizes(text)
    return text


def read_text_config(folder: Path, text: Mapping[str, Any]) -> tuple[LlamaConfig, tuple[int, ...], list[str]]:
    """Shape of the decoder, ids that end a text, and remarks, of `text`, the text_config in a folder's config.json.

    It has been through `check_text_config`. Defaults and both spellings of RoPE are transformers'
    (`transformers.LlamaConfig`). Raises CheckpointError for what would compute other numbers than that library does.
    """
    reading = read(folder)
    if reading.text_refused:
        raise CheckpointError(reading.text_refused)
    known = {*reading.keys, *ONE_WAY, *OLD_KEYS}
    unknown = [name for name in text if name not in known and not name.startswith("_")]
    remarks = [f"{WHERE}.{plain(name)} is no key of a Llama: left aside" for name in unknown]
    return _llama(text, reading.text), _ends(reading.text["eos_token_id"]), remarks


def _changes_nothing(name: str, text: Mapping[str, Any]) -> bool:
    """Whether a key that other decoders write says, in many words, what this one does."""
    if name == "layer_types":
        kinds = text[name]
        return isinstance(kinds, list) and all(kind == "full_attention" for kind in kinds)
    return name == "sliding_window" and text.get("use_sliding_window") is False


def _is_one_of(value: Any, meant: tuple[Any, ...]) -> bool:
    return any(value is one or (type(value) in (int, float, str) and value == one) for one in meant)


def _check_sizes(text: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the sizes among the keys are whole numbers within reason."""
    wholes = [field.name for field in fields(LlamaConfig) if field.type == "int"] + ["head_dim"]
    for name in wholes:
        value, most = text.get(name), MOST_LAYERS if name == "num_hidden_layers" else MOST
        empty = value is None and name in ("num_key_value_heads", "head_dim")
        if name in text and not empty and not (type(value) is int and 1 <= value <= most):
            raise CheckpointError(f"{WHERE}.{name} {shown(value)}: valid are whole numbers from 1 to {most}")
    eps = text.get("rms_norm_eps", 1e-6)
    if type(eps) not in (int, float) or not 0 < eps < 1:
        raise CheckpointError(f"{WHERE}.rms_norm_eps {shown(eps)} must be a number above 0 and below 1")


def _llama(text: Mapping[str, Any], known: Mapping[str, Any]) -> LlamaConfig:
    values = {field.name: known[field.name] for field in fields(LlamaConfig) if field.name in known}
    values |= {"rope_theta": _rope_theta(text, known["rope_parameters"]), "tied": known["tie_word_embeddings"]}
    llama = LlamaConfig(**values)
    heads, groups = llama.num_attention_heads, llama.num_key_value_heads
    if llama.hidden_size % heads or heads % groups or llama.head_dim % 2:
        raise CheckpointError(
            f"{WHERE}: hidden_size {llama.hidden_size}, {heads} heads and {groups} key/value heads do not divide evenly"
        )
    if known["head_dim"] != llama.head_dim:
        raise CheckpointError(f"{WHERE}.head_dim {shown(known['head_dim'])}: valid is {llama.head_dim}")
    return llama


def _rope_theta(text: Mapping[str, Any], known: Mapping[str, Any]) -> float:
    """Base of the rotary embedding, of the one kind that is known here; `known`: what transformers makes of `text`."""
    written = [text[name] for name in ("rope_parameters", "rope_scaling") if isinstance(text.get(name), dict)]
    for rope in (*written, known):
        kind = rope.get("rope_type", rope.get("type", "default"))
        plain_linear = kind == "linear" and _is_one_of(rope.get("factor"), (1,))
        if kind != "default" and not plain_linear:
            raise CheckpointError(
                f"{WHERE}: rope_type {shown(kind)} is not supported: valid is default (or no scaling)"
            )
        if others := [name for name in rope if name not in PLAIN_ROPE and not (plain_linear and name == "factor")]:
            raise CheckpointError(f"{WHERE}: RoPE parameters {shown(', '.join(others))} are unknown to type {kind}")
        if not _is_one_of(rope.get("partial_rotary_factor"), ONE_WAY["partial_rotary_factor"]):
            raise CheckpointError(f"{WHERE}: partial_rotary_factor {shown(rope['partial_rotary_factor'])}: valid is 1")
    told = [source["rope_theta"] for source in (*written, text, known) if source.get("rope_theta") is not None]
    for theta in told:
        if type(theta) not in (int, float) or not 1 <= theta <= MOST_THETA:
            raise CheckpointError(f"{WHERE}: rope_theta {shown(theta)} must be a number from 1 to {MOST_THETA:g}")
    if len(set(told)) != 1:
        raise CheckpointError(f"{WHERE} has several values of rope_theta, or none ({shown(told)}): one is expected")
    return float(told[0])


def _ends(ids: Any) -> tuple[int, ...]:
    """Ids of the tokens that end a text."""
    several = ids if isinstance(ids, list) else [ids]
    return tuple(i for i in several if type(i) is int)


# Keys that earlier versions of transformers wrote: of `generate`, of other tasks, of training.
OLD_KEYS = frozenset(
    """
    add_cross_attention attn_implementation bad_words_ids begin_suppress_tokens cross_attention_hidden_size
    decoder_start_token_id diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id is_decoder length_penalty
    max_length min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences prefix pretraining_tp
    pruned_heads remove_invalid_values repetition_penalty rope_scaling rope_theta sep_token_id suppress_tokens
    task_specific_params temperature tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p torch_dtype
    torchscript typical_p use_bfloat16 use_cache
    """.split()  # noqa: SIM905 - a list of so many strings is no easier to read
)
