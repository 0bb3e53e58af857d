"""Keys and values that live on between ticks: the invariants that make reuse safe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_entropy_ros.engine import ActionError, Observation, ObservationError, Policy, Result
from vla_entropy_ros.engine.decoding.sequence import NO_ANSWERS
from vla_entropy_ros.engine.policy import PROBE_IDS
from vla_entropy_ros.engine.tunables import MODES, Tunables

from .conftest import causal, write_small

Image = NDArray[np.uint8]
PICK, PUT = "pick up the red cube", "put it down"
TUNABLES = replace(Tunables.default(16), mode="info_entropy", k1=2, k2=3, T=10, row_budget=0)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def picture(seed: int, size: int = 56) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def see(policy: Policy, image: Image, stamp: float, instruction: str = PICK) -> Result:
    result = policy.infer(Observation((image,), instruction, stamp))
    policy.settle()
    return result


@pytest.fixture
def policy(load_small: Callable[[], Policy]) -> Policy:
    made = load_small()
    made.set_tunables(TUNABLES)
    return made


@torch.inference_mode()
def prefill(policy: Policy, image: Image, fresh: NDArray[np.bool_], start: bool = True) -> torch.Tensor:
    """Logits after a pass of the prompt that computes `fresh` of the visual tokens of `image`."""
    embedded = policy._eager.embed_images(policy.model.preprocess.frames((image,)), np.zeros(0))
    plan = policy.model.layout.prefill(np.flatnonzero(fresh), PROBE_IDS, NO_ANSWERS, start, {})
    return policy.model.head.outputs(policy._eager.states(plan, embedded))


def test_recomputing_all_over_garbage_equals_a_fresh_run(policy: Policy) -> None:
    expected = policy.outputs(picture(1), PROBE_IDS)
    policy._cache.keys.normal_()
    policy._cache.values.normal_()
    torch.testing.assert_close(policy.outputs(picture(1), PROBE_IDS), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("kv_heads", "layers"), [(4, 1), (2, 2), (1, 3)])
@FEW
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_an_identical_frame_with_any_subset_reused_gives_the_same_logits(
    kv_heads: int, layers: int, seed: int, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"heads{kv_heads}-layers{layers}"
    policy = Policy.load(folder if folder.exists() else write_small(folder, kv_heads, layers, seed=layers))
    fresh = np.random.default_rng(seed).random(16) < share
    expected = prefill(policy, picture(2), np.ones(16, np.bool_))
    torch.testing.assert_close(prefill(policy, picture(2), fresh, start=False), expected, rtol=0, atol=0)


def test_a_pass_writes_the_given_slots_and_no_others(policy: Policy) -> None:
    cache = policy._cache
    prefill(policy, picture(3), np.ones(16, np.bool_))
    before = cache.keys.clone(), cache.values.clone()
    fresh = np.zeros(16, np.bool_)
    fresh[[2, 5, 11]] = True
    prefill(policy, picture(4), fresh, start=False)
    written = {1 + 2, 1 + 5, 1 + 11, *range(17, 17 + len(PROBE_IDS))}
    for old, new in zip(before, (cache.keys, cache.values), strict=True):
        changed = (old != new).any(-1).any(0).any(0)
        assert set(torch.nonzero(changed).flatten().tolist()) - {cache.count} == written


@torch.inference_mode()
def test_the_attention_probe_equals_an_eager_reference(policy: Policy) -> None:
    llama, count = policy.model.network.language_model, 17 + 5
    rows = llama.embed(torch.arange(count) % 13)
    where, decoder = torch.arange(count), policy._eager.decoder
    query = torch.where(where >= 17, where - 17, decoder.no_query)
    decoder.run(rows, where, where, causal(where), tail=1, query=query)
    weights: list[torch.Tensor] = []

    def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        causal = torch.ones(count, count, dtype=torch.bool).tril()
        scores = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).masked_fill(~causal, -math.inf).softmax(-1)
        weights.append(scores[0].mean(0)[-5:, 1:17])
        return scores @ v

    llama(rows[None], torch.arange(count), attend)
    torch.testing.assert_close(decoder.text_attention(where[-5:] + 1, count), torch.stack(weights), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_still_scene_gives_the_tokens_of_full_recomputation(policy: Policy, mode: str) -> None:
    policy.set_tunables(replace(TUNABLES, mode=mode, max_age=3))
    first = see(policy, picture(5), 0.0)
    assert first.reuse.fresh == 16
    for tick in range(1, 9):
        result = see(policy, picture(5), 0.1 * tick)
        np.testing.assert_array_equal(result.tokens, first.tokens)
        assert result.reuse.age.max() <= 3
        assert (result.reuse.reused > 0) == (mode != "full") or result.reuse.age.max() == 0


def walk(seed: int, ticks: int) -> list[Image]:
    """A scene in which a few patches change from frame to frame."""
    random = np.random.default_rng(seed)
    frames = [picture(seed)]
    for _ in range(ticks - 1):
        frame = frames[-1].copy()
        row, column = random.integers(0, 43, 2)
        frame[row : row + 14, column : column + 14] = random.integers(0, 256, 3)
        frames.append(frame)
    return frames


@FEW
@given(
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 10**6),
    max_age=st.integers(0, 5),
    row_budget=st.integers(0, 16),
    reference=st.sampled_from(["anchor", "previous"]),
)
def test_no_age_exceeds_max_age(
    load_small: Callable[[], Policy], mode: str, seed: int, max_age: int, row_budget: int, reference: str
) -> None:
    policy = load_small()
    policy.set_tunables(
        replace(TUNABLES, mode=mode, max_age=max_age, row_budget=row_budget, static_reference=reference)
    )
    for number, frame in enumerate(walk(seed, 8)):
        record = see(policy, frame, 0.1 * number).reuse
        assert record.age.max() <= max_age
        assert record.fresh + record.reused == 16
        assert record.fresh >= row_budget


def test_drift_is_seen_against_the_anchor_and_not_against_the_previous_frame(policy: Policy) -> None:
    reused = {}
    for reference in ("anchor", "previous"):
        policy.set_tunables(replace(TUNABLES, mode="visual_only", static_reference=reference, max_age=99))
        policy.reset()
        records = [see(policy, np.full((56, 56, 3), 100 + 4 * n, np.uint8), 0.1 * n).reuse for n in range(5)]
        reused[reference] = [record.reused for record in records]
    assert reused["anchor"] == [0, 11, 0, 11, 0]  # 8 grey levels away at every second tick
    assert reused["previous"] == [0, 11, 11, 11, 11]


@FEW
@given(seed=st.integers(0, 10**6), length=st.integers(0, 6))
def test_reset_after_any_history_equals_a_new_engine(load_small: Callable[[], Policy], seed: int, length: int) -> None:
    random = np.random.default_rng(seed)
    used, new = load_small(), load_small()
    for number in range(length):
        used.set_tunables(replace(TUNABLES, mode=str(random.choice(MODES)), max_age=int(random.integers(0, 9))))
        see(used, picture(int(random.integers(3))), 0.1 * number, str(random.choice([PICK, PUT])))
    used.reset()
    for policy in (used, new):
        policy.set_tunables(TUNABLES)
    for number, frame in enumerate(walk(seed, 4)):
        one, other = see(used, frame, 0.1 * number), see(new, frame, 0.1 * number)
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.token_entropy, other.token_entropy)
        np.testing.assert_array_equal(one.reuse.fresh_mask, other.reuse.fresh_mask)
        np.testing.assert_array_equal(one.reuse.age, other.reuse.age)
        assert (one.tick, one.reuse.reason) == (other.tick, other.reuse.reason)


def test_a_new_instruction_keeps_the_visual_slots_and_restarts_the_schedule(policy: Policy) -> None:
    for tick in range(5):
        last = see(policy, picture(6), 0.1 * tick)
    assert (last.reuse.k_vis, last.reuse.k_attn) == budgets_at(4)
    changed = see(policy, picture(6), 0.5, PUT)
    assert changed.reuse.reused > 0
    assert (changed.reuse.k_vis, changed.reuse.k_attn) == budgets_at(0)
    policy.reset()
    np.testing.assert_array_equal(see(policy, picture(6), 0.0, PUT).tokens, changed.tokens)


def budgets_at(t: int) -> tuple[int, int]:
    k_vis = round(TUNABLES.k2 - (TUNABLES.k2 - TUNABLES.k1) * t / TUNABLES.T)
    return k_vis, TUNABLES.k1 + TUNABLES.k2 - k_vis


@pytest.mark.parametrize(
    ("image", "stamp", "reason"),
    [
        (picture(7), 0.05, "time went backwards"),
        (picture(7), 9.0, "time jumped"),
        (picture(7, 70), 0.2, "image size changed"),
        (picture(8), 0.2, "scene cut"),
    ],
)
def test_what_makes_everything_fresh(policy: Policy, image: Image, stamp: float, reason: str) -> None:
    for tick in range(2):
        see(policy, picture(7), 0.1 * tick)
    record = see(policy, image, stamp).reuse
    assert (record.reason, record.fresh) == (reason, 16)


@pytest.mark.parametrize(
    ("observation", "said"),
    [
        (Observation((picture(0)[:0],), PICK, 0.1), r"\[height, width, 3\] pixels, got \[0, 56, 3\]"),
        (Observation((picture(0).astype(np.float32),), PICK, 0.1), "expected an array of uint8, got float32"),
        (Observation((picture(0)[..., :1],), PICK, 0.1), "pixels"),
        (Observation((), PICK, 0.1), "1 camera image"),
        (Observation((picture(0),), " ", 0.1), "instruction"),
        (Observation((picture(0),), "juggle", 0.1), "no word of the instruction 'juggle'"),
        (Observation((picture(0),), "pick " * 200, 0.1), "at most 128"),
        (Observation((picture(0),), PICK, math.nan), "stamp"),
    ],
)
def test_a_faulty_observation_is_refused_and_leaves_the_policy_as_it_was(
    policy: Policy, observation: Observation, said: str
) -> None:
    see(policy, picture(9), 0.0)
    expected = see(policy, picture(9), 0.1)
    policy.reset()
    see(policy, picture(9), 0.0)
    with pytest.raises(ObservationError, match=said) as caught:
        policy.infer(observation)
    assert "\n" not in str(caught.value)
    after = see(policy, picture(9), 0.1)
    np.testing.assert_array_equal(after.tokens, expected.tokens)
    assert after.reuse.reused == expected.reuse.reused > 0


def test_output_that_is_no_number_is_no_action_and_the_next_tick_is_fresh(policy: Policy) -> None:
    see(policy, picture(9), 0.0)
    head = policy.model.network.language_model.lm_head
    kept = head.weight.clone()
    head.weight.fill_(math.nan)
    with pytest.raises(ActionError, match="not finite"):
        see(policy, picture(9), 0.1)
    head.weight.copy_(kept)
    after = see(policy, picture(9), 0.2)
    assert (after.reuse.fresh, after.reuse.reason) == (16, "the tick before failed")


def test_a_token_that_is_no_action_is_refused(tmp_path: Path) -> None:
    policy = Policy.load(write_small(tmp_path / "checkpoint"))
    policy.model.network.language_model.lm_head.weight[:64] *= 1000.0
    with pytest.raises(ActionError, match="which are no actions: those are 64 to 319"):
        see(policy, picture(9), 0.0)


def test_scores_that_no_budget_asks_for_are_not_computed(policy: Policy) -> None:
    for mode, unused, used in (
        ("visual_only", "attention_score", "visual_score"),
        ("attention_only", "visual_score", "attention_score"),
    ):
        policy.set_tunables(replace(TUNABLES, mode=mode))
        policy.reset()
        see(policy, picture(1), 0.0)
        record = see(policy, picture(1), 0.1).reuse
        assert not getattr(record, unused).any()
        assert getattr(record, used).any()
