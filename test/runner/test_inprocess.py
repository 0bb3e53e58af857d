"""The shipped policy in closed loop, in simulated time."""

from __future__ import annotations

import pytest

from vla_entropy_ros.cli.options import FRESH_SEED, LIMIT
from vla_entropy_ros.engine import Policy, Tunables
from vla_entropy_ros.resources import default_checkpoint
from vla_entropy_ros.runner import inprocess
from vla_entropy_ros.runner.plan import Silent, Trial, plan
from vla_entropy_ros.sim import TASKS


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load(default_checkpoint())


def test_it_picks_what_it_is_asked_for_in_every_colour(policy: Policy) -> None:
    trials = plan(["full", "info_entropy"], list(TASKS), 4, FRESH_SEED)
    done = list(inprocess.run(policy, Tunables.default(), trials, LIMIT, Silent()))
    assert [episode.instruction for episode in done[:4]] == [task.instruction for task in TASKS.values()]
    assert sum(episode.success for episode in done) >= 6  # of 8


def test_the_same_trial_replays_tick_for_tick(policy: Policy) -> None:
    trial = Trial("info_entropy", "pick_green", FRESH_SEED + 77)
    one, other = (next(inprocess.run(policy, Tunables.default(), [trial], LIMIT, Silent())) for _ in range(2))
    assert (one.success, one.duration) == (other.success, other.duration)
    assert [tick.fresh for tick in one.ticks] == [tick.fresh for tick in other.ticks]
