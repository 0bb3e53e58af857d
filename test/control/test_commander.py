"""The commander moves only on sound, recent chunks, and never beyond its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_entropy_ros.control import ActionChunk, ChunkError, Commander, Limits, Pose

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
START = Pose(np.array([0.45, 0.0, 0.2]), DOWN)
LIMITS = Limits()
PERIOD = 0.1


def chunk(*actions: list[float], stamp: float = 10.0, frame: str = "base") -> ActionChunk:
    return ActionChunk(stamp, PERIOD, np.array(actions, np.float64), frame)


def commander() -> Commander:
    result = Commander(LIMITS, "base", stale_after=0.2)
    result.anchor(START)
    return result


def test_idle_commander_holds_the_measured_pose() -> None:
    command = commander().command(10.0, START)
    assert command.state == "idle"
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
    command = arm.command(10.0 + PERIOD + 0.2 + 0.01, moved)
    assert (command.state, command.reason) == ("holding", "chunks are stale")
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
    assert command.state == "holding"
    np.testing.assert_array_equal(command.pose.position, START.position)


def test_old_chunks_are_refused_and_what_runs_goes_on() -> None:
    arm = commander()
    arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=10.0), now=10.0)
    with pytest.raises(ChunkError, match="older"):
        arm.offer(chunk([-0.02, 0, 0, 0, 0, 0, 1], stamp=9.9), now=10.01)
    arm.command(10.02, START)
    assert arm.command(10.1, START).pose.position[0] > 0.46
    with pytest.raises(ChunkError, match="ran out"):
        arm.offer(chunk([0.02, 0, 0, 0, 0, 0, 1], stamp=10.1), now=20.0)


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


@pytest.mark.parametrize("change", [{"max_translation": 0.0}, {"max_rotation": np.nan}, {"workspace_low": (0.8, 0, 0)}])
def test_impossible_limits_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=r"expected a positive number|must lie below"):
        Limits(**change)
