"""Every tunable changes what a tick does in the modes that listen to it, and nothing in those that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.neutral import record
from vla_entropy_ros.engine import Observation, Policy, Tunables
from vla_entropy_ros.engine.tunables import MODES, TUNABLE_SETTINGS

GRID, PATCH = 4, 14  # of the policy with random weights
INSTRUCTION = "pick up the red cube"
# Nothing is filled up and nothing tapers, so that the others show.
BASE = replace(Tunables.default(GRID**2), k1=1, k2=4, T=4, row_budget=0, taper_rows=0, scene_cut=1.0, max_age=20)
Replay = Callable[[Tunables], list[Any]]


@dataclass(frozen=True)
class Case:
    """Two values of a setting that must differ, and what they differ under."""

    one: Any
    other: Any
    under: dict[str, Any] = field(default_factory=dict)


CASES = {
    "mode": Case("full", "vla_cache"),
    "k1": Case(1, 3),
    "k2": Case(4, 6),
    "T": Case(2, 6),
    "max_age": Case(2, 20),
    "row_budget": Case(0, 11),
    "taper_rows": Case(0, 6, {"row_budget": 12}),
    "drafts": Case("off", "exact"),
    "scene_cut": Case(0.5, 1.0),
    "max_gap": Case(1.0, 10.0),
    "static.reference": Case("anchor", "previous"),
    "static.similarity": Case(0.5, 0.9999, {"static.difference": 0.0}),
    "static.difference": Case(0.0, 6.0),
    "static.top_k": Case(0, 5, {"static.difference": 0.0}),
}


def patch(image: np.ndarray, number: int) -> np.ndarray:
    """The pixels of one patch, to be changed."""
    row, column = PATCH * (number // GRID), PATCH * (number % GRID)
    return image[row : row + PATCH, column : column + PATCH]


def scene() -> list[Observation]:
    """Twelve ticks in which all happens that a setting can make a difference to."""
    random = np.random.default_rng(1)
    image = random.integers(40, 160, (GRID * PATCH, GRID * PATCH, 3), np.uint8)
    for number in range(GRID**2):
        patch(image, number)[: number % PATCH] = 7 * number  # more to see in some patches than in others
    patch(image, 9)[...] = 0
    seen, stamp = [], 0.0
    for tick in range(12):
        stamp += 2.0 if tick == 8 else 0.1  # a gap
        patch(image, tick % 4)[...] = random.integers(0, 256, 3)  # something moves
        patch(image, 5)[...] += 2  # something gets brighter slowly
        patch(image, 6)[...] = 120 if tick % 2 else 100  # something flickers, its pixels in proportion
        patch(image, 9)[...] = random.integers(0, 4, (PATCH, PATCH, 3))  # something dark is noisy
        if tick == 5:
            for number in range(2, 14):
                patch(image, number)[...] = random.integers(0, 100, (PATCH, PATCH, 3))  # a cut
        seen.append(Observation((image.copy(),), INSTRUCTION, stamp))
    return seen


@pytest.fixture(scope="module")
def replay(checkpoint: Path) -> Replay:
    """What the ticks of the scene do under given tunables."""
    policy, seen = Policy.load(checkpoint), scene()

    @cache
    def replayed(tunables: Tunables) -> list[Any]:
        policy.set_tunables(tunables)
        policy.reset()
        records = []
        for observation in seen:
            records.append(record(policy.infer(observation)))
            policy.settle()
        return records

    return replayed


def test_every_tunable_has_a_case() -> None:
    assert list(CASES) == [setting.name for setting in TUNABLE_SETTINGS]


@pytest.mark.parametrize("setting", TUNABLE_SETTINGS, ids=lambda setting: setting.name)
def test_it_changes_something_in_the_modes_that_listen_and_nothing_in_the_others(replay: Replay, setting: Any) -> None:
    case = CASES[setting.name]
    changed, heard = {}, {}
    for mode in MODES:
        both = [
            Tunables.of({**BASE.parameters, "mode": mode, **case.under, setting.name: value})
            for value in (case.one, case.other)
        ]
        heard[mode] = all(setting.silence(tunables.parameters) is None for tunables in both)
        changed[mode] = replay(both[0]) != replay(both[1])
    assert changed == heard
    assert any(changed.values())


def test_the_schedule_needs_budgets_that_differ(replay: Replay) -> None:
    (setting,) = (setting for setting in TUNABLE_SETTINGS if setting.name == "T")
    for k2, heard in ((3, False), (4, True)):
        slow = replace(BASE, mode="info_entropy", k1=3, k2=k2, T=9)
        assert (setting.silence(slow.parameters) is None) == heard
        assert (replay(slow) != replay(replace(slow, T=2))) == heard
