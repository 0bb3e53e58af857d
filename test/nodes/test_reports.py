"""What the policy node's diagnostics show: a frozen whole of what several threads count."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from vla_entropy_ros.nodes.common.diagnostics import OK, WARN, Window
from vla_entropy_ros.nodes.policy.orders import Answer, doubt
from vla_entropy_ros.nodes.policy.reports import Bounds, inference_report, observation_report
from vla_entropy_ros.nodes.policy.statistics import Monitor, Statistics

BOUNDS = Bounds(silence=1.0, loss=0.1, tick=1.0)
DRAFTS = SimpleNamespace(tried=3, accepted=2, certified=5)
OF_TOKENS = ("decoder passes", "drafts accepted", "certified tokens", "action entropy, largest")


def outcome(tokens: int, uncertainty: float | None) -> Any:
    """As much of a result as is reported."""
    return SimpleNamespace(
        tokens=np.zeros(tokens, np.int64), uncertainty=uncertainty, drafts=DRAFTS, decoder_passes=1, unknown_words=()
    )


def active(result: Any) -> Statistics:
    """A node that has answered once."""
    answer = Answer(Time(), 0.0, (), result, 0.1)
    return Statistics(active=True, instruction="go", answer=answer, tick_time=Window(np.array([0.02])))


def test_what_only_tokens_have_is_shown_only_with_tokens() -> None:
    with_tokens = inference_report(active(outcome(5, 0.5)), BOUNDS)
    assert [with_tokens.values.get(name) for name in OF_TOKENS] == [1, "2 of 3", "5 of 5", "0.50"]
    without = inference_report(active(outcome(0, None)), BOUNDS)
    assert without.level == OK
    assert not set(OF_TOKENS) & set(without.values)


@pytest.mark.parametrize(
    ("uncertainty", "bound", "held"), [(0.5, 0.4, True), (0.5, 0.5, False), (1.0, 1.0, False), (None, 0.0, False)]
)
def test_the_gate_looks_at_the_uncertainty_where_there_is_one(
    uncertainty: float | None, bound: float, held: bool
) -> None:
    assert (doubt(outcome(0, uncertainty), bound) is not None) == held


def test_a_held_answer_is_a_warning() -> None:
    now = active(outcome(0, None))
    assert now.answer is not None
    held = replace(now, answer=replace(now.answer, hold="too dark"))
    report = inference_report(held, BOUNDS)
    assert (report.level, report.message) == (WARN, "held: too dark")


def test_images_whose_colours_are_in_doubt_are_a_warning_after_everything_that_costs_ticks() -> None:
    now = replace(active(outcome(0, None)), taken=9.0, last_received=(9.0,), doubt="no colours")
    report = observation_report(now, BOUNDS)
    assert (report.level, report.message) == (WARN, "no colours")
    assert observation_report(replace(now, doubt=None), BOUNDS).level == OK
    refused = replace(now, observation_fault="zero size", observation_refused=True)
    assert observation_report(refused, BOUNDS).message == "zero size"


def test_threads_that_count_at_once_lose_nothing() -> None:
    monitor = Monitor()

    def work() -> None:
        for number in range(2000):
            monitor.count("received")
            monitor.note(last_received=(float(number),))
            monitor.add(images=1.0)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    seen = [monitor.look().received for _ in range(20)]
    for thread in threads:
        thread.join()
    now = monitor.look()
    assert (now.received, len(now.images.numbers), now.last_received) == (4000, 4000, (1999.0,))
    assert seen == sorted(seen)
    with pytest.raises(FrozenInstanceError):
        now.received = 0  # type: ignore[misc]
