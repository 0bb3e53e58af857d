"""A measurement that jumped further than the arm can move is a fault; one that follows is trusted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.control import Limits, Plausibility, Pose
from vla_entropy_ros.control.plausibility import (
    SETTLED,
    joint_distance,
    joint_excess,
    pose_distance,
    pose_excess,
)

PERIOD = 0.02
LIMITS = Limits()
TIMEOUT, LEAD = 0.5, 0.3  # seconds, radians


def pose_judge() -> Plausibility[Pose]:
    return Plausibility(pose_excess("current_pose", lambda: LIMITS, lambda: TIMEOUT), pose_distance)


def joint_judge(turns: bool = False) -> Plausibility[float]:
    excess = joint_excess("elbow", lambda: 1.5, lambda: LEAD, lambda: TIMEOUT, turns)
    return Plausibility(excess, joint_distance(turns))


def at(x: float) -> Pose:
    return Pose(np.array([x, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))


def test_a_pose_that_jumps_is_a_fault_that_names_the_jump_and_passes_when_it_comes_back() -> None:
    judge, now = pose_judge(), 0.0
    for x in np.arange(0.45, 0.5, LIMITS.max_speed * PERIOD):
        now += PERIOD
        assert judge.judge(at(float(x)), now, now)
    assert not judge.judge(at(0.78), now + PERIOD, now + PERIOD)
    said = judge.problem(now + PERIOD)
    assert said is not None
    assert said.startswith("current_pose jumped 0.28 m in 0.02 s, up to 0.04 can be")
    for step in range(2, round(SETTLED / PERIOD)):
        assert judge.judge(at(0.5), now + step * PERIOD, now + step * PERIOD)
        assert judge.problem(now + step * PERIOD) is not None
    now += (3 + round(SETTLED / PERIOD)) * PERIOD
    assert judge.judge(at(0.5), now, now)
    assert judge.problem(now) is None


@pytest.mark.parametrize("rate", [30.0, 50.0, 200.0, 1000.0])
@pytest.mark.parametrize("moment", [0.0, 0.03, 0.07])
def test_a_jump_in_many_small_ones_is_one(rate: float, moment: float) -> None:
    """As a driver that filters what it measures tells it: 0.28 m within 0.18 s."""
    judge, began = pose_judge(), 1.0 + moment
    times = np.arange(0.0, 2.0, 1.0 / rate)
    for time in times:
        judge.judge(at(0.4 + 0.28 * float(np.clip((time - began) / 0.18, 0.0, 1.0))), float(time), float(time))
        if time < began:
            assert judge.problem(float(time)) is None
    newest = judge.newest
    assert newest is not None
    assert newest[0].position[0] < 0.4 + 0.22
    assert str(judge.problem(float(times[-1]))).startswith("current_pose jumped 0.")


@pytest.mark.parametrize("rate", [10.0, 30.0, 200.0, 1000.0])
@pytest.mark.parametrize("timeout", [0.05, TIMEOUT])
def test_an_arm_at_its_highest_speed_has_not_jumped(rate: float, timeout: float) -> None:
    """Even where it catches up a lead, and where stamps are off by 10 ms."""
    judge = Plausibility(pose_excess("current_pose", lambda: LIMITS, lambda: timeout), pose_distance)
    random = np.random.default_rng(0)
    for time in np.arange(0.0, 2.0, 1.0 / rate):
        ahead = LIMITS.lead_translation * (time > 1.0) * min((time - 1.0) / 0.1, 1.0)
        x = -1.0 + LIMITS.max_speed * time + ahead
        stamp = float(time + random.uniform(-0.01, 0.0))
        assert judge.judge(at(float(x)), stamp, float(time)), (time, judge.problem(float(time)))


def test_two_that_take_turns_are_a_fault_for_as_long_as_they_do() -> None:
    judge = joint_judge()
    for step in range(200):
        now = step * PERIOD
        assert judge.judge(1.2, now, now)
        if step % 5 == 4:
            assert not judge.judge(0.0, now, now)
            assert judge.confirm(now) is not None
        if step > 4:
            assert "joint 'elbow' jumped 1.20" in str(judge.problem(now))
    end = 200 * PERIOD + SETTLED + 0.1
    assert judge.judge(1.2, end, end)
    assert judge.problem(end) is None


def test_a_jump_that_stays_is_not_trusted_until_somebody_agrees() -> None:
    """However long it stays: the time since the last trusted one does not make it more likely."""
    judge = joint_judge()
    assert judge.judge(0.0, 0.0, 0.0)
    for step in range(1, 1000):
        assert not judge.judge(0.9, step * PERIOD, step * PERIOD)
    now = 1000 * PERIOD
    assert "call ~/enable" in str(judge.problem(now))
    assert judge.confirm(now) is None
    assert judge.problem(now) is None
    assert judge.judge(0.91, now + PERIOD, now + PERIOD)


def test_nobody_can_agree_to_a_jump_before_it_can_be_told_from_one_that_comes_back() -> None:
    judge = joint_judge()
    judge.judge(0.0, 0.0, 0.0)
    judge.judge(0.9, PERIOD, PERIOD)
    assert "jumped 0.90" in str(judge.confirm(2 * PERIOD))
    assert not judge.judge(0.9, 0.3, 0.3)
    assert judge.confirm(0.3) is None
    assert judge.judge(0.9, 0.32, 0.32)


def test_a_small_jump_that_stays_is_trusted_once_it_has_settled() -> None:
    """As that of the arm after a liar nearby who was believed."""
    judge = joint_judge()
    judge.judge(0.0, 0.0, 0.0)
    for step in range(1, 45):
        assert not judge.judge(0.15, step * PERIOD, step * PERIOD)
        assert judge.problem(step * PERIOD) is not None
    now = 2 * SETTLED
    for step in range(10):
        judge.judge(0.15, now + step * PERIOD, now + step * PERIOD)
    assert judge.problem(now + 10 * PERIOD) is None
    assert judge.judge(0.16, now + 11 * PERIOD, now + 11 * PERIOD)


def test_somebody_can_agree_once_a_liar_who_was_believed_is_silent() -> None:
    """Its values lay so near to the arm that they were trusted, and those of the arm jump since."""
    judge, now = joint_judge(), 0.0
    assert judge.judge(0.14, now, now)
    for step in range(1, 40):
        now = step * PERIOD
        judge.judge(0.0 if step % 5 == 4 else 0.14 + 0.002 * step, now, now)
    for _ in range(round(2 * SETTLED / PERIOD)):
        now += PERIOD
        judge.judge(0.22, now, now)
    assert judge.confirm(now) is None
    assert judge.judge(0.22, now + PERIOD, now + PERIOD)
    assert judge.problem(now + PERIOD) is None


def test_an_arm_that_was_not_measured_for_a_while_may_be_elsewhere() -> None:
    judge = pose_judge()
    assert judge.judge(at(0.3), 0.0, 0.0)
    assert judge.judge(at(0.55), 0.4, 0.4)


def test_an_arm_that_was_brought_to_rest_since_is_where_its_last_target_was() -> None:
    """However long ago that is: a driver that begins anew with zeros is not believed."""
    judge = pose_judge()
    judge.judge(at(0.3), 0.0, 0.0)
    assert judge.judge(at(0.37), 5.0, 5.0)
    assert not judge.judge(at(0.2), 10.0, 10.0)
    assert str(judge.problem(10.0)).startswith("current_pose jumped 0.17 m in 5.00 s, up to 0.08 can be")


def test_a_joint_that_goes_round_and_round_has_not_jumped() -> None:
    assert joint_judge(turns=True).judge(3.13, 0.0, 0.0)
    for turns, trusted in ((True, True), (False, False)):
        judge = joint_judge(turns)
        judge.judge(3.13, 0.0, 0.0)
        assert judge.judge(-3.13, PERIOD, PERIOD) is trusted


def test_stamps_out_of_order_allow_no_more() -> None:
    judge = joint_judge()
    assert judge.judge(0.0, 10.0, 10.0)
    assert not judge.judge(0.5, 9.0, 10.01)


def test_a_turn_in_place_is_judged_too() -> None:
    judge = pose_judge()
    judge.judge(at(0.5), 0.0, 0.0)
    turned = Pose(at(0.5).position, np.array([0.0, 1.0, 0.0, 0.0]))
    assert not judge.judge(turned, PERIOD, PERIOD)
    assert str(judge.problem(PERIOD)).startswith("current_pose turned 3.14 rad")


def test_forgetting_trusts_whatever_comes_next() -> None:
    judge = joint_judge()
    judge.judge(0.0, 0.0, 0.0)
    judge.judge(2.0, PERIOD, PERIOD)
    judge.forget()
    assert judge.problem(PERIOD) is None
    assert judge.judge(2.0, 2 * PERIOD, 2 * PERIOD)


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=60), st.floats(0.005, 0.1))
def test_an_arm_inside_its_limits_is_never_doubted(steps: list[float], period: float) -> None:
    judge, position, now = joint_judge(), 0.0, 0.0
    for step in steps:
        position, now = position + step * 1.5 * period, now + period
        assert judge.judge(position, now, now)
    assert judge.problem(now) is None


@given(st.lists(st.tuples(st.floats(-3.0, 3.0), st.booleans()), min_size=2, max_size=60))
def test_what_is_trusted_never_moves_faster_than_the_arm_can(history: list[tuple[float, bool]]) -> None:
    judge, trusted, now = joint_judge(), list[tuple[float, float]](), 0.0
    for value, late in history:
        now += 0.7 if late else PERIOD
        if judge.judge(value, now, now):
            trusted.append((value, now))
    for (before, then), (after, later) in itertools.pairwise(trusted):
        moved = 1.5 * (later - then + min(later - then, 0.1)) if later - then <= TIMEOUT else LEAD
        assert abs(after - before) <= moved + 0.05 + 1e-9


@pytest.mark.parametrize("value", [1e300, -1e300])
def test_huge_values_raise_nothing(value: float) -> None:
    judge = joint_judge()
    judge.judge(0.0, 0.0, 0.0)
    assert not judge.judge(value, PERIOD, PERIOD)
