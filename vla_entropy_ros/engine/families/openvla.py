"""config.json and dataset_statistics.json of an OpenVLA-layout folder, checked and typed."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..model.llama import LlamaConfig
from ..model.vision import PATCH

BINS = 256
MAX_CAMERAS = 8


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


def read_config(folder: Path) -> PolicyConfig:
    """Read the configuration of a checkpoint folder; raises CheckpointError."""
    if not folder.is_dir():
        raise CheckpointError(f"no checkpoint folder at {folder}")
    raw = _read_json(folder / "config.json")
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
        norm_stats=_read_json(statistics) if statistics.is_file() else raw.get("norm_stats") or {},
        described_tower=raw.get("vision_config"),
        cameras=_cameras(raw.get("num_images_in_input", 1)),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.name} is missing in {path.parent}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content


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
