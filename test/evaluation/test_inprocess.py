"""The shipped policy in closed loop, in simulated time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.control import Limits
from vla_entropy_ros.engine import Observation, Policy, Result
from vla_entropy_ros.engine.observation import state_vector
from vla_entropy_ros.evaluation import inprocess
from vla_entropy_ros.evaluation.closed_loop import ClosedLoop
from vla_entropy_ros.evaluation.configurations import named
from vla_entropy_ros.evaluation.disturbances import Disturbance
from vla_entropy_ros.evaluation.outcomes import outcome
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


def test_the_policy_sees_image_instruction_and_state_of_one_moment(
    arm: inprocess.SimulatedArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Observation] = []
    infer = arm.policy.infer

    def watched(observation: Observation) -> Result:
        seen.append(observation)
        return infer(observation)

    monkeypatch.setattr(arm.policy, "infer", watched)
    ours = named(["default"], "default", arm.policy.info.visual_tokens)[0]
    (episode,) = inprocess.run_in_process(arm, [Trial(ours, "pick_red", FRESH_SEED)], Silent(), limit=0.5)
    assert len(seen) == len(episode.ticks) == 5
    for observation, tick in zip(seen, episode.ticks, strict=True):
        state = observation.state
        assert state is not None
        assert state is tick.state
        assert (observation.stamp, observation.instruction) == (state.stamp, "pick up the red cube")
        place = state_vector(observation, ("x", "y", "z"))
        np.testing.assert_array_equal(place, tick.tool)
    assert (state_vector(seen[0], ("joint1",)) != state_vector(seen[-1], ("joint1",))).any()


def test_an_action_moves_the_arm_only_once_it_has_arrived(arm: inprocess.SimulatedArm) -> None:
    action = np.array([[0.0, 0.0, 0.03, 0.0, 0.0, 0.0, 1.0]])
    heights = []
    for late in (1, 3, None):
        loop = ClosedLoop(arm.env, "base_link", 0.1, Limits())
        loop.start("pick_red", FRESH_SEED)
        before = arm.env.pose.position[2]
        loop.advance(None if late is None else action, late or 0)
        assert arm.env.time == pytest.approx(0.1)
        heights.append(arm.env.pose.position[2] - before)
    assert heights[0] > 2 * heights[1] > 4 * heights[2] == pytest.approx(0.0, abs=1e-4)


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


def test_a_moved_target_is_the_same_for_every_configuration_and_is_seen(arm: inprocess.SimulatedArm) -> None:
    both = named(["full", "default"], "default", arm.policy.info.visual_tokens)
    disturbance = Disturbance("moved", 0.1)
    told = []
    for seed in range(FRESH_SEED, FRESH_SEED + 3):
        trials = [Trial(configuration, "pick_red", seed, disturbance) for configuration in both]
        full, ours = inprocess.run_in_process(arm, trials, Silent(), limit=1.5)
        assert full.disturbance == ours.disturbance == "moved=0.1"
        assert full.moved is not None
        assert full.moved == ours.moved
        told += [(outcome(full, arm.period).seen_after, outcome(ours, arm.period).seen_after)]
    assert {full for full, _ in told} == {0}  # everything is computed
    assert all(ours is not None and ours <= 2 for _, ours in told)


def test_a_disturbed_trial_replays_tick_for_tick_and_the_next_one_is_undisturbed(arm: inprocess.SimulatedArm) -> None:
    ours = named(["default"], "default", arm.policy.info.visual_tokens)[0]
    calm, noisy = (Trial(ours, "pick_green", FRESH_SEED, d) for d in (None, Disturbance("noise", 6.0)))
    trials = [calm, noisy, noisy, calm]
    made = list(inprocess.run_in_process(arm, trials, Silent(), limit=0.8, keep_images=True))
    pictures = [np.array([tick.image for tick in episode.ticks]) for episode in made]
    for one, other in ((0, 3), (1, 2)):
        np.testing.assert_array_equal(pictures[one], pictures[other])
        assert [t.fresh for t in made[one].ticks] == [t.fresh for t in made[other].ticks]
    assert (pictures[0][0] != pictures[1][0]).any()
