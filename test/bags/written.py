"""A bag as a test wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_entropy_ros.bags.bag import COMPRESSED, JOINT_STATE, POSE, Recorder
from vla_entropy_ros.bags.record_simulation import IMAGES, POSES, STATES
from vla_entropy_ros.images import encode_jpeg


def write_bag(
    folder: Path,
    images: Sequence[float],
    states: Sequence[tuple[float, ...]],
    *topics: str,
    delay: float = 0.0,
    poses: Sequence[tuple[float, float]] = (),
    turn: Sequence[float] = (0.0, 0.0, 0.6, 0.8),
) -> Path:
    """A bag of images at these times [s], recorded `delay` later; of joints and poses at times, each at a position.

    More positions at one time are those of joint1, joint2, ..., told by a driver each.
    """
    data = np.frombuffer(encode_jpeg(np.full((56, 56, 3), 99, np.uint8)), np.uint8)
    names = topics or (STATES,)
    kinds = [(IMAGES, COMPRESSED), *((name, JOINT_STATE) for name in names), (POSES, POSE), ("/target_pose", POSE)]
    with Recorder(folder, kinds) as bag:
        types = bag.types.types

        def header(stamp: float) -> Any:
            return types["std_msgs/msg/Header"](
                types["builtin_interfaces/msg/Time"](*divmod(round(stamp * 1e9), 10**9)), ""
            )

        for stamp in images:
            bag.add(IMAGES, round((stamp + delay) * 1e9), types[COMPRESSED](header(stamp), "jpeg", data))
        for stamp, *positions in states:
            for joint, position in enumerate(positions, start=1):
                told = [f"joint{joint}"], np.array([position]), np.zeros(0), np.zeros(0)
                for name in names:
                    bag.add(name, round(stamp * 1e9), types[JOINT_STATE](header(stamp), *told))
        for stamp, position in poses:
            where = (
                types["geometry_msgs/msg/Point"](position, 0.2, 0.3),
                types["geometry_msgs/msg/Quaternion"](*turn),
            )
            message = types[POSE](header(stamp), types["geometry_msgs/msg/Pose"](*where))
            bag.add(POSES, round(stamp * 1e9), message)
    return folder
