"""Which visual tokens are fresh: the rules of the method, over random inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.engine.reuse.patches import Patches
from vla_entropy_ros.engine.reuse.schedule import budgets
from vla_entropy_ros.engine.reuse.selection import Required, fill, influence, static_patches, top
from vla_entropy_ros.engine.tunables import MODES
from vla_entropy_ros.evaluation.configurations import preset

DEFAULT = replace(preset("former", 256), mode="info_entropy")
PARTIAL = MODES[2:]  # the published ones


def test_the_schedule_of_the_paper() -> None:
    assert budgets("info_entropy", 0, 40, 60, 100) == (60, 40)
    assert budgets("info_entropy", 50, 40, 60, 100) == (50, 50)
    assert budgets("info_entropy", 100, 40, 60, 100) == (40, 60)
    assert budgets("info_entropy", 9999, 40, 60, 100) == (40, 60)
    assert budgets("static_union", 0, 40, 60, 100) == (50, 50)
    assert budgets("info_entropy", 0, 60, 40, 100) == (60, 40)  # the pair is ordered
    assert budgets("visual_only", 7, 40, 60, 100) == (100, 0)
    assert budgets("attention_only", 7, 40, 60, 100) == budgets("vla_cache", 7, 40, 60, 100) == (0, 100)


@given(st.sampled_from(PARTIAL), st.integers(0, 500), st.integers(0, 128), st.integers(0, 128), st.integers(1, 300))
def test_all_modes_spend_the_same(mode: str, t: int, a: int, b: int, T: int) -> None:
    k_vis, k_attn = budgets(mode, t, a, b, T)
    assert k_vis + k_attn == a + b
    assert budgets(mode, t, b, a, T) == (k_vis, k_attn)
    assert min(k_vis, k_attn) >= 0


@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0, 60), difference=st.floats(0, 30))
def test_static_patches_against_the_definition(seed: int, noise: float, difference: float) -> None:
    random = np.random.default_rng(seed)
    before = random.integers(0, 256, (200, 588), np.uint8)
    moved = before + random.normal(0, np.linspace(0, noise, 200)[:, None], before.shape)
    now = np.clip(moved, 0, 255).astype(np.uint8)
    a, b = now.astype(np.float64), before.astype(np.float64)
    alike = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)) >= 0.996
    apart = np.abs(a - b).mean(1)
    stored = Patches.of(np.zeros_like(before))
    stored.copy_rows(Patches.of(before), np.ones(200, np.bool_))
    np.testing.assert_array_equal(static_patches(Patches.of(now), stored, 0.996, 0.0), alike)
    if difference:
        expected = alike & (apart <= difference)
        np.testing.assert_array_equal(static_patches(Patches.of(now), stored, 0.996, difference), expected)


def test_the_difference_test_sees_what_cosine_does_not() -> None:
    black, dim, bright = (Patches.of(np.full((1, 588), level, np.uint8)) for level in (0, 60, 120))
    assert static_patches(bright, dim, 0.996, 0.0)
    assert not static_patches(bright, dim, 0.996, 6.0)
    assert static_patches(black, black, 0.996, 6.0)  # black stays black


def test_only_the_given_rows_are_copied() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (4, 12), np.uint8)
    stored, rows = Patches.of(np.zeros_like(raw)), np.array([True, False, True, False])
    stored.copy_rows(Patches.of(raw), rows)
    np.testing.assert_array_equal(stored.pixels, np.where(rows[:, None], raw, 0))
    np.testing.assert_array_equal(stored.lengths, (stored.pixels**2).sum(1))


def test_top_breaks_ties_by_position() -> None:
    assert np.flatnonzero(top(np.array([0.1, 0.5, 0.5, 0.5, 0.2]), 2)).tolist() == [1, 2]


@pytest.mark.parametrize("mode", PARTIAL)
@given(seed=st.integers(0, 2**32 - 1), row_budget=st.integers(0, 64), max_age=st.integers(0, 12), t=st.integers(0, 200))
def test_what_is_reused_is_static_unimportant_and_young(
    mode: str, seed: int, row_budget: int, max_age: int, t: int
) -> None:
    random = np.random.default_rng(seed)
    tunables = replace(DEFAULT, mode=mode, row_budget=row_budget, max_age=max_age)
    static, age = random.random(64) < 0.8, random.integers(0, 13, 64)
    image, attention = random.random(64), random.random(64)
    chosen = Required.of(tunables, t, image, attention, static, age).filled(tunables, age.astype(np.float64))
    reused = ~chosen.fresh
    assert not (reused & ~static).any()
    assert not (reused & (chosen.by_visual | chosen.by_attention)).any()
    assert (age[reused] + 1 <= max_age).all()
    assert chosen.fresh.sum() >= min(row_budget, 64)
    assert chosen.by_visual.sum() == chosen.k_vis
    assert chosen.by_attention.sum() == chosen.k_attn
    if chosen.by_visual.any() and not chosen.by_visual.all():
        assert image[chosen.by_visual].min() >= image[~chosen.by_visual].max()


@given(seed=st.integers(0, 2**32 - 1), row_budget=st.integers(0, 64), taper_rows=st.integers(0, 64))
def test_the_last_layers_compute_what_is_important_or_old_and_then_the_most_urgent(
    seed: int, row_budget: int, taper_rows: int
) -> None:
    random = np.random.default_rng(seed)
    tunables = replace(DEFAULT, row_budget=row_budget, taper_rows=taper_rows, max_age=8)
    static, age = random.random(64) < 0.8, random.integers(0, 10, 64)
    scores, urgency, deep_urgency = random.random((3, 64))
    required = Required.of(tunables, 5, scores, scores, static, age)
    chosen = required.filled(tunables, urgency, deep_urgency)
    must = chosen.by_visual | chosen.by_attention | (age >= 8)
    assert not (chosen.deep & ~chosen.fresh).any()
    assert (chosen.deep[must]).all()
    assert chosen.deep.sum() == min(max(taper_rows, must.sum()), chosen.fresh.sum())
    free, left = chosen.deep & ~must, chosen.fresh & ~chosen.deep
    if free.any() and left.any():
        assert deep_urgency[free].min() >= deep_urgency[left].max()
    assert (required.filled(tunables, urgency).deep == chosen.fresh).all()


def test_spare_rows_go_to_the_most_urgent() -> None:
    fresh, urgency = np.array([True, False, False, False, False]), np.array([0.0, 3.0, 9.0, 1.0, 9.0])
    assert np.flatnonzero(fill(fresh, urgency, 3)).tolist() == [0, 2, 4]
    assert fill(fresh, urgency, 1).tolist() == fresh.tolist()
    assert fill(fresh, urgency, 99).all()


def test_influence_is_change_times_attention() -> None:
    drift, mass = np.array([0.5, 0.0, 0.2]), np.array([0.1, 0.9, 0.5])
    assert influence(drift, mass).tolist() == [0.05, 0.0, 0.1]
    assert influence(drift, np.zeros(3)).tolist() == drift.tolist()


def test_of_the_static_patches_only_the_most_alike_count_where_there_is_a_cap() -> None:
    random = np.random.default_rng(3)
    before = random.integers(50, 200, (32, 588), np.uint8)
    noise = np.arange(32)[:, None] * random.normal(0, 0.25, before.shape)  # the later, the less alike
    now = Patches.of((before + noise).round().clip(0, 255).astype(np.uint8))
    reference = Patches.of(before)
    alike = static_patches(now, reference, 0.996, 0.0)
    assert alike.sum() > 12
    assert np.flatnonzero(static_patches(now, reference, 0.996, 0.0, 12)).tolist() == list(range(12))
    assert (static_patches(now, reference, 0.996, 0.0, 32) == alike).all()
    black = Patches.of(np.zeros((32, 588), np.uint8))
    assert static_patches(black, black, 0.996, 0.0, 5).sum() == 5  # two black patches are alike
