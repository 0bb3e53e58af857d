"""A trained small policy as a checkpoint folder in the OpenVLA layout."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from .network import SmallPolicy
from .tokenizer import ACTION_BINS, PADDING, SPECIAL, VOCABULARY, build_tokenizer

DATASET = "tabletop"
BACKBONE = "vla-entropy-vit"
AUXILIARY = "auxiliary."  # the head that only training needs


def export(policy: SmallPolicy, folder: Path, images: int) -> Path:
    """Write config.json, model.safetensors, dataset_statistics.json and tokenizer.json; `images` it was trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.contiguous().cpu() for k, v in policy.state_dict().items() if not k.startswith(AUXILIARY)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    build_tokenizer().save(str(folder / "tokenizer.json"))
    _write(folder / "config.json", _config(policy))
    _write(folder / "dataset_statistics.json", {DATASET: _statistics(policy, images)})
    return folder


def _config(policy: SmallPolicy) -> dict:
    recipe, tower = policy.recipe, policy.vision_backbone.featurizer.config
    llama = policy.language_model.config
    return {
        "model_type": "openvla",
        "arch_specifier": "no-align+gelu-mlp",
        "vision_backbone_id": BACKBONE,
        "use_fused_vision_backbone": False,
        "vision_config": {
            "width": tower.width,
            "depth": tower.depth,
            "heads": tower.heads,
            "mlp_width": tower.mlp_width,
            "stem_width": tower.stem_width,
        },
        "image_sizes": [recipe.image_size, recipe.image_size],
        "image_resize_strategy": "resize-naive",
        "llm_backbone_id": "llama-small",
        "text_config": {
            "model_type": "llama",
            "hidden_size": llama.hidden_size,
            "intermediate_size": llama.intermediate_size,
            "num_hidden_layers": llama.num_hidden_layers,
            "num_attention_heads": llama.num_attention_heads,
            "num_key_value_heads": llama.num_key_value_heads,
            "vocab_size": VOCABULARY,
            "rms_norm_eps": llama.rms_norm_eps,
            "rope_theta": llama.rope_theta,
            "pad_token_id": SPECIAL.index("<pad>"),
        },
        "n_action_bins": ACTION_BINS,
        "pad_to_multiple_of": PADDING,
        "pad_token_id": SPECIAL.index("<pad>"),
        "norm_stats": {},
    }


def _statistics(policy: SmallPolicy, images: int) -> dict:
    """Action range of the bins; the gripper (last) is taken as it is, 0 closed to 1 open."""
    high: list[float] = policy.scale.tolist()
    mask = [True] * 6 + [False]
    return {
        "action": {"mask": mask, "q01": [-h if m else 0.0 for h, m in zip(high, mask, strict=True)], "q99": high},
        "num_transitions": images,
    }


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
