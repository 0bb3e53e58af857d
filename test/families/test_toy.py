"""The seam for model families: another layout and head, a chunk of three, a state; the engine says nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from vla_entropy_ros.engine import ActionError, CheckpointError, Observation, ObservationError, Policy, State, Tunables
from vla_entropy_ros.engine.actions.check import Agreement
from vla_entropy_ros.engine.families import find_family

from .toy import ACTION_NAMES, CHUNK, STATE_NAMES, ToyNetwork, write_toy

PICK, PUT = "pick up the red cube", "put it down"
TUNABLES = replace(Tunables.default(16), mode="info_entropy", k1=2, k2=3, T=10, row_budget=6, taper_rows=0)
Image = NDArray[np.uint8]


pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(params=[False, True], ids=["eager", "fixed shapes"])
def policy(request: pytest.FixtureRequest, toy: Path) -> Policy:
    return Policy.load(toy, tunables=TUNABLES, graphs=request.param)


def picture(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (56, 56, 3), np.uint8)


def see(image: Image, stamp: float, state: tuple[float, ...] = (0.1, -0.4, 0.9), told: str = PICK) -> Observation:
    return Observation((image,), told, stamp, State(STATE_NAMES, np.array(state), stamp))


@torch.inference_mode()
def reference(policy: Policy, observation: Observation) -> NDArray[np.float64]:
    """Actions of the whole sequence in one pass over nothing but itself, every row seeing every other."""
    network = policy.model.network
    assert isinstance(network, ToyNetwork)
    assert observation.state is not None
    llama, preprocess = network.language_model, policy.model.preprocess
    visual = network.visual_tokens(preprocess.pixels(preprocess.frames(observation.images))).flatten(0, 1)
    further = network.further_rows(torch.tensor(observation.state.values, dtype=torch.float32))
    words = llama.embed(torch.tensor(policy.model.prompt(observation.instruction).ids))
    rows = torch.cat((llama.embed(torch.tensor([1])), visual, further[:1], words, further[1:]))

    def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    table = policy.model.head.readout(llama(rows[None], torch.arange(len(rows)), attend)[0, -CHUNK:])
    return policy.model.head.act(table.numpy().astype(np.float64), None, (), None, TUNABLES, 0.0).actions  # type: ignore[arg-type]


def test_a_tick_computes_what_one_plain_pass_computes(policy: Policy) -> None:
    for seed, told in ((1, PICK), (2, PUT)):
        policy.reset()
        observation = see(picture(seed), 0.0, told=told)
        result = policy.infer(observation)
        assert result.actions.shape == (CHUNK, len(ACTION_NAMES))
        np.testing.assert_allclose(result.actions, reference(policy, observation), atol=1e-6)
        assert (len(result.tokens), result.uncertainty, result.decoder_passes) == (0, None, 1)
        assert (result.drafts.tried, result.drafts.certified) == (0, 0)


def test_both_runners_choose_and_act_alike(toy: Path) -> None:
    policies = [Policy.load(toy, tunables=TUNABLES, graphs=graphs) for graphs in (False, True)]
    frame = picture(3)
    for tick in range(8):
        frame = frame.copy()
        frame[14 * (tick % 4) :][:14, :14] = picture(tick)[:14, :14]
        seen = see(frame, 0.1 * tick, state=(0.1 * tick, 0.2, 0.3), told=(PICK, PUT)[tick // 5])
        one, other = (policy.infer(seen) for policy in policies)
        np.testing.assert_array_equal(one.reuse.fresh_mask, other.reuse.fresh_mask)
        np.testing.assert_allclose(one.actions, other.actions, atol=1e-5)
        for policy in policies:
            policy.settle()


def test_what_stands_still_is_reused_and_changes_nothing(policy: Policy) -> None:
    first = policy.infer(see(picture(4), 0.0))
    for tick in range(1, 4):
        policy.settle()
        again = policy.infer(see(picture(4), 0.1 * tick))
        assert again.reuse.reused == 16 - again.reuse.fresh > 0
        np.testing.assert_allclose(again.actions, first.actions, atol=1e-5)
    assert first.decoder_rows[0] == 1 + 16 + 1 + 5 + CHUNK
    assert again.decoder_rows[0] == 1 + again.reuse.fresh + 1 + 5 + CHUNK  # BOS sees what changes, so it is never kept


def test_the_attention_of_the_text_is_known_where_every_row_sees_all(policy: Policy) -> None:
    policy.infer(see(picture(4), 0.0))
    policy.settle()
    assert policy.infer(see(picture(4), 0.1)).reuse.by_attention > 0
    attention = policy._eager.text_attention()
    assert attention.shape == (3, 5, 16)
    assert float(attention.sum(-1).max()) < 1.0  # the rest goes to state, text and placeholders


def test_a_new_instruction_makes_everything_fresh_since_it_touches_what_was_seen(policy: Policy) -> None:
    policy.infer(see(picture(5), 0.0))
    policy.settle()
    changed = policy.infer(see(picture(5), 0.1, told=PUT))
    assert (changed.reuse.reason, changed.reuse.fresh) == ("new instruction", 16)
    policy.reset()
    np.testing.assert_allclose(policy.infer(see(picture(5), 0.0, told=PUT)).actions, changed.actions, atol=1e-6)


def test_the_state_is_part_of_what_is_seen(policy: Policy) -> None:
    one = policy.infer(see(picture(6), 0.0)).actions
    policy.reset()
    other = policy.infer(see(picture(6), 0.0, state=(0.9, -0.4, 0.9))).actions
    assert np.abs(one - other).max() > 1e-4
    policy.reset()
    names, values = ("finger", "wrist", "shoulder", "elbow"), np.array([0.9, 7.0, 0.1, -0.4])
    shuffled = Observation((picture(6),), PICK, 0.0, State(names, values, 0.0))
    np.testing.assert_array_equal(policy.infer(shuffled).actions, one)  # by name, not by order


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "the observation has no state: this policy needs shoulder, elbow, finger"),
        (State(("shoulder", "finger"), np.zeros(2), 0.1), "the state lacks elbow: this policy needs shoulder, elbow"),
        (State(STATE_NAMES, np.zeros(2), 0.1), r"the state has 3 names and values of shape \[2\]"),
        (State(STATE_NAMES, np.array([0.0, math.nan, math.inf]), 0.1), "not a finite number in elbow, finger"),
        (State(STATE_NAMES, np.zeros(3), -0.4), "the state is 0.50 s older than the images, valid is up to 0.2 s"),
        (State(STATE_NAMES, np.zeros(3), 0.5), "the state is 0.40 s newer than the images"),
        (State(STATE_NAMES, np.zeros(3), math.nan), "the state is nan s older than the images"),
    ],
)
def test_a_state_that_can_not_be_used_is_no_action_and_names_what_is_wrong(
    policy: Policy, state: State | None, said: str
) -> None:
    policy.infer(see(picture(7), 0.0))
    policy.settle()
    with pytest.raises(ObservationError, match=said) as caught:
        policy.infer(Observation((picture(7),), PICK, 0.1, state))
    assert "\n" not in str(caught.value)
    assert policy.infer(see(picture(7), 0.1)).reuse.reused > 0  # the policy is as before


def test_output_that_is_no_number_is_no_action(policy: Policy) -> None:
    network = policy.model.network
    assert isinstance(network, ToyNetwork)
    with torch.no_grad():
        network.action_out.bias[2] = math.nan
    with pytest.raises(ActionError, match="not finite"):
        policy.infer(see(picture(8), 0.0))


def test_every_part_of_loading_goes_through_the_family(toy: Path, tmp_path: Path) -> None:
    assert find_family(toy).name == "toy"
    assert find_family(toy).visual_tokens(toy) == 16
    policy = Policy.load(toy)
    policy.self_test()
    policy.warm_up()
    info = policy.info
    assert (info.family, info.chunk, info.state_names, info.unnorm_keys) == ("toy", CHUNK, STATE_NAMES, ())
    assert policy.outputs(picture(1), (2, 3)).shape == (CHUNK, len(ACTION_NAMES))
    (tmp_path / "config.json").write_text('{"model_type": "pi9"}')
    with pytest.raises(CheckpointError, match="model_type 'pi9' is of no family known here: valid are openvla, toy"):
        find_family(tmp_path)


def test_two_cameras_have_their_own_tokens(tmp_path: Path) -> None:
    policy = Policy.load(write_toy(tmp_path / "two", cameras=2))
    state = State(STATE_NAMES, np.zeros(3), 0.0)
    result = policy.infer(Observation((picture(1), picture(2)), PICK, 0.0, state))
    assert result.reuse.fresh == 32


def test_actions_without_tokens_are_held_against_full_recomputation(policy: Policy) -> None:
    first, second = see(picture(0), 0.0), see(picture(0), 0.1)
    result = policy.infer(first)
    agreement = policy.compare(first, result)
    if policy.fixed_shapes:  # sums of padded rows round otherwise, and there is no token to hide it
        assert max(agreement.translation, agreement.rotation, agreement.other) < 1e-6
    else:
        assert agreement == Agreement(1.0, 0.0, 0.0, 0.0, True)
    result = policy.infer(second)
    assert result.reuse.reused > 0
    policy._cache.values.normal_()
    spoiled = policy.compare(second, policy.infer(see(picture(0), 0.2)))
    assert spoiled.tokens == 1.0  # of none
    assert spoiled.translation > 1e-4 < spoiled.rotation
