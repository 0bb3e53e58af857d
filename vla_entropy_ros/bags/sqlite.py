"""Messages of an sqlite3 file of rosbag2 (.db3), of any version of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from .errors import BagError
from .mcap import LATEST, Message

MOST_TOPICS = 65536


class SqliteFile:
    """An open sqlite3 file. Raises BagError, its messages after what could be read."""

    damage: str | None = None  # it is found while reading

    def __init__(self, path: Path) -> None:
        self._name = path.name
        # what a recorder that was cut off left beside the file belongs to it; else the file is not touched
        unfinished = path.with_name(f"{path.name}-wal").exists()
        try:
            self._base = sqlite3.connect(
                f"{path.resolve().as_uri()}?{'mode=ro' if unfinished else 'immutable=1'}", uri=True
            )
            query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('topics', 'messages')"
            if self._base.execute(query).fetchone() != (2,):  # in place of a table, a view may be endless
                raise BagError(f"{path.name} is damaged, or no bag: expected tables topics and messages")
            query = f"SELECT id, name, type, serialization_format FROM topics LIMIT {MOST_TOPICS}"
            self._topics: list[tuple[int, str, str, str]] = self._base.execute(query).fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            raise BagError(f"{path.name} is damaged, or no bag: {error}") from None

    @property
    def topics(self) -> dict[str, str]:
        """Types by topic."""
        return {str(topic): str(kind) for _, topic, kind, encoding in self._topics if encoding == "cdr"}

    @property
    def encodings(self) -> set[str]:
        """How messages are encoded."""
        return {str(encoding) for *_, encoding in self._topics}

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Messages of `topics` as they were recorded."""
        chosen = {number: str(topic) for number, topic, *_ in self._topics if topic in topics}
        marks = ", ".join("?" * len(chosen))
        query = f"SELECT timestamp, topic_id, data FROM messages WHERE topic_id IN ({marks}) ORDER BY timestamp"
        try:
            with closing(self._base.execute(query, tuple(chosen))) as rows:
                for recorded, number, raw in rows:
                    if not isinstance(recorded, int) or not isinstance(raw, bytes) or not 0 <= recorded < LATEST:
                        raise BagError(f"{self._name} is damaged: a message of {chosen[number]} without data or time")
                    yield Message(recorded, chosen[number], raw)
        except (sqlite3.Error, UnicodeError) as error:
            raise BagError(f"{self._name} is damaged: {error}") from None
