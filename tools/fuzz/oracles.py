"""Whether those who read checkpoint folders elsewhere take one for the same: safetensors, transformers, tokenizers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer

from .policies import NO_TOKEN, Acted

TOLERANCE = 1e-4  # of the largest logit
PROMPTS = (
    "In: What action should the robot take to {}?\nOut:",
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions. USER: What action should the robot take to {}? ASSISTANT:",
)
SPACE, SPACE_ID = "\u2581", 29871
COUNT = 7
LLAMA = "language_model."
# What the original code of these keys computes otherwise than the only way that is known here.
ONLY: dict[str, tuple[Any, ...]] = {
    "image_resize_strategy": ("resize-naive",),
    "n_action_bins": (256,),
    "arch_specifier": ("no-align+gelu-mlp", "no-align+fused-gelu-mlp", "gelu-mlp", "fused-gelu-mlp"),
    "model_type": ("openvla", "prismatic", None),
    "use_proprio": (False,),
    "use_l1_regression": (False,),
}


def judge(folder: Path, acted: Acted, reference: Acted) -> Iterator[str]:
    """Yield what is wrong with a folder that was taken; reference: the folder before it was spoiled."""
    yield from _finite(acted)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key, valid in ONLY.items():
        if key in config and config[key] not in valid:
            yield f"{key} is ignored: it is {config[key]!r:.60}, and means something else than {valid[0]!r}"
    override = config.get("timm_override_act_layers")
    if isinstance(override, list) and any(override):
        yield "timm_override_act_layers is ignored"
    yield from _tower(acted, reference, config)
    yield from _weights(folder, acted)
    yield from _decoder(folder, acted, config)
    yield from _prompt(folder, acted, config)
    yield from _statistics(folder, acted, config)


def _finite(acted: Acted) -> Iterator[str]:
    if acted.actions is not None:
        if not np.isfinite(acted.actions).all():
            yield f"an action is not finite: {acted.actions.tolist()}"
        elif np.abs(acted.actions).max() > 1e6:
            yield f"an action is absurd: {acted.actions.tolist()}"
        if not np.isfinite(acted.logits).all():
            yield "it acts on logits that are not finite"
    network: Any = acted.policy.model.network
    if wrong := [name for name, tensor in network.state_dict().items() if not bool(torch.isfinite(tensor).all())]:
        yield f"weights that are not finite are taken: {wrong[0]}"


def _tower(acted: Acted, reference: Acted, config: Any) -> Iterator[str]:
    """What the camera leads to hangs on the towers' weights, and on what describes them, alone."""
    networks: list[Any] = [acted.policy.model.network, reference.policy.model.network]
    mine, theirs = (network.state_dict() for network in networks)
    same = all(
        torch.equal(mine[name], tensor)
        for name, tensor in theirs.items()
        if not name.startswith(LLAMA) and name in mine
    )
    described = (
        acted.policy.model.backbone == "vla-entropy-vit" or acted.policy.info.cameras != reference.policy.info.cameras
    )
    if (
        same
        and not described
        and (acted.visual.shape != reference.visual.shape or not torch.equal(acted.visual, reference.visual))
    ):
        yield "the same towers see something else"
    if (told := config.get("use_fused_vision_backbone")) in (True, False):
        towers = len(acted.policy.model.network.vision_backbone.configs)  # type: ignore[attr-defined]
        if told != (towers == 2):
            yield f"use_fused_vision_backbone is ignored: it is {told}, and there are {towers} towers"


