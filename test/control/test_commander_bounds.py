"""A commander's steps are bounded whatever time passed, and chunks of another time or size are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from vla_entropy_ros.control import ActionChunk, ChunkError, Commander, Gate, Limits, Motion, Pose, Rules
from vla_entropy_ros.control.pose import turn_angle

from .test_commander import DOWN, LIMITS, START, chunk, commander

STEP = 0.02  # seconds between two commands
STEADY = Rules(stale_after=100.0, expired_after=100.0, period=STEP)
LEAD = Limits(max_speed=0.3, max_turn_speed=1.0, lead_translation=1.0, lead_rotation=3.0)


def apart(one: Pose, other: Pose) -> tuple[float, float]:
    return float(np.linalg.norm(one.position - other.position)), turn_angle(one, other)


def test_after_a_stall_no_step_is_longer_than_one_in_time_and_what_was_missed_is_caught_up() -> None:
    arm = Commander(LEAD, "base", STEADY)
    arm.anchor(START)
    arm.offer(chunk(*[[0.02, 0, 0, 0, 0, 0.05, 1]] * 8), now=10.0)
    arm.command(10.0, START)
    last, now = arm.command(10.02, START).pose, 11.0  # a stall of a second: all eight actions are due
    for number in range(60):
        pose = arm.command(now + STEP * number, START).pose
        moved, turned = apart(pose, last)
        assert moved <= LEAD.max_speed * STEP + 1e-9
        assert turned <= LEAD.max_turn_speed * STEP + 1e-6
        last = pose
    np.testing.assert_allclose(last.position - START.position, [0.16, 0, 0], atol=1e-9)


def test_a_chunk_that_waits_for_its_first_command_begins_with_a_step_and_no_jump() -> None:
    arm = Commander(LEAD, "base", STEADY)
    arm.anchor(START)
    arm.offer(chunk(*[[0.05, 0, 0, 0, 0, 0, 1]] * 4), now=10.0)
    moved, _ = apart(arm.command(10.5, START).pose, START)
    assert 0.0 < moved <= LEAD.max_speed * STEP + 1e-9


def test_an_arm_that_is_enabled_elsewhere_is_not_pulled_back_to_where_it_was_commanded() -> None:
    arm = Commander(LIMITS, "base", STEADY)
    arm.anchor(START)
    arm.command(10.0, START)
    moved = Pose(START.position + np.array([0.05, 0.05, 0.0]), DOWN)  # by hand, while nothing was commanded
    arm.anchor(moved)
    arm.offer(chunk([0.0, 0, 0, 0, 0, 0, 1], stamp=20.0), now=20.0)
    np.testing.assert_allclose(arm.command(20.0, moved).pose.position, moved.position, atol=1e-12)


def test_an_arm_torn_from_its_target_is_held_until_a_chunk_finds_it_there_again() -> None:
    arm = Commander(LIMITS, "base", STEADY)
    arm.anchor(START)
    arm.offer(chunk(*[[0.01, 0, 0, 0, 0, 0, 1]] * 8), now=10.0)
    arm.command(10.0, START)
    assert arm.command(10.02, START).state is Motion.TRACKING
    torn = Pose(START.position + np.array([0.0, 0.11, 0.0]), DOWN)
    command = arm.command(10.04, torn)
    assert command.state is Motion.HOLDING
    assert "farther from its target than it may lead" in (command.reason or "")
    for n in range(1, 20):  # a glitch is no leap, and no way there
        np.testing.assert_array_equal(arm.command(10.04 + STEP * n, torn).pose.position, command.pose.position)
    for n, (place, state) in enumerate([(torn, Motion.HOLDING), (START, Motion.TRACKING)]):
        arm.offer(chunk([0.01, 0, 0, 0, 0, 0, 1], stamp=10.45 + 0.1 * n), now=10.45 + 0.1 * n)
        assert arm.command(10.46 + 0.1 * n, place).state is state


def test_a_chunk_right_after_a_stop_goes_on_from_the_target_without_a_step_back() -> None:
    arm = Commander(LIMITS, "base", STEADY)
    arm.anchor(START)
    arm.offer(chunk(*[[0.03, 0, 0, 0, 0, 0, 1]] * 2), now=10.0)
    for now in np.arange(10.0, 10.1, STEP):
        before = arm.command(float(now), START).pose
    arm.stop("for a moment")
    arm.offer(chunk([0.0, 0, 0, 0, 0, 0, 1], stamp=10.09), now=10.09)
    np.testing.assert_allclose(arm.command(10.1, START).pose.position, before.position, atol=1e-9)


def test_an_arm_outside_the_workspace_may_come_back_but_is_not_drawn_in() -> None:
    outside = Pose(np.array([0.9, 0.0, 0.2]), DOWN)
    arm = Commander(LEAD, "base", STEADY)
    arm.anchor(outside)
    arm.offer(chunk(*[[0.01, 0.01, 0, 0, 0, 0, 1]] * 2, *[[-0.01, 0, 0, 0, 0, 0, 1]] * 2), now=10.0)
    x = [arm.command(10.0 + STEP * number, outside).pose.position for number in range(25)]
    assert max(position[0] for position in x) == pytest.approx(0.9)
    np.testing.assert_allclose(x[-1], [0.88, 0.02, 0.2], atol=1e-9)


def test_a_workspace_that_shrinks_under_way_stops_the_target_where_it_stands() -> None:
    arm = Commander(LIMITS, "base", STEADY)
    arm.anchor(START)
    arm.offer(chunk([0.04, 0, 0, 0, 0, 0, 1]), now=10.0)
    arm.command(10.0, START)
    now_at = arm.command(10.02, START).pose.position[0]
    arm.limits = Limits(workspace_high=(0.455, 0.4, 0.6))
    assert arm.command(10.1, START).pose.position[0] == pytest.approx(max(now_at, 0.455))


@pytest.mark.parametrize(
    ("stamp", "now", "said"),
    [
        (0.0, 1.8e9, "its observation has no time, its stamp is zero"),
        (4000.0, 1.8e9, "its observation is stamped by another clock"),
        (1.8e9, 4000.0, "in the future: it is stamped by another clock: its stamp 1800000000.00 looks like wall time"),
        (1.8e9 + 0.7, 1.8e9, "in the future: it is 0.70 s ahead of this node's clock, valid is up to 0.2: synchronise"),
        (1.8e9 - 5, 1.8e9, "it ran out 4.90 s ago, valid is up to 0.15: the policy takes longer than its"),
    ],
)
def test_a_chunk_of_another_time_is_refused_in_words_for_its_cause(stamp: float, now: float, said: str) -> None:
    arm = commander()
    with pytest.raises(ChunkError) as refusal:
        arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=stamp), now)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (ActionChunk(10.0, 1e-300, np.zeros((1, 7)), "base"), "period 1e-300 s, expected more than 0: 0.001 to 60"),
        (ActionChunk(10.0, 1e300, np.zeros((1, 7)), "base"), "0.001 to 60"),
        (ActionChunk(10.0, float("nan"), np.zeros((1, 7)), "base"), "period nan s"),
        (chunk([0, -1e308, 0, 0, 0, 0, 1]), r"y up to 1e\+308, valid is up to 1000 m or rad"),
        (chunk(*[[0.0] * 7] * 1001), "at most 1000 actions"),
    ],
)
def test_a_chunk_that_no_policy_means_is_refused(bad: ActionChunk, says: str) -> None:
    with pytest.raises(ChunkError, match=says):
        commander().offer(bad, now=10.0)


def test_a_hold_stays_where_the_arm_was_however_it_is_pushed_and_stopped() -> None:
    arm = Commander(LIMITS, "base", STEADY)
    arm.anchor(START)
    for n in range(20):
        if n % 3 == 1:  # a chunk that is stopped before it moves anything
            arm.offer(chunk([0.01, 0, 0, 0, 0, 0, 1], stamp=10.0 + STEP * n), now=10.0 + STEP * n)
            arm.stop("ordered")
        pushed = Pose(START.position + np.array([0.01 * n, 0.0, 0.0]), DOWN)
        np.testing.assert_array_equal(arm.command(10.0 + STEP * n, pushed).pose.position, START.position)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("bias", [0.05, 0.07, 0.1, 0.3])
def test_a_hold_does_not_run_after_a_measurement_that_is_off(chunks: bool, bias: float) -> None:
    """The arm is where it is told to be, and is measured beside it: the target must not chase what follows it."""
    arm, gate = Commander(LIMITS, "base", STEADY), Gate(LIMITS, STEP)
    arm.anchor(START)
    true = arm.command(10.0, START).pose
    for n in range(1, 300):
        now = 10.0 + STEP * n
        if chunks and n % 5 == 0:
            arm.offer(chunk([0.0, 0, 0, 0, 0, 0, 1], stamp=now), now=now)
        measured = Pose(true.position + np.array([0.0, min(bias, 0.035 * n), 0.0]), DOWN)
        command = arm.command(now, measured)
        gate.pose(command.pose, command.state is Motion.TRACKING, measured)
        true = command.pose
    most = 1.5 * LIMITS.lead_translation if chunks else 0.0  # what pulls a moving target is seen after a lead
    assert np.linalg.norm(true.position - START.position) <= most + 1e-9
    assert bias < LIMITS.lead_translation or not chunks or "~/enable" in (command.reason or "")
