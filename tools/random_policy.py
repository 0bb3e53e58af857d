"""A small policy with random weights whose every token is an action: it moves at every tick, but knows nothing."""

from __future__ import annotations

from pathlib import Path

SIZES = {
    "image_size": 56,
    "width": 32,
    "mlp_width": 64,
    "tower_depth": 1,
    "decoder_depth": 2,
    "heads": 2,
    "stem_width": 8,
}


def write_random_policy(folder: Path) -> Path:
    """Write its checkpoint to `folder` and return it."""
    import torch

    from vla_entropy_ros.resources import share_path
    from vla_entropy_ros.train.export import export
    from vla_entropy_ros.train.network import SmallPolicy
    from vla_entropy_ros.train.recipe import Recipe
    from vla_entropy_ros.train.tokenizer import ACTION_BINS, TEXT_VOCABULARY

    torch.manual_seed(0)
    policy = SmallPolicy(Recipe.load(share_path("config/train.yaml"), **SIZES))
    with torch.no_grad():
        head = policy.language_model.lm_head.weight.normal_()
        head[:TEXT_VOCABULARY] = head[TEXT_VOCABULARY + ACTION_BINS :] = 0.0  # other tokens can't win
    return export(policy, folder, images=0)
