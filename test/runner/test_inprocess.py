"""The shipped policy in closed loop, in simulated time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.configurations import named
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.resources import default_checkpoint
from vla_entropy_ros.runner import inprocess
from vla_entropy_ros.runner.plan import Silent, Trial, plan
from vla_entropy_ros.sim import TASKS, family_tasks


@pytest.fixture(scope="module")
def arm() -> Iterator[inprocess.Arm]:
    made = inprocess.Arm(Policy.load(default_checkpoint()))
    yield made
    made.close()


def test_it_does_what_it_is_asked_for_in_every_family(arm: inprocess.Arm) -> None:
    configurations = named(["full", "default"], "default", arm.policy.info.visual_tokens)
    done = list(inprocess.run(arm, plan(configurations, list(TASKS), 2, FRESH_SEED), Silent()))
    assert len(done) == 16
    assert sum(episode.success for episode in done) >= 12


def test_a_task_of_two_goals_ends_with_the_second_instruction(arm: inprocess.Arm) -> None:
    task = family_tasks("long")[0]
    full = named(["full"], "default", arm.policy.info.visual_tokens)[0]
    trials = [Trial(full, task, FRESH_SEED + number) for number in range(3)]
    done = [episode for episode in inprocess.run(arm, trials, Silent()) if episode.success]
    assert done
    assert {episode.instruction for episode in done} == {TASKS[task].goals[1].instruction}


def test_the_same_trial_replays_tick_for_tick(arm: inprocess.Arm) -> None:
    ours = named(["default"], "default", arm.policy.info.visual_tokens)[0]
    trial = Trial(ours, "pick_green", FRESH_SEED + 77)
    one, other = (next(inprocess.run(arm, [trial], Silent())) for _ in range(2))
    assert (one.success, one.duration) == (other.success, other.duration)
    assert [tick.fresh for tick in one.ticks] == [tick.fresh for tick in other.ticks]
