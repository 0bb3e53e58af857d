"""A bag read once: what its messages tell of a policy's run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rosbags.serde import SerdeError

from ..bag import types
from ..clocks import stamp_of
from ..errors import BagError
from ..mcap import Message
from ..storage import Storage
from .found import Topics
from .run import NUMBERS, WORDS

Values = Mapping[str, str]
Progress = Callable[[int], None]  # is told bytes as they are read
ABSURD = 1e12  # no number of a tick is as large


@dataclass(frozen=True)
class Facts:
    """A message of facts: when it was recorded [ns], the stamp in it [ns], its line and its values."""

    recorded: int
    stamp: int
    line: str
    values: Values

    def number(self, key: str) -> float | None:
        """A value that is a number, and a possible one; None where it is none."""
        try:
            value = float(self.values.get(key, ""))
        except ValueError:
            return None
        return value if abs(value) < ABSURD else None

    @property
    def numbers(self) -> dict[str, float]:
        """Those of NUMBERS that are numbers."""
        return {key: value for key in NUMBERS if (value := self.number(key)) is not None}

    @property
    def words(self) -> dict[str, str]:
        """Those of WORDS that are there."""
        return {key: text for key in WORDS if (text := self.values.get(key, "").strip())}


@dataclass(frozen=True)
class Status:
    """One task of /diagnostics: when it was recorded [ns], its name, level and line."""

    recorded: int
    name: str
    level: int
    line: str


@dataclass(frozen=True)
class Event:
    """Parameters of a node that were declared, set or removed [ns], as text."""

    recorded: int
    node: str
    new: Values
    changed: Values
    gone: tuple[str, ...]


@dataclass
class Material:
    """What was read, in the order it was recorded; times in nanoseconds.

    texts: by topic; numbers: by key, of topics of one number; images: when each was recorded, and its stamp, by topic;
    counts: messages by topic; damage: why the bag was not read to its end.
    """

    topics: Topics
    began: int | None = None
    ended: int = 0
    status: list[Facts] = field(default_factory=list)
    goal: list[Facts] = field(default_factory=list)
    diagnostics: list[Status] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    images: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    damage: str | None = None

    def since(self, recorded: int) -> float:
        """Seconds from when the bag began to a time [ns]."""
        return (recorded - (self.began or 0)) * 1e-9


def collect(storage: Storage, topics: Topics, progress: Progress) -> Material:
    """Read all that is told; of images the times alone. What is damaged is noted, and what comes before it kept."""
    material, kinds, store = Material(topics), storage.topics, types()
    pictures = set(topics.pictures)
    take = _takers(material)
    try:
        for message in storage.messages([*topics.told, *pictures]):
            progress(len(message.raw))
            _see(material, message)
            if message.topic in pictures:
                material.images[message.topic].append((message.recorded, stamp_of(message.raw)))
                continue
            try:
                content = store.deserialize_cdr(memoryview(message.raw), kinds[message.topic])
            except SerdeError:
                material.unread[message.topic] += 1
                continue
            take[message.topic](message.recorded, content)
    except BagError as error:
        material.damage = str(error)
    return material


def _see(material: Material, message: Message) -> None:
    material.began = message.recorded if material.began is None else min(material.began, message.recorded)
    material.ended = max(material.ended, message.recorded)
    material.counts[message.topic] += 1


def _takers(material: Material) -> dict[str, Callable[[int, Any], None]]:
    """What to do with a message, by topic."""
    topics = material.topics

    def text(name: str) -> Callable[[int, Any], None]:
        return lambda recorded, content: material.texts[name].append((recorded, str(content.data).strip()))

    def number(key: str) -> Callable[[int, Any], None]:
        return lambda recorded, content: _number(material, key, recorded, content.data)

    chosen: dict[str | None, Callable[[int, Any], None]] = {
        topics.status: lambda recorded, content: material.status.extend(_facts(recorded, content)),
        topics.goal: lambda recorded, content: material.goal.extend(_facts(recorded, content)),
        topics.diagnostics: lambda recorded, content: material.diagnostics.extend(_statuses(recorded, content)),
        topics.events: lambda recorded, content: material.events.append(_event(recorded, content)),
        **{name: text(name) for name in (topics.why, topics.state, topics.instruction) if name is not None},
        **{name: number(key) for key, name in topics.singles.items()},
    }
    return {name: take for name, take in chosen.items() if name is not None}


def _number(material: Material, key: str, recorded: int, value: float) -> None:
    if abs(value) < ABSURD:
        material.numbers[key].append((recorded, float(value)))


def _facts(recorded: int, content: Any) -> list[Facts]:
    stamp = content.header.stamp.sec * 10**9 + content.header.stamp.nanosec
    return [
        Facts(recorded, stamp, status.message.strip(), {pair.key: pair.value for pair in status.values})
        for status in content.status[:1]
    ]


def _statuses(recorded: int, content: Any) -> list[Status]:
    return [Status(recorded, one.name.lstrip("/"), int(one.level), one.message.strip()) for one in content.status]


def _event(recorded: int, content: Any) -> Event:
    return Event(
        recorded,
        "/" + content.node.strip("/"),
        {one.name: shown(one.value) for one in content.new_parameters},
        {one.name: shown(one.value) for one in content.changed_parameters},
        tuple(one.name for one in content.deleted_parameters),
    )


def shown(value: Any) -> str:
    """A parameter's value as text, as it would be written in a parameter file."""
    told = {
        1: lambda: "true" if value.bool_value else "false",
        2: lambda: str(value.integer_value),
        3: lambda: f"{value.double_value:g}",
        4: lambda: value.string_value or "''",
        5: lambda: _listed(value.byte_array_value),
        6: lambda: _listed(value.bool_array_value),
        7: lambda: _listed(value.integer_array_value),
        8: lambda: _listed(value.double_array_value),
        9: lambda: _listed(value.string_array_value),
    }
    return str(told.get(value.type, lambda: "not set")())


def _listed(values: Any) -> str:
    return f"[{', '.join(str(value) for value in values)}]"
