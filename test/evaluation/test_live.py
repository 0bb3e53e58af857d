"""A world that goes on while the policy thinks: what it sees, when its answers come, and which of them move the arm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.engine import ActionError, Observation, Policy
from vla_entropy_ros.evaluation import inprocess
from vla_entropy_ros.evaluation.configurations import named
from vla_entropy_ros.evaluation.disturbances import Disturbance
from vla_entropy_ros.evaluation.latency import latencies
from vla_entropy_ros.evaluation.outcomes import outcome
from vla_entropy_ros.evaluation.plan import Silent, Trial
from vla_entropy_ros.evaluation.records import EpisodeRecord
from vla_entropy_ros.evaluation.timing import Timing, lock_step

LIMIT = 2.0  # seconds


@pytest.fixture(scope="module")
def arm(checkpoint: Path) -> Iterator[inprocess.SimulatedArm]:
    """An arm of a random policy: what matters here are times."""
    made = inprocess.SimulatedArm(Policy.load(checkpoint))
    yield made
    made.close()


def run(
    arm: inprocess.SimulatedArm, timing: Timing | None, disturbance: Disturbance | None = None, mode: str = "full"
) -> EpisodeRecord:
    configuration = named([mode], "default", arm.policy.info.visual_tokens)[0]
    trial = Trial(configuration, "put_red", FRESH_SEED, disturbance, timing)
    (episode,) = inprocess.run_in_process(arm, [trial], Silent(), LIMIT)
    return episode


def live(latency: str, rate: float = 10.0, transport: float = 0.0, period: float = 0.1) -> Timing:
    return Timing(latencies([latency], 8.0)[0], rate, transport, period)


def stamps(episode: EpisodeRecord) -> list[float]:
    return [round(tick.stamp, 6) for tick in episode.ticks]


def test_lock_step_is_a_world_that_answers_at_the_next_command(arm: inprocess.SimulatedArm) -> None:
    waits, goes_on = run(arm, None), run(arm, lock_step(arm.period))
    assert stamps(waits) == [round(0.1 * n, 6) for n in range(20)]
    assert stamps(goes_on) == stamps(waits)
    np.testing.assert_array_equal([t.tool for t in waits.ticks], [t.tool for t in goes_on.ticks])
    assert outcome(waits, 0.1).live is None
    assert outcome(goes_on, 0.1).ages


def test_a_slow_policy_answers_the_newest_picture_when_it_is_free(arm: inprocess.SimulatedArm) -> None:
    episode = run(arm, live("150"))
    assert stamps(episode)[:4] == [0.0, 0.1, 0.3, 0.4]  # free at 0.16: that of 0.1; free at 0.32: that of 0.3
    odd = run(arm, live("60", rate=30.0, transport=0.005))
    assert np.diff(stamps(odd)).max() <= 0.12 + 1e-6  # no picture is left out that it would have been free for


@pytest.mark.parametrize(("rate", "period", "apart"), [(50.0, 0.1, 0.1), (20.0, 0.1, 0.1), (10.0, 0.3, 0.3)])
def test_a_fast_camera_is_answered_once_a_control_period(
    arm: inprocess.SimulatedArm, rate: float, period: float, apart: float
) -> None:
    """As the node does: an action that every picture cut off would move nothing."""
    episode = run(arm, live("10", rate=rate, period=period))
    assert np.median(np.diff(stamps(episode))) == pytest.approx(apart)
    assert np.linalg.norm(episode.ticks[-1].tool - episode.ticks[0].tool) > 0.005


def test_a_picture_that_is_too_old_is_not_answered(arm: inprocess.SimulatedArm) -> None:
    assert run(arm, live("10", transport=0.45)).ticks
    assert not run(arm, live("10", transport=0.55)).ticks  # observation.max_age of the node is 0.5


def test_a_tick_without_an_action_takes_its_time(arm: inprocess.SimulatedArm, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Observation) -> None:
        raise ActionError("no")

    monkeypatch.setattr(arm.policy, "infer", refuse)
    assert run(arm, live("10")).faults == 20
    assert run(arm, live("380")).faults == 6


def test_a_picture_on_its_way_makes_actions_older(arm: inprocess.SimulatedArm) -> None:
    near, far = (outcome(run(arm, live("30", transport=way)), 0.1) for way in (0.0, 0.06))
    assert near.ages is not None
    assert far.ages is not None
    assert min(near.ages) == pytest.approx(40.0)  # 30 ms, at the next command
    assert min(far.ages) == pytest.approx(100.0)
    assert near.took is not None
    assert set(near.took) == {30.0}
    assert max(near.ages) <= 40.0 + 100.0


@pytest.mark.parametrize(("latency", "stale", "refused"), [("80", 0.0, 0.0), ("160", 1.0, 0.0), ("300", 1.0, 1.0)])
def test_answers_that_come_too_late_are_stale_and_then_move_nothing(
    arm: inprocess.SimulatedArm, latency: str, stale: float, refused: float
) -> None:
    episode = run(arm, live(latency))
    made = outcome(episode, 0.1)
    assert made.took
    assert (made.stale / len(made.took), made.refused / len(made.took)) == (stale, refused)
    assert bool(made.ages) == (refused < 1.0)
    moved = np.linalg.norm(episode.ticks[-1].tool - episode.ticks[0].tool)
    assert (moved < 1e-3) == (refused == 1.0)
    longer = outcome(run(arm, live(latency, period=0.4)), 0.1)
    assert (longer.stale, longer.refused) == (0, 0)  # an action that lasts longer may come later


def test_the_same_profile_gives_the_same_episode_and_draws_do_not_depend_on_the_mode(
    arm: inprocess.SimulatedArm, tmp_path: Path
) -> None:
    path = tmp_path / "values"
    path.write_text("30 60 90 120")
    one, again, other = run(arm, live(str(path))), run(arm, live(str(path))), run(arm, live(str(path)), mode="default")
    assert one.late.took == again.late.took
    assert stamps(one) == stamps(again)
    assert len(set(one.late.took)) > 2
    assert one.late.took[:5] == other.late.took[:5]


def test_pictures_that_get_lost_or_come_late_are_not_waited_for(arm: inprocess.SimulatedArm) -> None:
    lost = run(arm, None, Disturbance("dropped", 0.4))
    assert 5 < len(lost.ticks) < 19
    assert set(stamps(lost)) < {round(0.1 * n, 6) for n in range(20)}
    late = run(arm, live("10"), Disturbance("late", 0.3))
    assert stamps(late) == sorted(set(stamps(late)))
    assert max(outcome(late, 0.1).ages or [0.0]) > 140.0


def test_an_episode_ends_when_it_is_over_also_while_the_policy_thinks(arm: inprocess.SimulatedArm) -> None:
    episode = run(arm, live("1900"))
    assert episode.duration == pytest.approx(LIMIT)
    assert len(episode.ticks) == 2
    assert len(episode.late.took) == 1
