"""Messages to arrays and back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState

from vla_entropy_ros.control import ChunkError, Pose
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.images import decode
from vla_entropy_ros.nodes.common.messages import (
    chunk_from,
    chunk_message,
    duration,
    image_message,
    jpeg_message,
    pose_from,
    pose_in,
    pose_message,
    positions_by_name,
    seconds,
)

STAMP = Time(sec=1_700_000_000, nanosec=123_456_789)


def test_images_survive_the_wire() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    message = image_message(pixels, STAMP, "camera_link")
    assert (message.encoding, message.step, message.header.frame_id) == ("rgb8", 21, "camera_link")
    assert message.header.stamp == STAMP
    np.testing.assert_array_equal(decode(message), pixels)
    grey = image_message(pixels[..., 0], STAMP, "")
    assert (grey.encoding, grey.step) == ("mono8", 7)
    np.testing.assert_array_equal(decode(grey)[..., 1], pixels[..., 0])


def test_jpeg_keeps_colours_in_order() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 0] = 200  # red
    decoded = decode(jpeg_message(pixels, STAMP, ""))
    assert np.abs(decoded.astype(int) - pixels).max() < 6


def test_a_chunk_comes_back_as_it_was() -> None:
    actions = np.random.default_rng(3).normal(size=(3, 7))
    message = chunk_message(actions.astype(np.float32), ACTION_NAMES, 0.1, STAMP, "base_link")
    assert message.header.stamp == STAMP
    assert [seconds(point.time_from_start) for point in message.points] == pytest.approx([0.1, 0.2, 0.3], abs=1e-9)
    chunk = chunk_from(message)
    np.testing.assert_array_equal(chunk.actions, actions.astype(np.float32))
    assert (chunk.stamp, chunk.frame) == (seconds(STAMP), "base_link")
    assert chunk.period == pytest.approx(0.1)


def test_columns_follow_the_names() -> None:
    actions = np.arange(7, dtype=np.float64)[None]
    backwards = chunk_message(actions[:, ::-1], ACTION_NAMES[::-1], 0.1, STAMP, "base_link")
    np.testing.assert_array_equal(chunk_from(backwards).actions, actions)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("names", "names j1; expected x, y, z, roll, pitch, yaw, gripper: check what sends it on action_chunk"),
        ("no points", "it has no points, expected one for each action: check what sends it on action_chunk"),
        ("short point", "point 2 of 3 has 1 positions, expected 7, one for each of joint_names: check what sends it"),
        ("uneven", "not evenly spaced in time: point 3 follows the one before after 0.300 s, expected 0.100: check"),
    ],
)
def test_a_malformed_chunk_is_refused(fault: str, said: str) -> None:
    message = chunk_message(np.zeros((3, 7)), ACTION_NAMES, 0.1, STAMP, "base_link")
    if fault == "names":
        message.joint_names = ["j1"]
    elif fault == "no points":
        message.points = []
    elif fault == "short point":
        message.points[1].positions = [0.0]
    else:
        message.points[2].time_from_start = duration(0.5)
    with pytest.raises(ChunkError, match=said):
        chunk_from(message)


def test_poses_come_back_normalised() -> None:
    pose = Pose(np.array([0.1, -0.2, 0.3]), np.array([0.0, 0.6, 0.0, 0.8]))
    message = pose_message(pose, STAMP, "base_link")
    message.pose.orientation.w *= 2.0
    message.pose.orientation.y *= 2.0
    back = pose_from(message)
    np.testing.assert_allclose(back.position, pose.position)
    np.testing.assert_allclose(back.quaternion, pose.quaternion)


@pytest.mark.parametrize(
    ("field", "value"), [("x", float("nan")), ("x", float("inf")), ("w", 0.0), ("w", float("nan"))]
)
def test_a_pose_that_is_none_is_refused(field: str, value: float) -> None:
    message = pose_message(Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])), STAMP, "base_link")
    setattr(message.pose.position if field == "x" else message.pose.orientation, field, value)
    with pytest.raises(ValueError, match="pose refused") as refusal:
        pose_from(message)
    came = f"position ({value:g}, 0, 0), quaternion (0, 0, 0, 1)"
    if field == "w":
        came = f"position (0, 0, 0), quaternion (0, 0, 0, {value:g})"
    expected = "expected finite numbers and a quaternion of length 1: check its driver"
    assert str(refusal.value) == f"pose refused: {came} in frame 'base_link', {expected}"


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ("", "let its publisher set header.frame_id to 'base_link'"),
        ("map", "let its publisher set header.frame_id to 'base_link', or start with action_frame:=map"),
    ],
)
def test_a_pose_in_another_frame_is_refused_with_what_to_set(frame: str, said: str) -> None:
    message = pose_message(Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])), STAMP, frame)
    with pytest.raises(ValueError, match="is in frame") as refusal:
        pose_in("base_link", message, "current_pose")
    assert str(refusal.value) == f"current_pose is in frame '{frame}', expected 'base_link': {said}"


@pytest.mark.parametrize(
    ("names", "said"),
    [(2, "2 names (joint0, joint1), 1 positions"), (9, "joint7, ...), 1 positions"), (0, "0 names, 1")],
)
def test_joints_that_do_not_match_their_names_are_refused_by_name(names: int, said: str) -> None:
    message = JointState(name=[f"joint{number}" for number in range(names)], position=[0.1])
    with pytest.raises(ValueError, match="joint_states refused") as refusal:
        positions_by_name(message)
    assert said in str(refusal.value)
    assert str(refusal.value).endswith("; expected a position for each name: check its driver")
