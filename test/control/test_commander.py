"""The commander moves only on sound, recent chunks, and never beyond its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_entropy_ros.control import ActionChunk, ChunkError, Commander, Limits, Motion, Pose, Rules

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
START = Pose(np.array([0.45, 0.0, 0.2]), DOWN)
LIMITS = Limits()
PERIOD = 0.1


def chunk(*actions: list[float], stamp: float = 10.0, frame: str = "base") -> ActionChunk:
    return ActionChunk(stamp, PERIOD, np.array(actions, np.float64), frame)


def commander(rules: Rules | None = None) -> Commander:
    result = Commander(LIMITS, "base", rules)
    result.anchor(START)
    return result


def test_idle_commander_holds_the_measured_pose() -> None:
    command = commander().command(10.0, START)
    assert command.state is Motion.IDLE
    assert command.opening is None
    np.testing.assert_array_equal(command.pose.position, START.position)


def test_action_is_spread_over_its_period() -> None:
    arm = commander()
    arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 0.0]), now=10.0)
    x = [arm.command(10.0 + share * PERIOD, START).pose.position[0] - 0.45 for share in (0.0, 0.25, 0.5, 1.0)]
    np.testing.assert_allclose(x, [0.0, 0.005, 0.01, 0.02], atol=1e-9)
    assert arm.command(10.1, START).opening == 0.0


def test_deltas_integrate_onto_the_last_target() -> None:
    arm = commander()
    for tick in range(2):
        now = 10.0 + tick * PERIOD
        arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=now), now)
        arm.command(now, START)
        command = arm.command(now + PERIOD - 1e-3, START)
    assert command.pose.position[0] == pytest.approx(0.45 + 0.04, abs=5e-4)


def test_rotation_deltas_are_in_the_fixed_frame() -> None:
    arm = commander()
    arm.offer(chunk([0, 0, 0, 0, 0, 0.1, 1]), now=10.0)
    arm.command(10.0, START)
    turned = arm.command(10.1, START).pose.rotation
    expected = Rotation.from_euler("z", 0.1) * Rotation.from_quat(DOWN)
    assert (turned * expected.inv()).magnitude() < 1e-9


def test_chunk_plays_its_actions_in_turn_and_skips_the_past() -> None:
    actions = [[0.01, 0, 0, 0, 0, 0, 1], [0, 0.01, 0, 0, 0, 0, 1], [0, 0, 0.01, 0, 0, 0, 1]]
    arm = commander()
    arm.offer(chunk(*actions, stamp=10.0), now=10.1)  # the first action is past
    for now in np.arange(10.1, 10.31, 0.02):
        command = arm.command(float(now), START)
    np.testing.assert_allclose(command.pose.position - START.position, [0, 0.01, 0.01], atol=1e-9)


def test_motion_stops_when_chunks_cease() -> None:
    arm = commander()
    arm.offer(chunk([0.03, 0, 0, 0, 0, 0, 1]), now=10.0)
    arm.command(10.1, START)
    moved = Pose(START.position + np.array([0.025, 0, 0]), DOWN)
    assert arm.command(10.0 + 2 * PERIOD - 0.01, moved).state is Motion.TRACKING
    command = arm.command(10.0 + 2 * PERIOD + 0.01, moved)
    assert (command.state, command.reason) == (Motion.HOLDING, "chunks are stale: none for 2 control periods")
    np.testing.assert_array_equal(command.pose.position, moved.position)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (chunk([np.nan, 0, 0, 0, 0, 0, 1]), "not a finite number in x"),
        (chunk([0, 0, 0, 0, 0, np.inf, 1]), "not a finite number in yaw"),
        (chunk([0, 0, 0]), r"expected \[H >= 1, 7\]"),
        (chunk([0] * 7, frame="camera"), "expected 'base'"),
        (ActionChunk(10.0, 0.0, np.zeros((1, 7)), "base"), "period 0.0 s"),
    ],
)
def test_malformed_chunk_stops_the_arm_and_says_why(bad: ActionChunk, says: str) -> None:
    arm = commander()
    arm.offer(chunk([0.03, 0, 0, 0, 0, 0, 1], stamp=9.9), now=9.95)
    arm.command(9.96, START)
    with pytest.raises(ChunkError, match=says):
        arm.offer(bad, now=10.0)
    command = arm.command(10.05, START)
    assert command.state is Motion.HOLDING
    np.testing.assert_array_equal(command.pose.position, START.position)


def test_further_orders_to_stop_do_not_let_a_held_arm_creep() -> None:
    arm = commander()
    arm.offer(chunk([0.03, 0, 0, 0, 0, 0, 1]), now=10.0)
    arm.command(10.05, START)
    arm.stop("first")
    held = arm.command(10.1, START).pose.position
    for number in range(5):
        sagging = Pose(START.position - [0, 0, 0.005 * number], DOWN)
        arm.stop("again")
        command = arm.command(10.2 + number, sagging)
        np.testing.assert_array_equal(command.pose.position, held)
    assert (command.state, command.reason) == (Motion.HOLDING, "again")


def test_old_chunks_are_refused_and_what_runs_goes_on() -> None:
    arm = commander()
    arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=10.0), now=10.0)
    with pytest.raises(ChunkError, match="older"):
        arm.offer(chunk([-0.02, 0, 0, 0, 0, 0, 1], stamp=9.9), now=10.01)
    arm.command(10.02, START)
    assert arm.command(10.1, START).pose.position[0] > 0.46
    with pytest.raises(ChunkError, match="ran out"):
        arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=10.1), now=20.0)


@given(st.floats(0.0, 0.24), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_late_chunk_moves_the_arm_no_longer_than_its_observation_allows(late: float, actions: int) -> None:
    arm = commander()
    end = 10.0 + actions * PERIOD
    arm.offer(chunk(*[[0.02, 0, 0, 0, 0, 0, 1]] * actions), now=end - PERIOD + late)
    times = np.arange(end - PERIOD + late, end + 1.0, 0.01)
    commands = [arm.command(float(now), START) for now in times]
    pairs = zip(times[1:], commands, commands[1:], strict=False)
    moved = [t for t, a, b in pairs if a.state is b.state is Motion.TRACKING]
    assert max(moved, default=0.0) <= end + Rules().expired_after
    assert commands[-1].state is Motion.HOLDING
    assert "stale" in (commands[-1].reason or "")
    np.testing.assert_array_equal(commands[-1].pose.position, START.position)


def test_anchor_refuses_what_was_observed_before() -> None:
    arm = commander()
    arm.anchor(START, not_before=11.0)
    with pytest.raises(ChunkError, match="older"):
        arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=10.99), now=11.0)


@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=7, max_size=7), min_size=1, max_size=20),
    st.floats(0.0, 0.09),
)
@settings(max_examples=60, deadline=None)
def test_no_sequence_of_actions_leaves_the_limits(actions: list[list[float]], latency: float) -> None:
    arm, measured, now = commander(), START, 10.0
    last = START.position
    for action in actions:
        arm.offer(chunk(action, stamp=now), now + latency)
        for step in range(5):
            command = arm.command(now + latency + step * 0.02, measured)
            position = command.pose.position
            assert np.all(position >= np.array(LIMITS.workspace_low) - 1e-9)
            assert np.all(position <= np.array(LIMITS.workspace_high) + 1e-9)
            assert np.linalg.norm(position - measured.position) <= LIMITS.lead_translation + 1e-9
            assert np.linalg.norm(position - last) <= LIMITS.lead_translation + LIMITS.max_translation
            last = position
            measured = Pose(measured.position + 0.5 * (position - measured.position), command.pose.quaternion)
        now += PERIOD


def test_a_long_chunk_is_not_run_out_once_chunks_cease() -> None:
    arm = commander()
    arm.offer(chunk(*[[0.01, 0, 0, 0, 0, 0, 1]] * 8), now=10.0)
    for now in np.arange(10.0, 10.2, 0.02):
        assert arm.command(float(now), START).state is Motion.TRACKING
    assert arm.command(10.21, START).state is Motion.HOLDING
    patient = commander(Rules(stale_after=8.0))
    patient.offer(chunk(*[[0.002, 0, 0, 0, 0, 0, 1]] * 8), now=10.0)
    for now in np.arange(10.0, 10.8, 0.02):
        command = patient.command(float(now), START)
    assert command.pose.position[0] == pytest.approx(0.45 + 8 * 0.002, abs=1e-3)


def test_a_chunk_from_the_future_is_refused_and_does_not_lock_out_the_next() -> None:
    arm = commander()
    with pytest.raises(ChunkError, match="in the future"):
        arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=1e9), now=10.0)
    arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=10.0), now=10.0)


def test_actions_are_scaled_but_not_the_gripper() -> None:
    arm = commander(Rules(scale=0.2))
    arm.offer(chunk([0.05, 0, 0, 0.1, 0.2, 0.05, 0.5]), now=10.0)
    arm.command(10.0, START)
    command = arm.command(10.1, START)
    assert command.pose.position[0] == pytest.approx(0.46)
    assert command.opening == 0.5
    turn = Rotation.from_euler("xyz", [0.1, 0.2, 0.05]).as_rotvec() * 0.2
    np.testing.assert_allclose((command.pose.rotation * START.rotation.inv()).as_rotvec(), turn, atol=1e-9)


def test_deltas_may_be_in_the_axes_of_the_tool() -> None:
    arm = commander(Rules(tool=True))
    arm.offer(chunk([0.0, 0.01, 0.02, 0, 0, 0.1, 1]), now=10.0)
    arm.command(10.0, START)
    pose = arm.command(10.1, START).pose
    np.testing.assert_allclose(pose.position - START.position, [0.0, -0.01, -0.02], atol=1e-9)  # DOWN: turned about x
    turn = START.rotation.inv() * pose.rotation
    np.testing.assert_allclose(turn.as_rotvec(), [0, 0, 0.1], atol=1e-9)


def test_chunks_join_without_a_jump() -> None:
    arm = commander()
    measured, last, steps = START, START.position, []
    for tick in range(12):
        now = 10.0 + tick * 0.07  # each takes over in the middle of the one before
        arm.offer(chunk([0.03, 0, 0, 0, 0, 0, 1], [0.03, 0, 0, 0, 0, 0, 1], stamp=now), now)
        for step in range(7):
            measured = arm.command(now + step * 0.01, measured).pose
            steps.append(float(np.linalg.norm(measured.position - last)))
            last = measured.position
    assert max(steps) <= LIMITS.max_speed * 0.01 + 1e-9
    assert last[0] > START.position[0] + 0.2


def test_overlapping_chunks_are_blended_only_when_asked() -> None:
    old, new = [[0.0, 0.02, 0, 0, 0, 0, 1]] * 3, [[0.0, -0.02, 0, 0, 0, 0, 0]] * 3
    ends = {}
    for share in (0.0, 0.5):
        arm = commander(Rules(blending=share))
        arm.offer(chunk(*old), now=10.0)
        arm.command(10.0, START)
        arm.offer(chunk(*new, stamp=10.001), now=10.001)
        arm.command(10.02, START)
        ends[share] = arm.command(10.15, START)
    assert ends[0.5].pose.position[1] > ends[0.0].pose.position[1] + 0.005
    assert ends[0.5].opening == ends[0.0].opening == 0.0


@pytest.mark.parametrize("change", [{"max_translation": 0.0}, {"max_rotation": np.nan}, {"workspace_low": (0.8, 0, 0)}])
def test_impossible_limits_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=r"expected a positive number|must lie below"):
        Limits(**change)
