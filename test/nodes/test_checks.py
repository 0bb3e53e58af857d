"""Answers are held against full recomputation: when, what is found, and when nothing is reused any more."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.engine import DeviceLostError
from vla_entropy_ros.engine.actions.check import Agreement
from vla_entropy_ros.nodes.policy.checks import WINDOW, Checks
from vla_entropy_ros.nodes.policy.orders import Options

from .bench import NOW, OPTIONS, Bench, Outcome

WITHIN = Options(OPTIONS.tunables, 0.1, 0.5, "", check_translation=0.01, check_rotation=0.05)


def off(translation: float = 0.0, rotation: float = 0.0) -> Agreement:
    return Agreement(0.9, translation, rotation, 0.0, True)


class Compared:
    """A policy that is asked for agreements."""

    def __init__(self) -> None:
        self.compared = self.ended = 0
        self.fault: Exception | None = None

    def compare(self, observation: object, result: object) -> Agreement:
        self.compared += 1
        if self.fault is not None:
            raise self.fault
        return off()

    def end_comparing(self) -> None:
        self.ended += 1


def ticks(checks: Checks, policy: Compared, waiting: str, every: int = 0, reused: int = 1) -> str:
    """Let ticks pass, w where the next images wait already; c for each that was checked."""
    done = ""
    options: Any = SimpleNamespace(check_every=every, check_translation=0.01, check_rotation=0.05)
    answer: Any = SimpleNamespace(observation="seen", result=SimpleNamespace(reuse=SimpleNamespace(reused=reused)))
    for one in waiting:
        before = policy.compared
        checks.consider(policy, answer, options, one == "w")  # type: ignore[arg-type]
        done += "c" if policy.compared > before else "-"
    return done


def test_the_first_ticks_that_reuse_are_checked_and_then_every_so_many() -> None:
    checks, policy = Checks(), Compared()
    assert ticks(checks, policy, "." * 3, reused=0) == "---"
    assert ticks(checks, policy, "." * 12) == "c" * WINDOW + "----"
    assert policy.ended >= 1  # the memory is free again
    assert ticks(checks, policy, "." * 7, every=3) == "c--c--c"
    checks.begin()
    assert ticks(checks, policy, "." * 9) == "c" * WINDOW + "-"


def test_never_two_ticks_in_a_row_are_late_and_no_check_is_forgotten() -> None:
    checks, policy = Checks(), Compared()
    assert ticks(checks, policy, "w" * 6) == "c-c-c-"
    assert ticks(checks, policy, "." * 6) == "ccccc-"
    assert ticks(checks, policy, "w" * 6, every=1) == "c-c-c-"


@pytest.mark.parametrize(("name", "bound"), [("translation", 0.01), ("rotation", 0.05)])
def test_a_mean_above_a_bound_exceeds_it_as_soon_as_no_later_check_can_mend_it(name: str, bound: float) -> None:
    lines: list[str] = []
    checks = Checks(exceed=lines.append)
    for number in range(3 * WINDOW):
        checks.note([off(**{name: (0.5 if number % 2 else 1.49) * bound})], WITHIN)
    assert not lines
    for _ in range(WINDOW):
        checks.note([off(**{name: 1.01 * bound})], WITHIN)
    (line,) = lines
    assert f"self_check.{name} {bound:g}" in line
    assert "set another mode" in line
    assert checks.look().exceeded == line
    assert checks.limit(OPTIONS.tunables).mode == "full"
    checks.configure()
    assert checks.limit(OPTIONS.tunables).mode == "full"  # another configure is no other mode
    checks.anew()
    assert checks.limit(OPTIONS.tunables) is OPTIONS.tunables
    checks.note([off(**{name: 1.01 * bound})] * (WINDOW - 1), WITHIN)
    assert len(lines) == 1
    checks.note([off(**{name: bound})], WITHIN)
    assert len(lines) == 2


def test_what_is_not_finite_exceeds_every_bound_and_a_rehearsal_of_a_probe_does_not_count() -> None:
    lines: list[str] = []
    checks = Checks(exceed=lines.append)
    nothing = Agreement(0.0, math.inf, math.inf, math.inf, False)
    checks.note([nothing], WITHIN, counts=False)
    assert not lines
    assert checks.look().total == 1
    checks.note([nothing], WITHIN)
    assert len(lines) == 1


def test_a_check_that_fails_is_told_and_harms_no_tick() -> None:
    checks, policy = Checks(), Compared()
    policy.fault = RuntimeError("out of memory")
    ticks(checks, policy, ".")
    assert checks.look().failure == "RuntimeError: out of memory"
    policy.fault = None
    ticks(checks, policy, ".")
    assert checks.look().failure is None
    policy.fault = DeviceLostError("the device failed")
    with pytest.raises(DeviceLostError):
        ticks(checks, policy, ".")


def test_a_check_comes_after_the_action_is_out_and_settled() -> None:
    bench = Bench()
    said: list[str] = []

    def reusing(observation: Any) -> Outcome:
        said.append("infer")
        outcome = Outcome(np.full((1, 7), 0.5))
        outcome.reuse.reused = 1
        return outcome

    def compare(observation: Any, result: Any) -> Agreement:
        said.append(
            f"compare {observation.instruction} after {bench.policy.calls[-2:]}, {len(bench.observed)} observed"
        )
        return off(9.0)

    bench.policy.infer = reusing  # type: ignore[method-assign]
    bench.policy.compare = compare  # type: ignore[attr-defined]
    bench.inference.set_options(WITHIN)
    bench.run("put it down")
    bench.tick(NOW)
    assert said == ["infer", "compare put it down after ['publish', 'settle'], 1 observed"]
    assert bench.policy.tunables[-1].mode == OPTIONS.tunables.mode
    assert bench.policy.calls[-1] == "reset"  # nor does mode full trust what was computed before
    bench.tick(NOW + 1.0)
    assert said[2:] == ["infer"]
    assert bench.policy.tunables[-1].mode == "full"  # the next tick, whatever the parameters tell by then
    assert bench.inference.close()
