"""What is in a bag, and how one is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from .clocks import ENOUGH, Clock, stamp_of
from .errors import BagError
from .mcap import Message
from .messages import COMPRESSED, JOINT_STATE, MEASURED, POSE, RAW, STRING, Frame, Measured
from .storage import Storage

VERSION: Literal[9] = 9  # of the bag's metadata: what Jazzy and later write
WINDOW = 10**9  # nanoseconds that states may have been recorded before or after the image they belong to
MOST_STATES, MOST_WAITING = 4096, 128  # kept at once, whatever the times say: joints at 1 kHz, images at 100 Hz
FIRST = 1000  # messages that are looked at for the stamps of the first ones


def types() -> Typestore:
    """Load the message types of Jazzy, which those of its successors equal as far as they are used here."""
    return get_typestore(Stores.ROS2_JAZZY)


class Bag:
    """One camera topic of a bag, with the robot's state and the instruction where it has them; raises BagError.

    path: a folder, or an .mcap or .db3 file. topic, state_topic: by default the only camera, and the only joint states
    or those called joint_states; with or without the slash in front, and of a camera without "/compressed". The pose is
    that called current_pose: any other may be a target.
    """

    def __init__(self, path: Path, topic: str | None = None, state_topic: str | None = None) -> None:
        self._storage, self._types = Storage(path), types()
        self._kinds = self._storage.topics
        self._clocks: dict[str, Clock] = {}
        try:
            self.topic = self._camera(topic)
            self.kind = self._kinds[self.topic]
            self.state_topic = self._joints(state_topic)
        except BagError as error:
            self._storage.close()
            raise BagError(f"{self._storage.damage}; {error}" if self._storage.damage else str(error)) from None
        named = [name for name in self._of(POSE) if name.endswith("/current_pose")]
        self.pose_topic = min(named, key=lambda name: (len(name), name), default=None)
        self._asked = [name for name in self._of(STRING) if name.endswith("/instruction")]

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._storage.close()

    def frames(self) -> Iterator[Frame]:
        """Yield the images in the order they were recorded, each with the states nearest to it by stamp.

        Raises BagError where the bag is damaged, after the images that come before.
        """
        states: dict[str, deque[Measured]] = {
            topic: deque(maxlen=MOST_STATES) for topic in (self.state_topic, self.pose_topic) if topic is not None
        }
        self._clocks = self._judge([self.topic, *states])
        waiting: deque[Frame] = deque()  # for later states
        instruction, damage = None, None
        messages = self._storage.messages([self.topic, *states, *self._asked])
        while True:
            try:
                message = next(messages)
                content = self._read(message)
            except StopIteration:
                break
            except BagError as error:
                damage = error
                break
            topic, recorded = message.topic, message.recorded
            if topic in self._asked:
                instruction = str(content.data)
                continue
            usable = self._clocks[topic].is_usable(recorded, stamp_of(message.raw))
            if topic == self.topic:
                waiting.append(Frame(recorded, message.raw, content, not usable, instruction))
            else:
                states[topic].append(MEASURED[self._kinds[topic]](recorded, message.raw, content, not usable))
            while waiting and (
                len(waiting) > MOST_WAITING or all(_complete(waiting[0], some, recorded) for some in states.values())
            ):
                yield _joined(waiting.popleft(), states.values())
        for frame in waiting:
            yield _joined(frame, states.values())
        if damage is not None:
            raise damage

    @property
    def instruction(self) -> str | None:
        """The first instruction in the bag that is not empty; None when it has none."""
        for message in self._storage.messages(self._asked) if self._asked else ():
            if text := str(self._read(message).data).strip():
                return text
        return None

    @property
    def notes(self) -> list[str]:
        """What was found out about the stamps of what `frames` has yielded, a line each."""
        return [note for topic, clock in self._clocks.items() for note in clock.notes(topic)]

    def _of(self, *kinds: str) -> list[str]:
        """Topics of these types."""
        return sorted(topic for topic, kind in self._kinds.items() if kind in kinds)

    def _read(self, message: Message) -> Any:
        """What a message says; raises BagError."""
        try:
            return self._types.deserialize_cdr(memoryview(message.raw), self._kinds[message.topic])
        except SerdeError as error:
            when = f"recorded at {message.recorded * 1e-9:.3f} s"
            raise BagError(f"the bag is damaged: a message of {message.topic}, {when}: {error}") from None

    def _judge(self, topics: Sequence[str]) -> dict[str, Clock]:
        """A clock for each topic, by its first messages."""
        seen: dict[str, list[tuple[int, int]]] = {topic: [] for topic in topics}
        try:
            for message in islice(self._storage.messages(topics), FIRST):
                seen[message.topic].append((message.recorded, stamp_of(message.raw)))
                if len(seen[self.topic]) == ENOUGH:
                    break
        except BagError:
            pass  # said where it is read
        return {topic: Clock(pairs) for topic, pairs in seen.items()}

    def _camera(self, topic: str | None) -> str:
        """Choose the asked or the only image topic."""
        cameras = self._of(RAW, COMPRESSED)
        valid = ", ".join(cameras)
        if not cameras:
            others = ", ".join(sorted(self._kinds)) or "none"
            raise BagError(f"the bag has no topic of images ({RAW}, {COMPRESSED}): its topics are {others}")
        if topic is None and len(cameras) != 1:
            raise BagError(f"the bag has {len(cameras)} image topics: choose one with --topic; valid are {valid}")
        chosen = cameras[0] if topic is None else _meant(topic, cameras, "/compressed")
        if chosen is None:
            raise BagError(f"no image topic '{topic}' in the bag: valid are {valid}")
        return chosen

    def _joints(self, topic: str | None) -> str | None:
        """Choose the asked topic of joint states, else the only one, or the shortest that is called joint_states."""
        found = self._of(JOINT_STATE)
        if topic is not None:
            chosen = _meant(topic, found)
            if chosen is None:
                raise BagError(f"no joint states '{topic}' in the bag: valid are {', '.join(found) or 'none'}")
            return chosen
        ordered = sorted(found, key=lambda name: (not name.endswith("/joint_states"), len(name), name))
        return next(iter(ordered), None)


def _meant(asked: str, topics: Sequence[str], ending: str = "") -> str | None:
    """The one of `topics` that is `asked`, its slash in front or its `ending` left out; None where there is none."""
    base = "/" + asked.strip("/")
    return next((topic for topic in (asked, base, base[1:], base + ending) if topic in topics), None)


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
    """Writes messages to a new mcap bag; used as a context. Raises BagError when the folder exists.

    topics: each with its type, one of `types`.
    """

    def __init__(self, folder: Path, topics: Sequence[tuple[str, str]]) -> None:
        self.types = types()
        self._check(topics)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(folder, version=VERSION, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f"no bag can be written to {folder}: {' '.join(str(error).split())}") from None
        self._connections: dict[str, Any] = {}
        for topic, kind in topics:
            self.offer(topic, kind)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def offer(self, topic: str, kind: str) -> None:
        """Take in one more topic, unless it is there already; raises BagError."""
        self._check([(topic, kind)])
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self.types)

    def _check(self, topics: Sequence[tuple[str, str]]) -> None:
        if unknown := [f"{topic} ({kind})" for topic, kind in topics if kind not in self.types.fielddefs]:
            raise BagError(f"{', '.join(unknown)}: a type of ROS 2's own packages is expected; try ros2 bag record")

    def write(self, topic: str, nanoseconds: int, raw: bytes | memoryview) -> None:
        """Write a message as it goes over the wire (CDR)."""
        self._writer.write(self._connections[topic], nanoseconds, raw)

    def add(self, topic: str, nanoseconds: int, message: Any) -> None:
        """Write a message of `types`."""
        self.write(topic, nanoseconds, self.types.serialize_cdr(message, self._connections[topic].msgtype))
