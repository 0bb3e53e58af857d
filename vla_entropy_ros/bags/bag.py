"""What is in a bag, and how one is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from numpy import uint8
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..images import decode

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"
VERSION: Literal[9] = 9  # of the bag's metadata: what Jazzy and later write


class BagError(ValueError):
    """A bag that can't be read or written; the message is one line."""


@dataclass(frozen=True)
class Frame:
    """One image message: when it was recorded [ns], its bytes on the wire, its time [s], and how to see it."""

    recorded: int
    raw: bytes
    message: Any

    @property
    def stamp(self) -> float:
        """Time in the header [s]."""
        stamp = self.message.header.stamp
        return float(stamp.sec + stamp.nanosec * 1e-9)

    def pixels(self) -> NDArray[uint8]:
        """RGB image [H, W, 3]; raises ImageError."""
        return decode(self.message)


def types() -> Typestore:
    """The message types of Jazzy, which those of its successors equal as far as they are used here."""
    return get_typestore(Stores.ROS2_JAZZY)


class Bag:
    """One camera topic of a bag, and the instruction where one was recorded; raises BagError in one line."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
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
        except BagError:
            self._reader.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()

    def frames(self) -> Iterator[Frame]:
        """The images in the order they were recorded."""
        connections = [c for c in self._reader.connections if c.topic == self.topic]
        for connection, recorded, raw in self._reader.messages(connections):
            yield Frame(recorded, bytes(raw), self._reader.deserialize(raw, connection.msgtype))

    @property
    def instruction(self) -> str:
        """The first instruction in the bag; empty when it has none."""
        asked = [c for c in self._reader.connections if c.topic.endswith("/instruction") and c.msgtype == STRING]
        for connection, _, raw in self._reader.messages(asked) if asked else ():
            message: Any = self._reader.deserialize(raw, connection.msgtype)
            return str(message.data)
        return ""

    def _camera(self, topic: str | None) -> tuple[str, str]:
        """The asked or the only image topic, and its type."""
        cameras = {c.topic: c.msgtype for c in self._reader.connections if c.msgtype in (RAW, COMPRESSED)}
        valid = ", ".join(sorted(cameras)) or "none"
        if topic is None and len(cameras) != 1:
            raise BagError(f"the bag has {len(cameras)} image topics: choose one with --topic; valid are {valid}")
        chosen = topic or next(iter(cameras))
        if chosen not in cameras:
            raise BagError(f"no image topic '{chosen}' in the bag: valid are {valid}")
        return chosen, cameras[chosen]


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
