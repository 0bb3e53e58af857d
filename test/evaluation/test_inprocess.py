"""The shipped policy in closed loop, in simulated time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.evaluation import inprocess
from vla_entropy_ros.evaluation.configurations import named
from vla_entropy_ros.evaluation.plan import Silent, Trial, plan
from vla_entropy_ros.resources import default_checkpoint
from vla_entropy_ros.sim import FAMILIES, TASKS


@pytest.fixture(scope="module")
def arm() -> Iterator[inprocess.SimulatedArm]:
    made = inprocess.SimulatedArm(Policy.load(default_checkpoint()))
    yield made
    made.close()


def test_it_does_what_it_is_asked_for(arm: inprocess.SimulatedArm) -> None:
    ours = named(["default"], "default", arm.policy.info.visual_tokens)
    done = list(inprocess.run_in_process(arm, plan(ours, list(TASKS), 3, FRESH_SEED), Silent()))
    assert [TASKS[episode.task].family for episode in done] == 3 * list(FAMILIES)
    assert sum(episode.success for episode in done) >= 10


def test_the_second_instruction_follows_when_the_first_goal_is_reached(arm: inprocess.SimulatedArm) -> None:
    task = TASKS["put_red_then_push_green_left"]
    full = named(["full"], "default", arm.policy.info.visual_tokens)[0]
    trials = [Trial(full, task.name, FRESH_SEED + number) for number in range(3)]
    ended = [episode.instruction for episode in inprocess.run_in_process(arm, trials, Silent(), limit=12.0)]
    assert set(ended) <= {goal.instruction for goal in task.goals}
    assert task.goals[1].instruction in ended


def test_the_same_trial_replays_tick_for_tick(arm: inprocess.SimulatedArm) -> None:
    ours = named(["default"], "default", arm.policy.info.visual_tokens)[0]
    trial = Trial(ours, "pick_green", FRESH_SEED + 77)
    one, other = (next(inprocess.run_in_process(arm, [trial], Silent())) for _ in range(2))
    assert (one.success, one.duration) == (other.success, other.duration)
    assert [tick.fresh for tick in one.ticks] == [tick.fresh for tick in other.ticks]
