"""What weights in 8 bits do to the actions of the shipped policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vla_entropy_ros.bench.measure import watch
from vla_entropy_ros.bench.recording import record
from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.engine.tunables import Tunables
from vla_entropy_ros.evaluation.plan import Silent
from vla_entropy_ros.resources import default_checkpoint

UP = "model.layers.0.mlp.up_proj.weight"


@pytest.mark.parametrize(("kind", "kept"), [("int8", torch.int8), ("fp8", torch.float8_e4m3fn)])
def test_the_small_policys_actions_hardly_change_in_8_bits(kind: str, kept: torch.dtype) -> None:
    policies = [Policy.load(default_checkpoint(), quantisation=name) for name in ("none", kind)]
    recordings = record(policies[0], [("pick_red", FRESH_SEED), ("put_blue", FRESH_SEED + 1)], 1.2, Silent())
    ours = Tunables.default(policies[0].info.visual_tokens)
    full = replace(ours, mode="full", drafts="off")
    plain, eight = ([r for seen in recordings for r in watch(policy, seen, full)[1]] for policy in policies)
    actions = [np.stack([result.actions[0] for result in results]) for results in (plain, eight)]
    names = [policy.model.network.language_model.get_parameter(UP).dtype for policy in policies]
    assert names == [torch.float32, kept]
    assert policies[0].info.parameters == policies[1].info.parameters
    off = np.abs(actions[0] - actions[1])[:, :3]
    assert off.mean() < 0.0005  # m; an action reaches 0.03
    entropy = [np.stack([result.token_entropy for result in results]) for results in (plain, eight)]
    assert 0.0 < np.abs(entropy[0] - entropy[1]).mean() < 0.02
