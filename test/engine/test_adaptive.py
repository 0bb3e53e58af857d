"""The adaptive schedule: what it reacts to, and that it stays within bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.reuse.schedule import MEMORY, Activity, adapt
from vla_entropy_ros.engine.tunables import Tunables

BASE = replace(Tunables.default(), k1=10, k2=20, row_budget=40, T=100, adaptive=True)
CLOSED, OPEN = 0.0, 1.0


def after(static_share: float, entropy: float, opening: float | None = CLOSED) -> Activity:
    activity = Activity()
    activity.observe(static_share, entropy, opening)
    return activity


def test_a_calm_scene_halves_the_budgets_and_motion_raises_them() -> None:
    calm, busy = adapt(BASE, after(1.0, 0.0), 64), adapt(BASE, after(0.0, 0.0), 64)
    assert (calm.k1, calm.k2, calm.row_budget, calm.T) == (5, 10, 20, 100)
    assert (busy.k1, busy.k2, busy.row_budget, busy.T) == (15, 30, 60, 50)


def test_uncertain_actions_raise_the_budgets() -> None:
    assert adapt(BASE, after(1.0, 0.5), 64).k1 == 10


def test_a_gripper_event_raises_the_budgets_for_a_while() -> None:
    activity = after(1.0, 0.0, OPEN)
    assert activity.observe(1.0, 0.0, CLOSED)
    row_budgets = []
    for _ in range(MEMORY + 1):
        row_budgets.append(adapt(BASE, activity, 64).row_budget)
        assert not activity.observe(1.0, 0.0, CLOSED)
    assert row_budgets == sorted(row_budgets, reverse=True)
    assert (row_budgets[0], row_budgets[-1]) == (60, 20)


def test_an_action_without_a_gripper_has_no_gripper_events() -> None:
    activity = after(1.0, 0.0, None)
    assert not activity.observe(1.0, 0.0, None)
    assert activity.urgency == 0.0


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 32), st.integers(0, 32), st.integers(1, 64))
def test_budgets_never_exceed_the_tokens(static: float, entropy: float, k1: int, k2: int, tokens: int) -> None:
    adapted = adapt(replace(BASE, k1=k1, k2=k2), after(static, entropy), tokens)
    adapted.check_budgets(tokens)
    assert adapted.T >= 1


def test_it_changes_what_a_policy_computes_only_when_it_is_on(load_small: Callable[[], Policy]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
    fresh = {}
    for adaptive in (False, True):
        policy = load_small()
        policy.set_tunables(replace(Tunables.default(16), k1=0, k2=0, row_budget=10, adaptive=adaptive))
        for tick in range(4):
            result = policy.infer(Observation((frame,), "pick up the red cube", 0.1 * tick))
        fresh[adaptive] = result.reuse.fresh
    assert fresh[False] == 10 != fresh[True]
