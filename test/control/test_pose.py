"""Limits as pure functions: steps, speeds, lead, workspace, for any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_entropy_ros.control import Guard, Limits, Pose
from vla_entropy_ros.control.pose import AT_REST, integrate, limited, slow, turn_angle, velocity

LIMITS = Limits()
CENTRE = Pose(np.array([0.45, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
numbers = st.floats(-2, 2)
actions = st.lists(numbers, min_size=7, max_size=7).map(np.array)
poses = st.builds(
    lambda xyz, turn: Pose(CENTRE.position + xyz, (Rotation.from_rotvec(turn) * CENTRE.rotation).as_quat()),
    st.lists(numbers, min_size=3, max_size=3).map(np.array),
    st.lists(numbers, min_size=3, max_size=3).map(np.array),
)


def inside(position: np.ndarray) -> bool:
    low, high = np.array(LIMITS.workspace_low), np.array(LIMITS.workspace_high)
    return bool(np.all(position >= low - 1e-9) and np.all(position <= high + 1e-9))


@given(actions, st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_step_stays_small_and_inside(action: np.ndarray, tool: bool) -> None:
    pose = integrate(CENTRE, action, LIMITS, tool)
    assert np.linalg.norm(pose.position - CENTRE.position) <= LIMITS.max_translation + 1e-9
    assert turn_angle(pose, CENTRE) <= LIMITS.max_rotation + 1e-6
    assert inside(pose.position)


@given(poses, poses, st.floats(-1, 1))
@settings(max_examples=80, deadline=None)
def test_no_target_moves_faster_than_it_may(last: Pose, target: Pose, elapsed: float) -> None:
    pose = slow(last, target, elapsed, LIMITS)
    assert np.linalg.norm(pose.position - last.position) <= LIMITS.max_speed * max(elapsed, 0) + 1e-9
    assert turn_angle(pose, last) <= LIMITS.max_turn_speed * max(elapsed, 0) + 1e-6


@given(poses, poses, poses, st.floats(-1, 1))
@settings(max_examples=80, deadline=None)
def test_no_velocity_is_too_high_or_leads_out(last: Pose, target: Pose, measured: Pose, elapsed: float) -> None:
    speed = velocity(last, target, elapsed, measured, LIMITS)
    assert np.linalg.norm(speed.linear) <= LIMITS.max_speed + 1e-9
    assert np.linalg.norm(speed.angular) <= LIMITS.max_turn_speed + 1e-9
    for axis in range(3):
        if measured.position[axis] >= LIMITS.workspace_high[axis]:
            assert speed.linear[axis] <= 0
        if measured.position[axis] <= LIMITS.workspace_low[axis]:
            assert speed.linear[axis] >= 0
    if elapsed <= 0:
        assert speed is AT_REST


def test_a_velocity_is_the_way_over_the_time() -> None:
    target = integrate(CENTRE, np.array([0.02, 0, 0, 0, 0, 0.1]), LIMITS)
    speed = velocity(CENTRE, target, 0.1, CENTRE, LIMITS)
    np.testing.assert_allclose(speed.linear, [0.2, 0, 0], atol=1e-9)
    np.testing.assert_allclose(speed.angular, [0, 0, 1.0], atol=1e-9)


@given(poses, st.lists(actions, min_size=1, max_size=4).map(np.stack), st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_limited_chunk_has_limited_steps(pose: Pose, chunk: np.ndarray, tool: bool) -> None:
    result = limited(pose, chunk, LIMITS, tool)
    assert result.shape == chunk.shape
    assert (np.linalg.norm(result[:, :3], axis=1) <= LIMITS.max_translation + 1e-9).all()
    turns = Rotation.from_euler("xyz", result[:, 3:6]).magnitude()
    assert (turns <= LIMITS.max_rotation + 1e-6).all()
    assert ((result[:, 6] >= 0) & (result[:, 6] <= 1)).all()


@pytest.mark.parametrize("tool", [False, True])
def test_a_chunk_inside_the_limits_passes_as_it_is(tool: bool) -> None:
    chunk = np.array([[0.01, 0.005, 0, 0.02, 0.01, -0.03, 0.4], [0, -0.01, 0.01, 0, 0.05, 0, 1.0]])
    np.testing.assert_allclose(limited(CENTRE, chunk, LIMITS, tool), chunk, atol=1e-9)


def test_an_emergency_stop_latches_until_it_is_released() -> None:
    guard = Guard(enabled=True)
    guard.trip()
    guard.trip()
    assert (guard.enabled, guard.commanding) == (False, True)  # the arm is held
    assert "call ~/release first" in (guard.switch_on(None) or "")
    guard.switch_off()
    assert guard.latched
    guard.release()
    assert (guard.enabled, guard.latched, guard.commanding) == (False, False, False)
    assert guard.switch_on("no pose") == "no pose"
    assert not guard.enabled
    assert guard.switch_on(None) is None
    assert guard.enabled


def test_an_emergency_stop_does_not_take_control_of_an_arm_that_was_let_be() -> None:
    guard = Guard(enabled=False)
    guard.trip()
    assert not guard.commanding
