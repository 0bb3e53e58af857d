"""Checkpoint folders rebuilt from a rule instead of being stored: the OpenVLA layout in two shards, and a small one."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from vla_entropy_ros.engine.model.shapes import LlamaConfig, TowerConfig, tensor_shapes

WORDS = ("<unk>", "<s>", "</s>", "<pad>", "pick", "up", "the", "red", "green", "cube", "put", "it", "down")
ACTIONS = 64  # first action id of the small checkpoint


def weight(name: str, shape: tuple[int, ...], seed: int, actions: tuple[int, int]) -> NDArray[np.float32]:
    """Weight `name`, from its own random stream (Philox keyed by seed and CRC-32 of the name).

    Nothing is left at a value that would hide a wrong mapping; the rows of the action ids dominate the output head.
    """
    stream = np.random.Generator(np.random.Philox(key=(seed << 32) | zlib.crc32(name.encode())))
    r = stream.standard_normal(shape, dtype=np.float32)
    if name.endswith("scale_factor"):
        return 0.5 + 0.2 * r
    if "norm" in name and name.endswith("weight"):
        return 1.0 + 0.1 * r
    if name.endswith("bias"):
        return 0.05 * r
    if "lm_head" in name:
        r = 0.4 * r
        r[: actions[0]] *= 0.3
        r[actions[1] :] *= 0.3
        return r
    if any(part in name for part in ("embed_tokens", "pos_embed", "token", "latent")) or len(shape) < 2:
        return 0.3 * r
    return r * np.float32(1.2 / np.sqrt(np.prod(shape[1:])))


def write_json(path: Path, content: Any) -> None:
    """Write `content` to a file."""
    path.write_text(json.dumps(content))


def write_shards(folder: Path, spec: dict[str, Any]) -> Path:
    """Write the checkpoint that `spec` describes: two shards and an index, no tokenizer."""
    keys = [(name, tuple(shape)) for name, shape in spec["keys"]]
    half = len(keys) // 2
    index: dict[str, str] = {}
    for part, names in enumerate((keys[:half], keys[half:]), start=1):
        file = f"model-{part:05d}-of-00002.safetensors"
        weights = {name: weight(name, shape, spec["seed"], (31744, 32000)) for name, shape in names}
        save_file(weights, folder / file)
        index |= {name: file for name, _ in names}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})
    write_json(folder / "config.json", spec["config"])
    return folder


def write_small(folder: Path, kv_heads: int = 2, layers: int = 2, seed: int = 5) -> Path:
    """Write a checkpoint with the package's own small tower, 4 x 4 visual tokens, and a word tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    vision: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32, "stem_width": 4}
    llama = LlamaConfig(32, 48, layers, 4, kv_heads, vocab_size=ACTIONS + 256 + 64)
    shapes = tensor_shapes((TowerConfig(image_size=56, **vision),), llama)
    weights = {name: weight(name, shape, seed, (ACTIONS, ACTIONS + 256)) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors")
    limits = [0.03] * 3 + [0.1] * 3
    action = {"q01": [*(-x for x in limits), 0.0], "q99": [*limits, 1.0], "mask": [True] * 6 + [False]}
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    write_json(
        folder / "config.json",
        {
            "vision_backbone_id": "vla-entropy-vit",
            "vision_config": vision,
            "image_sizes": [56, 56],
            "pad_to_multiple_of": 64,
            "text_config": {**{name: getattr(llama, name) for name in names}, "vocab_size": llama.vocab_size},
            "norm_stats": {"tabletop": {"action": action}},
        },
    )
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    template = ("In: What action should the robot take to ", "?\nOut:")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(part, "") for part in template])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer
