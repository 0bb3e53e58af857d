"""The hash that tells whether a change is numerically neutral: it covers what matters, and it can change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools import neutral
from vla_entropy_ros.engine import Observation, Policy, Result
from vla_entropy_ros.engine.tunables import DEFAULT_TOKENS, MODES

TICKS = 8


@pytest.fixture(scope="module")
def small(checkpoint: Path) -> Iterator[None]:
    """The tool with a small policy and a few of the ticks."""
    seen = neutral.observations()[::5][:TICKS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neutral, "default_checkpoint", lambda: checkpoint)
        patch.setattr(neutral, "observations", lambda: seen)
        yield


@pytest.fixture(scope="module")
def hashes(small: None) -> dict[str, str]:
    return neutral.hashes()


@pytest.fixture(scope="module")
def result(checkpoint: Path) -> Result:
    """One tick."""
    tunables = neutral.configurations(16)["default"]
    return next(neutral.replay(Policy.load(checkpoint), tunables, neutral.observations()[:1]))


def test_the_hash_covers_every_mode_and_kind_of_decoding(hashes: dict[str, str]) -> None:
    configurations = neutral.configurations(DEFAULT_TOKENS)
    assert list(hashes) == list(configurations)
    assert len(hashes) >= 7
    assert {tunables.mode for tunables in configurations.values()} == set(MODES)
    assert {tunables.drafts for tunables in configurations.values()} >= {"off", "exact", "bounded"}
    assert len(set(hashes.values())) > len(hashes) / 2


def test_fixed_shapes_are_what_the_default_is(hashes: dict[str, str]) -> None:
    assert hashes["fixed shapes"] == hashes["default"] != hashes["default, tapered"]


def test_a_changed_result_changes_the_hash_and_nothing_else_does(
    small: None, hashes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"default": neutral.configurations(16)["default"]}
    monkeypatch.setattr(neutral, "configurations", lambda tokens: few)
    assert neutral.hashes() == {"default": hashes["default"]}
    infer, ticks = Policy.infer, []

    def altered(policy: Policy, observation: Observation) -> Result:
        ticks.append(observation)
        result = infer(policy, observation)
        return replace(result, decoder_passes=result.decoder_passes + (len(ticks) == TICKS))

    monkeypatch.setattr(Policy, "infer", altered)
    assert neutral.hashes() != {"default": hashes["default"]}
    assert len(ticks) == TICKS


@pytest.mark.parametrize("part", ["tokens", "actions", "decoder_passes", "decoder_rows", "tick"])
def test_a_record_holds_what_must_not_change(result: Result, part: str) -> None:
    value: Any = getattr(result, part)
    other: Any = (*value, 1) if isinstance(value, tuple) else value + 1
    assert neutral.record(replace(result, **{part: other})) != neutral.record(result)


@pytest.mark.parametrize("part", ["fresh_mask", "age", "k_vis", "k_attn", "reason"])
def test_a_record_holds_what_was_reused(result: Result, part: str) -> None:
    value: Any = getattr(result.reuse, part)
    other: Any = "because" if part == "reason" else ~value if part == "fresh_mask" else value + 1
    changed = replace(result, reuse=replace(result.reuse, **{part: other}))
    assert neutral.record(changed) != neutral.record(result)


def test_one_hash_of_all_depends_on_each_and_not_on_their_order() -> None:
    made = {"a": "1", "b": "2"}
    assert neutral.whole(made) == neutral.whole(dict(reversed(made.items())))
    assert len({neutral.whole(one) for one in (made, {**made, "b": "3"}, {"a": "1"}, {"a": "2", "b": "1"})}) == 4
