"""A bag as a test wants it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_entropy_ros.bags.bag import COMPRESSED, JOINT_STATE, POSE, STRING, Recorder
from vla_entropy_ros.bags.record_simulation import IMAGES, INSTRUCTION, POSES, STATES
from vla_entropy_ros.images import encode_jpeg


def write_bag(
    folder: Path,
    images: Sequence[float],
    states: Sequence[tuple[float, ...]],
    *topics: str,
    delay: float = 0.0,
    poses: Sequence[tuple[float, float]] = (),
    turn: Sequence[float] = (0.0, 0.0, 0.6, 0.8),
    asked: Sequence[tuple[float, str]] = (),
    clock: Callable[[float], float] = lambda time: time,
    camera: str = IMAGES,
    image: bytes = encode_jpeg(np.full((56, 56, 3), 99, np.uint8)),
    format_: str = "jpeg",
) -> Path:
    """A bag of images at these times [s], recorded `delay` later; of joints and poses at times, each at a position.

    More positions at one time are those of joint1, joint2, ..., told by a driver each. asked: instructions at times;
    clock: what stamps say at a time, both above 0. format_:
    that of the images.
    """
    data = np.frombuffer(image, np.uint8)
    names = topics or (STATES,)
    kinds = [(camera, COMPRESSED), *((name, JOINT_STATE) for name in names), (POSES, POSE), ("/target_pose", POSE)]
    kinds += [(INSTRUCTION, STRING)] if asked else []
    with Recorder(folder, kinds) as bag:
        types = bag.types.types

        def header(stamp: float) -> Any:
            return types["std_msgs/msg/Header"](
                types["builtin_interfaces/msg/Time"](*divmod(round(clock(stamp) * 1e9), 10**9)), ""
            )

        for stamp in images:
            bag.add(camera, round((stamp + delay) * 1e9), types[COMPRESSED](header(stamp), format_, data))
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
        for stamp, text in asked:
            bag.add(INSTRUCTION, round(stamp * 1e9), types[STRING](data=text))
    return folder


def record(kind: int, content: bytes) -> bytes:
    """A record of an mcap file."""
    return struct.pack("<BQ", kind, len(content)) + content


def text(content: str) -> bytes:
    """A text in an mcap file."""
    return struct.pack("<I", len(content)) + content.encode()


def chunk(
    records: bytes, packing: str = "", size: int | None = None, begin: int = 5 * 10**9, checksum: int = 0
) -> bytes:
    """A chunk of an mcap file; records: packed already, size: what they are said to unpack to."""
    about = struct.pack("<QQQI", begin, 0, len(records) if size is None else size, checksum)
    return record(6, about + text(packing) + struct.pack("<Q", len(records)) + records)


def described(topic: str, kind: str, number: int = 1, encoding: str = "cdr", schema: str = "ros2msg") -> bytes:
    """Schema and channel of a topic in an mcap file."""
    made = record(3, struct.pack("<H", number) + text(kind) + text(schema) + text("anything at all"))
    return made + record(4, struct.pack("<HH", number, number) + text(topic) + text(encoding) + text(""))


def message(recorded: int, raw: bytes, number: int = 1) -> bytes:
    """A message in an mcap file, recorded at a time [ns]."""
    return record(5, struct.pack("<HIQQ", number, 0, recorded, recorded) + raw)


def mcap(*records: bytes, data_checksum: int | None = 0) -> bytes:
    """An mcap file without a summary; data_checksum: None leaves the end out, as when a recording is cut off."""
    begin = b"\x89MCAP0\r\n" + record(1, text("ros2") + text("test")) + b"".join(records)
    if data_checksum is None:
        return begin
    return begin + record(15, struct.pack("<I", data_checksum)) + record(2, bytes(20)) + b"\x89MCAP0\r\n"