def _weights(folder: Path, acted: Acted) -> Iterator[str]:
    """Every weight is what the file that counts for it holds."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    network: Any = acted.policy.model.network
    held = network.state_dict()
    try:
        if single.is_file():
            stored = load_file(single)
        else:
            stored = {}
            for name, where in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
                if Path(where).name != where:
                    yield f"the index names a file outside the folder, and it is taken: {where!r:.60}"
                    return
                with safe_open(folder / where, framework="pt") as tensors:
                    stored[name] = tensors.get_tensor(name)
    except Exception as error:  # noqa: BLE001 - whatever the libraries refuse
        why = " ".join(str(error).split())[:100]
        yield f"weights are taken that safetensors can't read where they are said to lie: {why}"
        return
    for name, tensor in held.items():
        if name in stored and not torch.equal(stored[name].float().nan_to_num(), tensor.float().nan_to_num()):
            yield f"a weight is not what its file holds: {name}"
            return


@torch.inference_mode()
def _decoder(folder: Path, acted: Acted, config: Any) -> Iterator[str]:
    """The logits are those of transformers' Llama, made of the same text_config."""
    from transformers import LlamaConfig, LlamaForCausalLM

    network: Any = acted.policy.model.network
    weights = {
        name.removeprefix(LLAMA): tensor for name, tensor in network.state_dict().items() if name.startswith(LLAMA)
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = {
                name: value for name, value in config["text_config"].items() if name not in ("torch_dtype", "dtype")
            }
            llama = LlamaForCausalLM(LlamaConfig(**text)).eval()
        llama.load_state_dict(weights, strict=False)
        if llama.config.tie_word_embeddings:
            llama.lm_head.weight = torch.nn.Parameter(weights["model.embed_tokens.weight"])
        ids = acted.ids[acted.understood] or () if acted.understood else tuple(range(8))
        bos = llama.config.bos_token_id
        rows = llama.model.embed_tokens(torch.tensor([bos if isinstance(bos, int) else 1, *ids]))
        inputs = torch.cat((rows[:1], acted.visual.float(), rows[1:]))[None]
        expected = llama(inputs_embeds=inputs, use_cache=False).logits[0, -1].numpy()
    except Exception:  # noqa: BLE001 - what transformers does not take has no logits to compare
        return
    apart = float(np.abs(expected - acted.logits).max() / max(1.0, float(np.abs(expected).max())))
    if not apart <= TOLERANCE:
        yield f"the logits are not those of transformers' Llama: off by {apart:.2g} of the largest"


def _prompt(folder: Path, acted: Acted, config: Any) -> Iterator[str]:
    """The ids are those of the tokenizer without truncation and padding; control tokens in an instruction are text."""
    backbone = str(config.get("llm_backbone_id", ""))
    prompt = PROMPTS[backbone.startswith("vicuna")]
    text_config = config["text_config"]
    bos = text_config.get("bos_token_id", 1)
    first = acted.policy.model.head.space.first_id  # type: ignore[attr-defined]
    for text, ids in acted.ids.items():
        readings = list(_readings(folder, prompt.format(text.lower())))
        if not readings:
            continue  # nobody else reads it
        wholes = [_reason(reading, bos, first) for reading in readings]
        if all(wholes):
            yield f"a tokenizer is taken whose prompt {wholes[0]}"
            return
        if ids is not None and tuple(ids) not in [tuple(reading[1:]) for reading in readings]:
            yield f"the ids of an instruction are other ones: of {text!r} {_short(ids)}, not {_short(readings[0][1:])}"
            return
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    usual = acted.control.get(NO_TOKEN) or ()  # ids that any text in its place leads to
    for word, ids in acted.control.items():
        if ids is not None and (control := tokenizer.token_to_id(word)) in ids and control not in usual:
            yield f"a control token's name inside an instruction becomes that token: {word} is {control}"
            return


def _readings(folder: Path, prompt: str) -> Iterator[list[int]]:
    """Yield the ids of a prompt as tokenizers and as transformers have them, as far as they read the file."""
    for read in (_by_tokenizers, _by_transformers):
        try:
            ids, piece = read(folder, prompt)
        except BaseException:  # noqa: BLE001 - Rust's panics among them
            continue
        yield ids + [SPACE_ID] * (piece == SPACE and ids[-1:] != [SPACE_ID])


def _by_tokenizers(folder: Path, prompt: str) -> tuple[list[int], str | None]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return list(tokenizer.encode(prompt).ids), tokenizer.id_to_token(SPACE_ID)


def _by_transformers(folder: Path, prompt: str) -> tuple[list[int], str | None]:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    ids = list(tokenizer(prompt, truncation=False, padding=False).input_ids)
    piece = tokenizer.convert_ids_to_tokens(SPACE_ID)
    return ids, piece


def _reason(ids: list[int], bos: Any, first: int) -> str | None:
    """Why these can't be the ids of a prompt; None when they can."""
    if ids[:1] != [bos] or bos in ids[1:]:
        return f"does not begin with BOS, or has it twice: {_short(ids)} with {bos}"
    if 2 in ids and bos != 2:
        return f"holds EOS: {_short(ids)}"
    if any(not 0 <= number < first for number in ids[1:] if number != SPACE_ID):
        return f"holds ids of actions or beyond: {_short(ids)} with actions from {first} on"
    return None


def _short(ids: Any) -> str:
    return f"{list(ids)[:12]}{'...' if len(ids) > 12 else ''} ({len(ids)})"


def _statistics(folder: Path, acted: Acted, config: Any) -> Iterator[str]:
    """An action is the bin's centre stretched to q01 and q99, which are numbers."""
    file, key = folder / "dataset_statistics.json", acted.policy.info.unnorm_key
    stats = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else config["norm_stats"]
    action = stats[key]["action"]
    low, high = action["q01"], action["q99"]
    mask = action.get("mask", [True] * COUNT)
    for name, values, kinds in (("q01", low, (int, float)), ("q99", high, (int, float)), ("mask", mask, (bool,))):
        if not isinstance(values, list) or len(values) != COUNT or any(type(value) not in kinds for value in values):
            valid = " or ".join(kind.__name__ for kind in kinds)
            yield f"{name} is taken, though it is no list of {COUNT} {valid}: {values!r:.80}"
            return
    if acted.actions is None:
        return
    space: Any = acted.policy.model.head.space  # type: ignore[attr-defined]
    edges = np.linspace(-1.0, 1.0, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    vocabulary = config["text_config"]["vocab_size"] - config.get("pad_to_multiple_of", 64)
    values = centres[np.clip(vocabulary - np.array(acted.tokens) - 1, 0, 254)]
    expected = [0.5 * (v + 1) * (top - q) + q if m else v for v, q, top, m in zip(values, low, high, mask, strict=True)]
    if not np.allclose(acted.actions[0], expected, rtol=1e-9, atol=1e-12):
        yield f"the action is {acted.actions[0].tolist()}, not {expected} (first id {space.first_id})"
