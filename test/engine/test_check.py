"""An answer against full recomputation: it changes nothing, finds nothing where all is fresh, and finds faults."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.engine import ActionError, Observation, Policy, Result
from vla_entropy_ros.engine.actions.check import Agreement
from vla_entropy_ros.engine.actions.head import Acted
from vla_entropy_ros.engine.actions.speculative import NO_TOKENS
from vla_entropy_ros.engine.actions.tokens import ACTION_NAMES

from .test_reuse import FEW, PICK, PUT, TUNABLES, picture

EXACT = Agreement(1.0, 0.0, 0.0, 0.0, True)


def observation(seed: int, stamp: float, instruction: str = PICK, base: int = 0) -> Observation:
    """A picture whose upper half is always that of `base`, so that its tokens are reused."""
    image = picture(seed)
    image[:28] = picture(base)[:28]
    return Observation((image,), instruction, stamp)


def record(result: Result) -> tuple[object, ...]:
    """All of a tick but the time that it took."""
    reuse, drafts = result.reuse, result.drafts
    arrays = (result.actions, result.tokens, result.token_entropy, reuse.fresh_mask, reuse.age, reuse.attention_score)
    return (*(one.tobytes() for one in arrays), drafts, reuse.reason, result.decoder_rows, result.tick)


@FEW
@given(
    history=st.lists(st.tuples(st.integers(0, 3), st.sampled_from((PICK, PICK, PICK, PUT)), st.booleans()), max_size=7),
    drafts=st.sampled_from(("exact", "off")),
    graphs=st.booleans(),
    settled=st.booleans(),
)
def test_after_a_check_ticks_are_what_they_would_have_been(
    small_folder: Path, history: list[tuple[int, str, bool]], drafts: str, graphs: bool, settled: bool
) -> None:
    checked, other = (Policy.load(small_folder, graphs=graphs) for _ in range(2))
    for policy in (checked, other):
        policy.set_tunables(policy.fitting(replace(TUNABLES, drafts=drafts)))
    for number, (seed, instruction, check) in enumerate([(0, PICK, True), *history, (1, PICK, False)]):
        seen = observation(seed, 0.1 * number, instruction)
        mine, its = checked.infer(seen), other.infer(seen)
        assert record(mine) == record(its)
        if settled:
            checked.settle()
            other.settle()
        if check:
            checked.compare(seen, mine)
        assert checked._cache.keys.equal(other._cache.keys)
        assert checked._cache.values.equal(other._cache.values)


@pytest.mark.parametrize("drafts", ["exact", "off"])
@pytest.mark.parametrize("graphs", [False, True])
def test_where_all_is_fresh_they_agree_to_the_last_bit(small_folder: Path, drafts: str, graphs: bool) -> None:
    policy = Policy.load(small_folder, graphs=graphs)
    policy.set_tunables(policy.fitting(replace(TUNABLES, mode="full", drafts=drafts)))
    for number in range(4):
        seen = observation(number, 0.1 * number)
        assert policy.compare(seen, policy.infer(seen)) == EXACT


@pytest.mark.parametrize("what", ["keys", "values"])
def test_an_overwritten_slot_is_seen(load_small: Callable[[], Policy], what: str) -> None:
    policy = load_small()
    policy.set_tunables(TUNABLES)
    first, second, third = (observation(0, 0.1 * number) for number in range(3))
    policy.infer(first)
    result = policy.infer(second)
    assert result.reuse.reused > 0
    assert policy.compare(second, result) == EXACT  # the same picture
    slots = getattr(policy._cache, what)[:, :, policy.model.layout.first_visual :][:, :, : result.reuse.visual]
    slots.mul_(-40.0)
    spoiled = policy.compare(third, policy.infer(third))
    assert spoiled.tokens < 1.0
    assert max(spoiled.translation, spoiled.rotation, spoiled.other) > 0
    policy.reset()
    assert policy.compare(third, policy.infer(third)) == EXACT


def test_columns_have_their_units_and_what_no_number_is_disagrees() -> None:
    plain = Acted(np.zeros((2, 8)), replace(NO_TOKENS, tokens=np.arange(4)))
    actions = np.zeros((2, 8))
    actions[0, :3], actions[1, 3:6], actions[0, 6], actions[1, 7] = (0.3, 0.0, 0.4), (0.0, 0.06, 0.08), -0.5, 0.7
    answer = Acted(actions, replace(NO_TOKENS, tokens=np.array([0, 1, 2, 9])))
    found = Agreement.of((*ACTION_NAMES, "elbow"), answer, plain)
    assert (found.tokens, found.other, found.finite) == (0.75, 0.7, True)
    assert (found.translation, found.rotation) == pytest.approx((0.5, 0.1))
    alone = Agreement.of(("elbow",), Acted(np.ones((1, 1))), Acted(np.zeros((1, 1))))
    assert alone == Agreement(1.0, 0.0, 0.0, 1.0, True)
    broken = Agreement.of(ACTION_NAMES, Acted(np.full((1, 7), math.nan)), Acted(np.zeros((1, 7))))
    assert broken == Agreement(0.0, math.inf, math.inf, math.inf, False)


def test_a_recomputation_without_actions_disagrees_and_the_policy_goes_on(
    load_small: Callable[[], Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_small()
    seen = observation(0, 0.0)
    result = policy.infer(seen)

    def fail(*_: object) -> None:
        raise ActionError("no action")

    with monkeypatch.context() as patch:
        patch.setattr(policy.model.head, "act", fail)
        assert not policy.compare(seen, result).finite
    assert policy.infer(replace(seen, stamp=0.1)).reuse.reused > 0


def test_what_a_check_keeps_is_freed(load_small: Callable[[], Policy]) -> None:
    policy = load_small()
    seen = observation(0, 0.0)
    policy.compare(seen, policy.infer(seen))
    kept = weakref.ref(policy._plain)
    policy.end_comparing()
    gc.collect()
    assert kept() is None
    assert policy.compare(seen, policy.infer(replace(seen, stamp=0.1))).finite
