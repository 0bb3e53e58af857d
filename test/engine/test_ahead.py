"""What is worked out for the next tick behind the action: it changes nothing, and is gone where it no longer holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.engine import ActionError, Observation, Policy, Result
from vla_entropy_ros.engine.reuse.joint import Needed
from vla_entropy_ros.engine.tunables import JOINT, Tunables

OURS = replace(Tunables.default(16), mode=JOINT, k1=1, k2=2, row_budget=5, T=4, max_age=8)
OTHERS = {  # by tick: what the policy runs with from then on
    6: replace(OURS, k1=2, k2=4),
    8: replace(OURS, max_age=2),
    10: replace(OURS, T=9, row_budget=0),
    12: replace(OURS, drafts="off"),
    14: OURS,
    16: replace(OURS, mode="vla_cache"),
    18: OURS,
}
RESET, FAILS, TICKS = 21, 23, 27


def seen(tick: int) -> Observation:
    random = np.random.default_rng(tick)
    frame = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
    row, column = random.integers(0, 43, 2)
    frame[row : row + 14, column : column + 14] = random.integers(0, 256, 3)
    return Observation((frame,), "pick up the red cube" if tick < 4 else "push the red cube", 0.1 * tick)


def record(result: Result) -> list[Any]:
    reuse, drafts = result.reuse, result.drafts
    arrays = (result.tokens, result.actions, reuse.codes, reuse.age, reuse.visual_score, reuse.attention_score)
    return [*(array.tolist() for array in arrays), result.decoder_rows, drafts.tried_sources, reuse.reason, reuse.t]


def run(policy: Policy, between: Callable[[], None]) -> list[list[Any]]:
    """Ticks with another instruction, other tunables, a reset and a failure; `between` two of them, that is called."""
    policy.set_tunables(OURS)
    records = []
    for tick in range(TICKS):
        policy.set_tunables(OTHERS.get(tick, policy.tunables))
        if tick == RESET:
            policy.reset()
        if tick == FAILS:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(policy.model.head, "act", refuse)
                with pytest.raises(ActionError):
                    policy.infer(seen(tick))
        else:
            records.append(record(policy.infer(seen(tick))))
        between()
    return records


def refuse(*_: object) -> Any:
    raise ActionError("no action")


def test_a_tick_is_the_same_settled_or_not_and_with_nothing_worked_out_ahead(load_small: Callable[[], Policy]) -> None:
    settled, waiting, forgetful = (load_small() for _ in range(3))

    def forget() -> None:
        forgetful.settle()
        forgetful._selector._needed = None
        forgetful.model.head._drafter._proposed = {}  # type: ignore[attr-defined]

    expected = run(forgetful, forget)
    assert run(settled, settled.settle) == expected
    assert run(waiting, lambda: None) == expected
    assert sum(reason is None for *_, reason, _ in expected) > TICKS / 2


def test_what_is_needed_is_worked_out_behind_the_action(
    load_small: Callable[[], Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, asked, of = load_small(), [], Needed.of

    def noted(*given: Any) -> Needed:
        asked.append(given[2:])
        return of(*given)

    monkeypatch.setattr(Needed, "of", noted)
    policy.set_tunables(OURS)
    for tick in range(3):
        policy.infer(seen(tick))
        policy.settle()
    assert asked == [(1, 8), (1, 8), (2, 8)]  # the next tick's budget by attention, once each
    policy.infer(seen(3))
    assert len(asked) == 3
    policy.settle()
    policy.set_tunables(replace(OURS, max_age=5))
    policy.infer(seen(3))
    assert asked[3:] == [(2, 8), (2, 5)]
    policy.settle()
    policy.infer(seen(4))  # another instruction: everything is fresh
    assert len(asked) == 6
