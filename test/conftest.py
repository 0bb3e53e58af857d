"""What every test runs under: checked message fields, DDS of its own on this machine, one thread."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"  # off by default, and then wrong types turn into garbage on the wire
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)  # two test runs on one machine don't hear each other
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="vla_entropy_ros_log_"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads; two cores shared by several processes


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small policy with random weights whose every token is an action: it moves, but knows nothing."""
    import torch

    from vla_entropy_ros.resources import share_path
    from vla_entropy_ros.train.export import export
    from vla_entropy_ros.train.network import SmallPolicy
    from vla_entropy_ros.train.settings import Recipe
    from vla_entropy_ros.train.tokenizer import ACTION_BINS, TEXT_VOCABULARY

    sizes = {
        "image_size": 56,
        "width": 32,
        "mlp_width": 64,
        "tower_depth": 1,
        "decoder_depth": 2,
        "heads": 2,
        "stem_width": 8,
    }
    torch.manual_seed(0)
    policy = SmallPolicy(Recipe.load(share_path("config/train.yaml"), **sizes))
    with torch.no_grad():
        head = policy.language_model.lm_head.weight.normal_()
        head[:TEXT_VOCABULARY] = head[TEXT_VOCABULARY + ACTION_BINS :] = 0.0  # other tokens can't win
    return export(policy, tmp_path_factory.mktemp("models") / "random_policy", images=0)
