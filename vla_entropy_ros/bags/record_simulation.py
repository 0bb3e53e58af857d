"""A bag of the simulated arm at work, made without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..control.pose import POSE_FIELDS
from ..engine import Policy
from ..evaluation import inprocess
from ..evaluation.configurations import named
from ..evaluation.plan import Silent, Trial
from ..evaluation.records import TickRecord
from ..images import JPEG_FORMAT, encode_jpeg
from ..settings import default_settings
from .bag import COMPRESSED, JOINT_STATE, POSE, STRING, Recorder

IMAGES, STATES, POSES, INSTRUCTION = "/image/compressed", "/joint_states", "/current_pose", "/instruction"
TOPICS = ((IMAGES, COMPRESSED), (STATES, JOINT_STATE), (POSES, POSE), (INSTRUCTION, STRING))
GRIPPER = "gripper"  # beside the joints: how far it is open, 0 to 1
BEGIN = 1.0  # seconds: simulated time of the first image in the bag; a time of zero means "unknown" to many


def record_simulated(folder: Path, policy: Policy, task: str, seed: int, seconds: float) -> int:
    """Let the policy act in the simulator, episode after episode; record all topics; returns images.

    `seconds` of simulated time are recorded; each episode has the next seed.
    """
    frame = str(default_settings("command")["action_frame"])
    (full,) = named(["full"], "default", policy.info.visual_tokens)
    arm, count, begin = inprocess.SimulatedArm(policy), 0, BEGIN
    with Recorder(folder, TOPICS) as bag:
        while begin < BEGIN + seconds:
            trial = Trial(full, task, seed)
            (episode,) = inprocess.run_in_process(arm, [trial], Silent(), BEGIN + seconds - begin, keep_images=True)
            bag.add(INSTRUCTION, _nanoseconds(begin), bag.types.types[STRING](data=episode.instruction))
            for tick in episode.ticks:
                _add(bag, tick, _nanoseconds(begin + tick.stamp), (*arm.env.joint_names, GRIPPER), frame)
            count += len(episode.ticks)
            begin, seed = begin + episode.duration, seed + 1
    arm.close()
    return count


def _add(bag: Recorder, tick: TickRecord, stamp: int, joints: tuple[str, ...], frame: str) -> None:
    """Write the image of a tick, where its `joints` were, and where the tool was in `frame`."""
    assert tick.image is not None
    assert tick.state is not None
    kinds, measured = bag.types.types, dict(zip(tick.state.names, tick.state.values, strict=True))
    positions, nothing = np.array([measured[name] for name in joints]), np.zeros(0)
    bag.add(STATES, stamp, kinds[JOINT_STATE](_header(bag, stamp, ""), list(joints), positions, nothing, nothing))
    bag.add(POSES, stamp, kinds[POSE](_header(bag, stamp, frame), _pose(bag, [measured[name] for name in POSE_FIELDS])))
    data = np.frombuffer(encode_jpeg(tick.image), np.uint8)
    bag.add(IMAGES, stamp, kinds[COMPRESSED](_header(bag, stamp, "camera_link"), JPEG_FORMAT, data))


def _pose(bag: Recorder, fields: Sequence[float]) -> Any:
    """Pose of x, y, z [m], roll, pitch, yaw [rad]."""
    kinds, turn = bag.types.types, Rotation.from_euler("xyz", fields[3:]).as_quat()
    point = kinds["geometry_msgs/msg/Point"](*(float(value) for value in fields[:3]))
    orientation = kinds["geometry_msgs/msg/Quaternion"](*(float(value) for value in turn))
    return kinds["geometry_msgs/msg/Pose"](point, orientation)


def _header(bag: Recorder, stamp: int, frame: str) -> Any:
    time = bag.types.types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    return bag.types.types["std_msgs/msg/Header"](time, frame)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
