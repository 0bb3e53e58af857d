"""The growing layer schedule: shares, and that a pass with fewer rows deeper down stays right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_entropy_ros.engine import Observation, Policy, SettingError
from vla_entropy_ros.engine.decoding.sequence import Answers, Layout
from vla_entropy_ros.engine.reuse.schedule import boundaries, growth, layer_entropy, shares, taper_layer
from vla_entropy_ros.engine.tunables import Tunables

from .conftest import causal, write_small

PICK = "pick up the red cube"


def test_boundaries_are_vla_caches_in_proportion() -> None:
    assert boundaries(32) == [2, 6, 9, 11]
    assert boundaries(3) == [1, 2]
    assert boundaries(1) == []


def test_entropy_is_zero_for_one_token_and_one_for_all() -> None:
    attention = np.zeros((2, 3, 8), np.float32)
    attention[0] = 0.1
    attention[1, :, 4] = 0.7
    np.testing.assert_allclose(layer_entropy(attention), [1.0, 0.0], atol=1e-7)


def test_shares_sum_the_relative_decrease() -> None:
    np.testing.assert_allclose(shares(np.array([0.8, 0.4, 0.6, 0.3])), [0.0, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(shares(np.array([0.8, 0.4, 0.2, 0.1])), [0.0, 0.5, 1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 60))
def test_the_reused_set_only_grows(entropy: list[float], count: int) -> None:
    grown = list(growth(np.arange(count), np.array(entropy)).values())
    for before, after in pairwise(grown):
        assert set(before) <= set(after)


@pytest.fixture
def deep(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Policy]:
    folder = write_small(tmp_path_factory.mktemp("deep") / "checkpoint", layers=6)
    return lambda: Policy.load(folder)


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(10))
def test_rows_left_out_deeper_down_equal_a_full_pass_over_their_own_old_values(
    deep: Callable[[], Policy], seed: int
) -> None:
    policy, random = deep(), np.random.default_rng(seed)
    decoder, cache = policy._eager.decoder, policy._cache
    rows, where = torch.randn(24, 32), torch.arange(24)
    expected = decoder.run(rows, where, where, causal(where), tail=4)
    some = np.sort(random.permutation(20)[:13])
    kept = {2: some, 4: np.sort(random.permutation(some)[:7])}
    narrow = {layer: torch.from_numpy(np.append(k, np.arange(20, 24))) for layer, k in kept.items()}
    before = cache.keys[:, :, : cache.count].clone()
    states = decoder.run(rows, where, where, causal(where), tail=4, narrow=narrow)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-5)
    now = cache.keys[:, :, : cache.count]
    torch.testing.assert_close(now, before, rtol=0, atol=1e-5)  # the same rows give the same keys
    decoder.run(torch.randn(24, 32), where, where, causal(where), tail=4, narrow=narrow)
    untouched = sorted(set(range(24)) - set(narrow[4].tolist()))
    torch.testing.assert_close(now[4:, :, untouched], before[4:, :, untouched], rtol=0, atol=1e-5)
    assert (now[:2] != before[:2]).any()
    assert (now[4:][:, :, narrow[4]] != before[4:][:, :, narrow[4]]).any()


def test_a_plan_counts_the_rows_of_its_layers() -> None:
    kept = {2: np.arange(17), 4: np.arange(11)}
    plan = replace(Layout((0,), 19, 4, 1).answer_rows(Answers.following(range(24)), 0), narrow=kept)
    assert plan.mean_rows(6) == round((24 + 24 + 17 + 17 + 11 + 11) / 6)


TAPER = replace(Tunables.default(16), taper_from=0.5, taper_rows=4, row_budget=9, k1=1, k2=1, max_age=6)


def frames(count: int) -> list[NDArray[np.uint8]]:
    """A scene in which a patch changes from frame to frame."""
    random = np.random.default_rng(2)
    made = [random.integers(0, 256, (56, 56, 3), np.uint8)]
    for _ in range(count - 1):
        made.append(made[-1].copy())
        row, column = random.integers(0, 43, 2)
        made[-1][row : row + 14, column : column + 14] = random.integers(0, 256, 3)
    return made


def test_a_taper_leaves_the_last_layers_of_most_fresh_tokens_as_they_were(deep: Callable[[], Policy]) -> None:
    policy = deep()
    policy.set_tunables(TAPER)
    cache, known, tapered = policy._cache, policy._selector._provenance, 0
    for tick, image in enumerate(frames(20)):
        before, age = cache.keys.clone(), known.deep_age.copy()
        result = policy.infer(Observation((image,), PICK, 0.1 * tick))
        policy.settle()
        fresh, went_on = known.age == 0, known.deep_age == 0
        changed = (cache.keys != before).any(-1).any(1)[:, 1:17].numpy()  # [L, N]
        assert not changed[:3][:, ~fresh].any()
        assert not changed[3:][:, ~went_on].any()
        assert (known.deep_age[~went_on] == age[~went_on] + 1).all()
        np.testing.assert_array_equal(result.reuse.age, known.deep_age)
        assert result.reuse.age.max() <= 6
        assert (went_on <= fresh).all()
        tapered += bool(went_on.sum() < fresh.sum())
    assert tapered > 15
    computed = result.decoder_rows[0] - len(result.drafts.tried_sources) - result.text_rows
    assert computed <= result.reuse.fresh


def test_drafts_change_no_token_under_a_taper(deep: Callable[[], Policy]) -> None:
    tokens: list[list[list[int]]] = []
    for drafts in ("off", "exact"):
        policy = deep()
        policy.set_tunables(replace(TAPER, drafts=drafts))
        tokens.append([])
        for tick, image in enumerate(frames(30)):
            tokens[-1].append(policy.infer(Observation((image,), PICK, 0.1 * tick)).tokens.tolist())
            policy.settle()
    assert tokens[0] == tokens[1]


def test_passes_of_fixed_shapes_do_not_taper(small_folder: Path) -> None:
    fixed, eager = (Policy.load(small_folder, graphs=graphs) for graphs in (True, False))
    wanted = replace(Tunables.default(16), taper_rows=3)
    eager.set_tunables(wanted)
    assert (fixed.fitting(wanted), eager.fitting(wanted)) == (replace(wanted, taper_rows=0), wanted)
    with pytest.raises(SettingError, match=r"taper_rows 3: passes of fixed shapes .*: valid is 0"):
        fixed.set_tunables(wanted)


@pytest.mark.parametrize(("share", "layer"), [(0.0, 1), (0.5, 4), (0.625, 5), (1.0, 8)])
def test_the_taper_begins_behind_its_share_of_the_layers(share: float, layer: int) -> None:
    assert taper_layer(share, 8) == layer


def test_a_still_scene_gives_the_tokens_of_full_recomputation(deep: Callable[[], Policy]) -> None:
    policy = deep()
    tunables = replace(Tunables.default(16), mode="vla_cache", growth_by_layer=True, row_budget=0)
    policy.set_tunables(tunables)
    image = np.random.default_rng(1).integers(0, 256, (56, 56, 3), np.uint8)
    first = policy.infer(Observation((image,), PICK, 0.0))
    policy.settle()
    for tick in range(1, 5):
        result = policy.infer(Observation((image,), PICK, 0.1 * tick))
        policy.settle()
        np.testing.assert_array_equal(result.tokens, first.tokens)
        assert result.reuse.reused > 0
