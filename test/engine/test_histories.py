"""Random histories of images, instructions and interruptions: nothing outlives what it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.actions.drafts import CENTRE, EXTRAPOLATED, PREVIOUS

from .test_reuse import TUNABLES, budgets_at, picture

INSTRUCTIONS = ("pick up the red cube", "put it down", "pick up the green cube")


@dataclass(frozen=True)
class Step:
    """One observation after the last: which picture at which size, what is asked, time passed, a reset before it."""

    picture: int
    size: int
    instruction: int
    passed: float
    reset: bool


steps = st.builds(
    Step,
    picture=st.integers(0, 2),
    size=st.sampled_from((56, 56, 56, 70)),
    instruction=st.sampled_from((0, 0, 0, 1, 2)),
    passed=st.sampled_from((0.1, 0.1, 0.1, 0.1, -5.0, 60.0)),
    reset=st.sampled_from((False, False, False, False, True)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=2, max_size=9), settled=st.booleans())
def test_no_history_lets_the_past_leak(load_small: Callable[[], Policy], history: list[Step], settled: bool) -> None:
    policy = load_small()
    policy.set_tunables(TUNABLES)
    stamp, before = 0.0, None
    for step in history:
        stamp += step.passed
        if step.reset:
            policy.reset()
        result = policy.infer(Observation((picture(step.picture, step.size),), INSTRUCTIONS[step.instruction], stamp))
        if settled:
            policy.settle()
        cut = before is None or step.reset or step.size != before.size or abs(step.passed) > 1.0
        if cut:
            assert (result.reuse.fresh, result.tick) == (result.reuse.visual, 0)
        if cut or (before is not None and step.instruction != before.instruction):
            tried = result.drafts.tried_sources
            assert set(tried[:6]) == {CENTRE}  # no guess from another instruction
            assert not {PREVIOUS, EXTRAPOLATED} & set(tried)
            assert not result.reuse.attention_score.any()  # and nobody knows yet where the new one looks
        if not cut and before is not None and step.instruction != before.instruction and step.picture == before.picture:
            assert result.reuse.reused > 0  # what was seen does not depend on what was asked
            assert (result.reuse.k_vis, result.reuse.k_attn) == budgets_at(0)
        if cut and step.instruction == 0:
            fresh = load_small()
            fresh.set_tunables(TUNABLES)
            expected = fresh.infer(Observation((picture(step.picture, step.size),), INSTRUCTIONS[0], stamp))
            np.testing.assert_array_equal(result.tokens, expected.tokens)
        before = step
