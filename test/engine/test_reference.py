"""A tiny OpenVLA computes what the original model code computes, within 2e-5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vla_entropy_ros.engine import Observation, Policy, Tunables
from vla_entropy_ros.engine.model.network import Network

from .conftest import causal

TOLERANCE = 2e-5
Reference = dict[str, NDArray]


def network_of(policy: Policy) -> Network:
    assert isinstance(policy.model.network, Network)
    return policy.model.network


@pytest.fixture(params=["a", "b"])
def view(request: pytest.FixtureRequest, tiny_reference: Reference) -> Reference:
    """The reference outputs for one of the two images."""
    return {name[:-2]: value for name, value in tiny_reference.items() if name.endswith(request.param)}


def pixels(policy: Policy, view: Reference) -> torch.Tensor:
    return policy.model.preprocess.pixels(policy.model.preprocess.frames((view["image"],)))


def test_pixel_values_are_identical(tiny_policy: Policy, view: Reference) -> None:
    np.testing.assert_array_equal(pixels(tiny_policy, view)[0, :, ::16, ::16], view["pixel_values"])


@torch.inference_mode()
def test_features_and_visual_tokens(tiny_policy: Policy, view: Reference) -> None:
    values = pixels(tiny_policy, view)
    np.testing.assert_allclose(network_of(tiny_policy).features(values)[0, ::8], view["features"], atol=TOLERANCE)
    np.testing.assert_allclose(network_of(tiny_policy).visual_tokens(values)[0, ::8], view["projected"], atol=TOLERANCE)


def test_logits_of_the_last_prompt_position(tiny_policy: Policy, view: Reference, tiny_spec: dict[str, Any]) -> None:
    logits = tiny_policy.outputs(view["image"], (*tiny_spec["input_ids"][1:], 29871))[-1]
    np.testing.assert_allclose(logits[::16], view["logits_last"], atol=TOLERANCE)


@torch.inference_mode()
def test_action_logits_of_other_positions(tiny_policy: Policy, view: Reference, tiny_spec: dict[str, Any]) -> None:
    tiny_policy.reset()
    llama = network_of(tiny_policy).language_model
    visual = network_of(tiny_policy).visual_tokens(pixels(tiny_policy, view))[0]
    text = llama.embed(torch.tensor([*tiny_spec["input_ids"][1:], 29871]))
    rows = torch.cat((llama.embed(torch.tensor([1])), visual, text))
    where = torch.arange(len(rows))
    hidden = tiny_policy._eager.decoder.run(rows, where, where, causal(where), tail=len(rows))
    np.testing.assert_allclose(llama.lm_head(hidden[::37])[:, 31744:32000], view["action_logits"], atol=TOLERANCE)


def test_tokens_action_and_attention(tiny_policy: Policy, view: Reference, tiny_spec: dict[str, Any]) -> None:
    tiny_policy.reset()
    result = tiny_policy.infer(Observation((view["image"],), tiny_spec["instruction"], 0.0))
    np.testing.assert_array_equal(result.tokens, view["tokens"])
    np.testing.assert_allclose(result.actions[0], view["action"], atol=1e-12)
    attention = tiny_policy._eager.text_attention()
    np.testing.assert_allclose(attention[:, :, ::8], view["text_to_vision"], atol=TOLERANCE)


def test_reused_keys_and_values_change_nothing_on_a_still_image(
    tiny_policy: Policy, view: Reference, tiny_spec: dict[str, Any]
) -> None:
    tiny_policy.reset()
    for tick in range(3):
        result = tiny_policy.infer(Observation((view["image"],), tiny_spec["instruction"], 0.1 * tick))
    assert result.reuse.reused == 256 - result.reuse.fresh > 256 - 1.2 * Tunables.default(256).row_budget
    np.testing.assert_array_equal(result.tokens, view["tokens"])


def test_never_used_tensors_are_not_loaded(tiny_policy: Policy, tiny_folder: Path) -> None:
    names = set(network_of(tiny_policy).state_dict())
    assert not [n for n in names if "blocks.3." in n or "attn_pool" in n or n.endswith("featurizer.norm.weight")]
