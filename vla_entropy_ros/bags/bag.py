"""What is in a bag, and how one is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..control.pose import POSE_FIELDS, Pose, is_orientation
from ..engine import State
from ..images import decode

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
STRING, JOINT_STATE, POSE = "std_msgs/msg/String", "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped"
VERSION: Literal[9] = 9  # of the bag's metadata: what Jazzy and later write
WINDOW = 10**9  # nanoseconds that states may have been recorded before or after the image they belong to


class BagError(ValueError):
    """A bag that can't be read or written; the message is one line."""


@dataclass(frozen=True)
class Recorded:
    """One message with a header: when it was recorded [ns], its bytes on the wire, and what they say."""

    recorded: int
    raw: bytes
    message: Any

    @property
    def stamp(self) -> float:
        """Time in the header [s]."""
        stamp = self.message.header.stamp
        return float(stamp.sec + stamp.nanosec * 1e-9)


@dataclass(frozen=True)
class JointStates(Recorded):
    """Where the joints were."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(self.message.name)

    @property
    def values(self) -> NDArray[np.float64]:
        """Their positions [n] in radians or metres; not numbers where another number of positions was sent."""
        sent = self.message.position
        return sent if len(sent) == len(self.names) else np.full(len(self.names), np.nan)


@dataclass(frozen=True)
class ToolPose(Recorded):
    """Where the tool was."""

    names = POSE_FIELDS

    @property
    def values(self) -> NDArray[np.float64]:
        """Position [m] and turns about the fixed axes [rad], together [6]; not numbers where it is no orientation."""
        point, turn = self.message.pose.position, self.message.pose.orientation
        pose = Pose(np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z, turn.w]))
        return pose.fields if is_orientation(pose.quaternion) else np.append(pose.position, np.full(3, np.nan))


Measured = JointStates | ToolPose
MEASURED: dict[str, type[JointStates] | type[ToolPose]] = {JOINT_STATE: JointStates, POSE: ToolPose}


@dataclass(frozen=True)
class Frame(Recorded):
    """One image message, and of joint states and poses those nearest to it in time, as far as the bag has any."""

    measured: tuple[Measured, ...] = ()

    def pixels(self) -> NDArray[np.uint8]:
        """RGB image [H, W, 3]; raises ImageError."""
        return decode(self.message)

    def state(self, needed: Sequence[str] = ()) -> State | None:
        """All that was measured as one state, as old as its farthest part; None where the bag has nothing of it.

        Parts that tell nothing of what is `needed` do not make it older. Of a name told twice the pose counts, else
        what is nearest in time.
        """
        parts = sorted(self.measured, key=lambda part: (isinstance(part, ToolPose), -abs(part.stamp - self.stamp)))
        told = {
            name: (value, part.stamp) for part in parts for name, value in zip(part.names, part.values, strict=True)
        }
        if not told:
            return None
        stamps = [told[name][1] for name in needed if name in told] or [stamp for _, stamp in told.values()]
        farthest = max(stamps, key=lambda stamp: abs(stamp - self.stamp))
        return State(tuple(told), np.array([value for value, _ in told.values()]), farthest)


def types() -> Typestore:
    """Load the message types of Jazzy, which those of its successors equal as far as they are used here."""
    return get_typestore(Stores.ROS2_JAZZY)


class Bag:
    """One camera topic of a bag, with the robot's state and the instruction where it has them; raises BagError.

    topic, state_topic: by default the only camera, and the only joint states or those called joint_states. The pose is
    that called current_pose: any other may be a target.
    """

    def __init__(self, path: Path, topic: str | None = None, state_topic: str | None = None) -> None:
        folder = path.parent if path.suffix == ".mcap" else path
        if not (folder / "metadata.yaml").is_file():
            raise BagError(f"no bag at {path}: a bag is a folder with metadata.yaml")
        try:
            self._reader = AnyReader([folder], default_typestore=types())
            self._reader.open()
        except (AnyReaderError, ReaderError, OSError, ValueError, KeyError) as error:
            raise BagError(f"{path} is no bag: {' '.join(str(error).split())}") from None
        try:
            self.topic, self.kind = self._camera(topic)
            self.state_topic = self._joints(state_topic)
            poses = [c.topic for c in self._reader.connections if c.msgtype == POSE]
            named = [name for name in poses if name.endswith("/current_pose")]
            self.pose_topic = min(named, key=lambda name: (len(name), name), default=None)
        except BagError:
            self._reader.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()

    def frames(self) -> Iterator[Frame]:
        """Yield the images in the order they were recorded, each with the states nearest to it by stamp."""
        states: dict[str, deque[Measured]] = {
            topic: deque() for topic in (self.state_topic, self.pose_topic) if topic is not None
        }
        connections = [c for c in self._reader.connections if c.topic == self.topic or c.topic in states]
        waiting: deque[Frame] = deque()  # for later states
        for connection, recorded, raw in self._reader.messages(connections):
            content = recorded, bytes(raw), self._reader.deserialize(raw, connection.msgtype)
            if connection.topic == self.topic:
                waiting.append(Frame(*content))
            else:
                states[connection.topic].append(MEASURED[connection.msgtype](*content))
            while waiting and all(_complete(waiting[0], some, recorded) for some in states.values()):
                yield _joined(waiting.popleft(), states.values())
        for frame in waiting:
            yield _joined(frame, states.values())

    @property
    def instruction(self) -> str | None:
        """The first instruction in the bag; None when it has none."""
        asked = [c for c in self._reader.connections if c.topic.endswith("/instruction") and c.msgtype == STRING]
        for connection, _, raw in self._reader.messages(asked) if asked else ():
            message: Any = self._reader.deserialize(raw, connection.msgtype)
            return str(message.data)
        return None

    def _camera(self, topic: str | None) -> tuple[str, str]:
        """Choose the asked or the only image topic, and its type."""
        cameras = {c.topic: c.msgtype for c in self._reader.connections if c.msgtype in (RAW, COMPRESSED)}
        valid = ", ".join(sorted(cameras)) or "none"
        if topic is None and len(cameras) != 1:
            raise BagError(f"the bag has {len(cameras)} image topics: choose one with --topic; valid are {valid}")
        chosen = topic or next(iter(cameras))
        if chosen not in cameras:
            raise BagError(f"no image topic '{chosen}' in the bag: valid are {valid}")
        return chosen, cameras[chosen]

    def _joints(self, topic: str | None) -> str | None:
        """Choose the asked topic of joint states, else the only one, or the shortest that is called joint_states."""
        found = {c.topic for c in self._reader.connections if c.msgtype == JOINT_STATE}
        if topic is not None and topic not in found:
            raise BagError(f"no joint states '{topic}' in the bag: valid are {', '.join(sorted(found)) or 'none'}")
        ordered = sorted(found, key=lambda name: (not name.endswith("/joint_states"), len(name), name))
        return topic or next(iter(ordered), None)


def _complete(frame: Frame, states: deque[Measured], now: int) -> bool:
    """Whether no later one of `states` can be nearer to `frame`; now: when the newest message was recorded [ns]."""
    return now - frame.recorded > WINDOW or bool(states and states[-1].stamp >= frame.stamp)


def _joined(frame: Frame, sources: Iterable[deque[Measured]]) -> Frame:
    """`frame` with what is nearest to it of each source."""
    return replace(frame, measured=tuple(state for states in sources for state in _nearest(frame, states)))


def _nearest(frame: Frame, states: deque[Measured]) -> list[Measured]:
    """Of `states` the nearest that tells the same names, of two as near the newer: drivers may share a topic.

    Those too old for what follows are dropped.
    """
    while len(states) > 1 and states[1].recorded < frame.recorded - WINDOW:  # one stays, however old
        states.popleft()
    best: dict[tuple[str, ...], Measured] = {}
    for state in sorted(states, key=lambda state: (-abs(state.stamp - frame.stamp), state.stamp)):
        best[state.names] = state
    return list(best.values())


class Recorder:
    """Writes messages to a new mcap bag; used as a context. Raises BagError when the folder exists."""

    def __init__(self, folder: Path, topics: Sequence[tuple[str, str]]) -> None:
        self.types = types()
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._writer = Writer(folder, version=VERSION, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f"no bag can be written to {folder}: {' '.join(str(error).split())}") from None
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=self.types) for topic, kind in topics
        }

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, topic: str, nanoseconds: int, raw: bytes | memoryview) -> None:
        """Write a message as it goes over the wire (CDR)."""
        self._writer.write(self._connections[topic], nanoseconds, raw)

    def add(self, topic: str, nanoseconds: int, message: Any) -> None:
        """Write a message of `types`."""
        self.write(topic, nanoseconds, self.types.serialize_cdr(message, self._connections[topic].msgtype))
