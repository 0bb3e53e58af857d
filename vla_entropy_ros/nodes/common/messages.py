"""ROS messages to arrays and back; nothing here remembers anything."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from ...control import ActionChunk, ChunkError, Pose, Velocity
from ...control.chunk import ACTION_NAMES
from ...control.pose import is_orientation
from ...images import JPEG_FORMAT, encode_jpeg

PERIOD_TOLERANCE = 1e-3  # seconds between the spacings of a chunk's points
SHOWN = 8  # names of joints in one line
POLICY = "check what sends it on action_chunk (ros2 topic info -v)"


def seconds(stamp: Time | Duration) -> float:
    """A ROS time or duration in seconds."""
    return float(stamp.sec + stamp.nanosec * 1e-9)


def duration(value: float) -> Duration:
    """`value` seconds as a ROS duration."""
    nanoseconds = round(value * 1e9)
    return Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def image_message(pixels: NDArray[np.uint8], stamp: Time, frame: str) -> Image:
    """Image message of `pixels`: [H, W, 3] as rgb8, [H, W] as mono8."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8" if pixels.ndim == 3 else "mono8")
    message.header.stamp, message.header.frame_id = stamp, frame
    message.step = pixels.strides[0] if pixels.flags.c_contiguous else pixels[0].size
    message.data = array.array("B", pixels.tobytes())  # any other type costs tens of milliseconds
    return message


def jpeg_message(pixels: NDArray[np.uint8], stamp: Time, frame: str) -> CompressedImage:
    """JPEG message of `pixels` [H, W, 3], RGB."""
    message = CompressedImage(format=JPEG_FORMAT, data=array.array("B", encode_jpeg(pixels)))
    message.header.stamp, message.header.frame_id = stamp, frame
    return message


def chunk_message(
    actions: NDArray[np.float64], names: Sequence[str], period: float, stamp: Time, frame: str
) -> JointTrajectory:
    """Trajectory of `actions` [H, D]: point i is the i-th action, which is to be done (i + 1) periods after `stamp`."""
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp, message.header.frame_id = stamp, frame
    message.points = [
        JointTrajectoryPoint(positions=[float(v) for v in action], time_from_start=duration(period * (number + 1)))
        for number, action in enumerate(actions)
    ]
    return message


def stop_message(stamp: Time, frame: str) -> JointTrajectory:
    """A chunk without actions: the order to hold the arm at once."""
    message = JointTrajectory(joint_names=list(ACTION_NAMES))
    message.header.stamp, message.header.frame_id = stamp, frame
    return message


def is_stop(message: JointTrajectory) -> bool:
    """Whether a chunk is the order to stop."""
    return not message.points and sorted(message.joint_names) == sorted(ACTION_NAMES)


def chunk_from(message: JointTrajectory) -> ActionChunk:
    """Chunk of a trajectory message, its columns in the order of ACTION_NAMES. Raises ChunkError."""
    names = list(message.joint_names)
    if sorted(names) != sorted(ACTION_NAMES):
        came, expected = ", ".join(names) or "none", ", ".join(ACTION_NAMES)
        raise ChunkError(f"chunk refused: names {came}; expected {expected}: {POLICY}")
    if not message.points:
        raise ChunkError(f"chunk refused: it has no points, expected one for each action: {POLICY}")
    for number, point in enumerate(message.points, 1):
        if len(point.positions) != len(names):
            came = f"point {number} of {len(message.points)} has {len(point.positions)} positions"
            raise ChunkError(f"chunk refused: {came}, expected {len(names)}, one for each of joint_names: {POLICY}")
    times = np.array([0.0, *(seconds(point.time_from_start) for point in message.points)])
    period = float(times[1])
    uneven = np.abs(np.diff(times) - period)
    if uneven.max() > PERIOD_TOLERANCE:
        number = int(uneven.argmax())
        came = f"point {number + 1} follows the one before after {times[number + 1] - times[number]:.3f} s"
        raise ChunkError(
            f"chunk refused: its points are not evenly spaced in time: {came}, expected {period:.3f}: {POLICY}"
        )
    actions = np.array([point.positions for point in message.points])
    columns = [names.index(name) for name in ACTION_NAMES]
    return ActionChunk(seconds(message.header.stamp), period, actions[:, columns], message.header.frame_id)


def pose_message(pose: Pose, stamp: Time, frame: str) -> PoseStamped:
    """Pose message of `pose` in `frame`."""
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = stamp, frame
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z = (float(v) for v in pose.position)
    turn.x, turn.y, turn.z, turn.w = (float(v) for v in pose.quaternion)
    return message


def twist_message(velocity: Velocity, stamp: Time, frame: str) -> TwistStamped:
    """Twist message of `velocity` in `frame`."""
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = stamp, frame
    for part, values in ((message.twist.linear, velocity.linear), (message.twist.angular, velocity.angular)):
        part.x, part.y, part.z = (float(value) for value in values)
    return message


def joints_message(names: Sequence[str], joints: NDArray[np.float64], reach_in: float) -> JointTrajectory:
    """Trajectory to the positions `joints` [n], to be there `reach_in` seconds after it arrives (its stamp is zero)."""
    message = JointTrajectory(joint_names=list(names))
    point = JointTrajectoryPoint(positions=[float(v) for v in joints], time_from_start=duration(reach_in))
    message.points = [point]
    return message


def positions_by_name(message: JointState) -> dict[str, float]:
    """Positions of a message's joints; ValueError when it has not as many as names."""
    if len(message.position) != len(message.name):
        more = ", ..." if len(message.name) > SHOWN else ""
        names = f" ({', '.join(message.name[:SHOWN])}{more})" if message.name else ""
        raise ValueError(
            f"joint_states refused: {len(message.name)} names{names}, {len(message.position)} positions; expected a "
            "position for each name: check its driver"
        )
    return dict(zip(message.name, message.position, strict=True))


def pose_from(message: PoseStamped) -> Pose:
    """Pose of a message, its quaternion normalised; ValueError when it is not a pose."""
    point, turn = message.pose.position, message.pose.orientation
    position = np.array([point.x, point.y, point.z])
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
    if not (np.isfinite(position).all() and is_orientation(quaternion)):
        numbers = [f"({', '.join(f'{value:g}' for value in values)})" for values in (position, quaternion)]
        raise ValueError(
            f"pose refused: position {numbers[0]}, quaternion {numbers[1]} in frame '{message.header.frame_id}', "
            "expected finite numbers and a quaternion of length 1: check its driver"
        )
    return Pose(position, quaternion / np.linalg.norm(quaternion))


def pose_in(frame: str, message: PoseStamped, topic: str) -> Pose:
    """Pose of a message on `topic`, which must be in `frame`; ValueError in one line when it is not, or is no pose."""
    if (came := message.header.frame_id) != frame:
        instead = f", or start with action_frame:={came}" if came else ""
        asked = f"let its publisher set header.frame_id to '{frame}'{instead}"
        raise ValueError(f"{topic} is in frame '{came}', expected '{frame}': {asked}")
    try:
        return pose_from(message)
    except ValueError as error:
        raise ValueError(f"{topic}: {error}") from None
