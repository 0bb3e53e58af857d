"""The default's rule: what is due, what is important, and that the row budget holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.reuse.joint import AGEING, Information, due, joint_information, visual_information
from vla_entropy_ros.engine.reuse.schedule import budgets
from vla_entropy_ros.engine.reuse.scores import Scores
from vla_entropy_ros.engine.reuse.selection import BY_VISUAL, FILLED, OLD, top
from vla_entropy_ros.engine.tunables import JOINT, Tunables

N = 64
OURS = replace(Tunables.default(N), mode=JOINT)
NO_PATCH = np.zeros(N, np.bool_)
Choose = st.integers(0, 2**32 - 1)


def information(seed: int) -> Information:
    random = np.random.default_rng(seed)
    visual, change, deep, attention = random.random((4, N))
    return Information(visual, change, deep, attention, random.integers(0, 12, N))


def in_force(tunables: Tunables, t: int) -> tuple[int, int]:
    return budgets(tunables.mode, t, tunables.k1, tunables.k2, tunables.T)


@given(Choose, st.integers(1, 30))
def test_no_token_is_ever_older_than_max_age_and_none_is_due_in_a_burst(seed: int, max_age: int) -> None:
    age = np.zeros(N, np.int64)  # all were computed at the first tick
    random = np.random.default_rng(seed)
    counts = []
    for _ in range(3 * max_age):
        oldest = due(age, max_age)
        fresh = oldest | (random.random(N) < 0.1)
        age = np.where(fresh, 0, age + 1)
        assert age.max() <= max_age
        counts.append(int(oldest.sum()))
    assert max(counts) <= np.ceil(N / max_age) + 1  # as many as a constant rate asks for


def test_with_no_age_allowed_everything_is_due() -> None:
    assert due(np.zeros(N, np.int64), 0).all()


def test_the_oldest_are_due_first() -> None:
    age = np.arange(N)
    assert np.flatnonzero(due(age, 1000)).tolist() == [N - 1]


@given(Choose, st.integers(0, 200), st.integers(0, 20), st.integers(0, 20), st.integers(0, N), st.integers(1, 100))
def test_budgets_decide_what_is_fresh(seed: int, t: int, k1: int, k2: int, row_budget: int, T: int) -> None:
    tunables = replace(OURS, k1=k1, k2=k2, row_budget=row_budget, T=T, max_age=20)
    known = information(seed)
    chosen = known.select(tunables, in_force(tunables, t), NO_PATCH)
    assert (chosen.k_vis, chosen.k_attn) == budgets(JOINT, t, k1, k2, T)
    assert (chosen.by_visual.sum(), chosen.by_attention.sum()) == (chosen.k_vis, chosen.k_attn)
    important = chosen.by_visual | chosen.by_attention | chosen.old
    assert chosen.fresh[important].all()
    assert chosen.fresh.sum() == max(row_budget, important.sum())
    filled = chosen.fresh & ~important
    if filled.any() and not chosen.fresh.all():
        score = joint_information(known.attention, known.change, known.age)
        assert score[filled].min() >= score[~chosen.fresh].max()


def test_a_patch_is_not_fresh_for_having_changed_alone() -> None:
    known = replace(information(0), age=np.zeros(N, np.int64))
    tunables = replace(OURS, k1=2, k2=3, row_budget=8, max_age=100)
    still = known.select(tunables, in_force(tunables, 4), ~NO_PATCH)
    assert (known.select(tunables, in_force(tunables, 4), NO_PATCH).fresh == still.fresh).all()
    assert still.fresh.sum() == 8


def test_a_token_at_rest_that_is_looked_at_counts_more_than_one_nobody_looks_at() -> None:
    attention, change, new = np.array([1.0, 1.0, 0.0, 0.5]), np.array([0.0, 0.04, 1.0, 0.04]), np.zeros(4, np.int64)
    score = joint_information(attention, change, new)
    np.testing.assert_allclose(score, [AGEING, AGEING + 0.2, 0.0, AGEING / 2 + 0.1])


def test_of_two_at_rest_the_older_one_counts_more() -> None:
    alike, age = np.full(3, 0.5), np.array([0, 4, 19])
    np.testing.assert_allclose(joint_information(alike, np.zeros(3), age), 0.5 * AGEING * (age + 1))


def test_of_two_that_have_changed_alike_the_one_with_more_to_see_comes_first() -> None:
    entropy, change = np.linspace(0, 1, N), np.full(N, 0.3)
    score = visual_information(change, lambda rows: entropy[rows], 4)
    assert np.flatnonzero(top(score, 4)).tolist() == list(range(N - 4, N))
    change[0] = 0.7  # more than twice as much
    assert visual_information(change, lambda rows: entropy[rows], 4).argmax() == 0


@given(Choose, st.integers(0, N))
def test_entropy_is_asked_only_where_it_can_decide(seed: int, k_vis: int) -> None:
    random = np.random.default_rng(seed)
    change, entropy, asked = random.random(N) ** 4, random.random(N), []

    def image_entropy(rows: NDArray[np.int64]) -> Scores:
        asked.append(len(rows))
        return entropy[rows]

    expected = top(change * (0.5 + 0.5 * entropy), k_vis)
    assert (top(visual_information(change, image_entropy, k_vis), k_vis) == expected).all()
    assert len(asked) == (k_vis > 0)
    assert sum(asked) < N or k_vis > N // 8


@given(Choose, st.integers(1, N))
def test_the_taper_takes_what_is_due_and_then_what_counts_most(seed: int, taper_rows: int) -> None:
    chosen = information(seed).select(replace(OURS, row_budget=40, taper_rows=taper_rows), in_force(OURS, 3), NO_PATCH)
    assert not (chosen.deep & ~chosen.fresh).any()
    assert chosen.deep[chosen.old].all()
    assert chosen.deep.sum() == min(max(taper_rows, chosen.old.sum()), chosen.fresh.sum())


def test_reasons_are_told_apart() -> None:
    known = replace(information(1), age=np.zeros(N, np.int64))
    few = replace(OURS, k1=2, k2=3, row_budget=20, max_age=100)
    chosen = known.select(few, in_force(few, 0), NO_PATCH)
    counts = np.bincount(chosen.codes, minlength=7)
    assert counts[1] == 0  # nothing is forced
    assert counts[BY_VISUAL : BY_VISUAL + 3].sum() + counts[OLD] + counts[FILLED] == chosen.fresh.sum() == 20
    assert set(np.flatnonzero(chosen.codes)) == set(np.flatnonzero(chosen.fresh))


def see(policy: Policy, tick: int, told: str = "pick up the red cube", seed: int = 0) -> Observation:
    frame = np.random.default_rng(seed).integers(0, 256, (56, 56, 3), np.uint8)
    frame[:14, :14] = 60 * (tick % 4)  # one patch changes
    return Observation((frame,), told, 0.1 * tick)


@pytest.fixture
def policy(load_small: Callable[[], Policy]) -> Policy:
    policy = load_small()
    policy.set_tunables(replace(Tunables.default(16), mode=JOINT, k1=1, k2=2, row_budget=5, T=4, max_age=8))
    return policy


def test_a_tick_keeps_to_the_row_budget_and_the_schedule_is_told(policy: Policy) -> None:
    for tick in range(8):
        reuse = policy.infer(see(policy, tick)).reuse
        policy.settle()
        assert reuse.t == tick
        assert (reuse.k_vis, reuse.k_attn) == ((0, 0) if tick == 0 else budgets(JOINT, tick, 1, 2, 4))
        if tick:
            assert reuse.reason is None
            assert reuse.by_visual == reuse.k_vis
            assert 5 <= reuse.fresh <= 7
            assert reuse.by_visual + reuse.by_attention + reuse.old + reuse.filled >= reuse.fresh


def test_a_new_instruction_makes_everything_fresh_and_restarts_the_schedule(policy: Policy) -> None:
    for tick in range(4):
        policy.infer(see(policy, tick))
        policy.settle()
    reuse = policy.infer(see(policy, 4, "push the red cube")).reuse
    assert (reuse.reason, reuse.fresh, reuse.t) == ("new instruction", 16, 0)
    policy.settle()
    reuse = policy.infer(see(policy, 5, "push the red cube")).reuse
    assert (reuse.reason, reuse.t) == (None, 1)
    assert reuse.fresh < 16


def test_another_mode_begins_anew_since_each_remembers_what_it_asks_for(policy: Policy) -> None:
    modes = (JOINT, "vla_cache", "full", "info_entropy", JOINT)
    for tick, mode in enumerate(np.repeat(modes, 2)):
        policy.set_tunables(replace(policy.tunables, mode=str(mode)))
        reuse = policy.infer(see(policy, tick)).reuse
        policy.settle()
        if mode == "full":
            assert reuse.fresh == 16
        elif tick % 2 == 0:
            assert (reuse.reason, reuse.fresh) == ("new mode" if tick else "new episode", 16)
        else:
            assert reuse.reason is None
            assert reuse.fresh < 16
