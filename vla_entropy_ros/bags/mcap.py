"""Messages of an mcap file, as far as it is whole.

Written here because of damaged and unfinished files: rosbags trusts the summary at the end, which a recording that was
cut off does not have, and the sizes that a file states, however large.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .errors import BagError
from .unpack import PIECE, unpack

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, STATISTICS, DATA_END = 1, 2, 3, 4, 5, 6, 11, 15
KNOWN, PRIVATE = range(HEADER, DATA_END + 1), 0x80  # kinds of records; from PRIVATE on anybody's
BEGIN = struct.Struct("<BQ")  # of a record: its kind, length of what follows
ABOUT_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, recorded, published
ABOUT_CHUNK = struct.Struct("<QQQI")  # recorded time of the first and last message, size unpacked, checksum
END = struct.Struct("<QQI")  # where the summary and its offsets begin, checksum of the summary
COUNTS = struct.Struct("<QHIIII")  # messages, schemas, channels, attachments, metadata, chunks
RUN = 2**22  # bytes of records outside of chunks that are read at once
HELD = 2**26  # bytes of messages that wait for earlier ones of later chunks
LATEST = 2**31 * 10**9  # nanoseconds: what a stamp can say


class Message(NamedTuple):
    """One message: when it was recorded [ns], its topic, its bytes on the wire."""

    recorded: int
    topic: str
    raw: bytes


@dataclass(frozen=True)
class Channel:
    """A topic as recorded."""

    topic: str
    kind: str
    encoding: str


@dataclass(frozen=True)
class Block:
    """Records that are read at once, a chunk or a run of records: where they lie, and how they are packed.

    begin: no message in it was recorded before that [ns]; unpacked: size [bytes]; checksum: 0 where there is none.
    """

    begin: int
    at: int
    size: int
    packing: str = ""
    unpacked: int = 0
    checksum: int = 0


class McapFile:
    """An open mcap file. Its records are found one by one from its beginning, the summary's topics among them.

    damage: what is wrong with it, None where nothing is; what comes before is read. Raises BagError.
    """

    def __init__(self, path: Path) -> None:
        self._name, self._size = path.name, path.stat().st_size
        self._file = path.open("rb")
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, Channel] = {}
        self._blocks: list[Block] = []
        self._run: Block | None = None
        self._chunks = 0
        self.damage: str | None = None
        try:
            self._survey()
        except BagError as error:
            self.damage = str(error)
        self._end_run()
        if self.damage is not None or not self._channels:
            self._look_into_blocks()

    @property
    def topics(self) -> dict[str, str]:
        """Types by topic."""
        return {channel.topic: channel.kind for channel in self._channels.values() if channel.encoding == "cdr"}

    @property
    def encodings(self) -> set[str]:
        """How messages are encoded."""
        return {channel.encoding for channel in self._channels.values()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Messages of `topics` as they were recorded; raises BagError where the file is damaged, after what is whole.

        Those of chunks that overlap in time are put in order, as long as few wait for it.
        """
        waiting: list[tuple[int, int, Message]] = []
        held = count = 0
        damage = self.damage
        for block in sorted(self._blocks, key=lambda block: block.begin):
            while waiting and (waiting[0][0] <= block.begin or held > HELD):
                message = heapq.heappop(waiting)[2]
                held -= len(message.raw)
                yield message
            try:
                for message in self._messages_of(block, topics):
                    heapq.heappush(waiting, (message.recorded, count, message))
                    held, count = held + len(message.raw), count + 1
            except BagError as error:
                damage = str(error)
                break
        while waiting:
            yield heapq.heappop(waiting)[2]
        if damage is not None:
            raise BagError(damage)

    def _messages_of(self, block: Block, topics: Collection[str]) -> Iterator[Message]:
        for kind, content in self._records(block):
            if kind != MESSAGE:
                self._learn(kind, content, block.at)
                continue
            number, _, recorded, _ = self._fields(ABOUT_MESSAGE, content, block.at)
            if (channel := self._channels.get(number)) is None:
                raise self._damaged(block.at, f"a message of channel {number}, which is not described")
            if not block.begin <= recorded < LATEST:
                raise self._damaged(block.at, f"a message recorded at {recorded * 1e-9:.3f} s, expected a later time")
            if channel.topic in topics:
                yield Message(recorded, channel.topic, bytes(content[ABOUT_MESSAGE.size :]))

    def _records(self, block: Block) -> Iterator[tuple[int, memoryview]]:
        """Kind and content of the records in a block, whose checksum is right."""
        try:
            data = unpack(self._read(block.at, block.size), block.packing, block.unpacked)
        except BagError as error:
            raise self._damaged(block.at, f"a chunk that {error}") from None
        if block.checksum and zlib.crc32(data) != block.checksum:
            raise self._damaged(block.at, "a chunk whose checksum is wrong")
        view, at = memoryview(data), 0
        while at < len(view):
            kind, length = self._fields(BEGIN, view[at:], block.at)
            at += BEGIN.size + length
            if at > len(view):
                raise self._damaged(block.at, f"a record of {length} bytes, which is longer than its chunk")
            yield kind, view[at - length : at]

    def _survey(self) -> None:
        """Find blocks and channels, record by record; raises BagError where one can't be."""
        if self._read(0, len(MAGIC)) != MAGIC:
            raise self._damaged(0, "not the beginning of an mcap file")
        at, summary = len(MAGIC), 0
        while True:
            if at == self._size:
                raise self._damaged(at, "nothing more, though the record that ends the file has not come: cut off?")
            kind, length = self._fields(BEGIN, self._read(at, BEGIN.size), at)
            inside, after = at + BEGIN.size, at + BEGIN.size + length
            if kind not in KNOWN and kind < PRIVATE:
                raise self._damaged(at, f"a record of kind {kind}, which there is not")
            if after > self._size:
                raise self._damaged(at, f"a record of {length} bytes, {self._size - inside} are left: cut off?")
            if kind == MESSAGE or (kind in (SCHEMA, CHANNEL) and not summary):
                self._add_to_run(kind, at, after)
            else:
                self._end_run()
            if kind == CHUNK:
                self._blocks.append(self._chunk(inside, after))
                self._chunks += 1
            elif kind in (SCHEMA, CHANNEL):
                self._learn(kind, memoryview(self._read(inside, length)), at)
            elif kind == DATA_END:
                summary = after
                self._check(0, at, struct.unpack("<I", self._read(inside, 4))[0], "everything before")
            elif kind == STATISTICS:
                self._compare(self._fields(COUNTS, self._read(inside, COUNTS.size), at)[-1], at)
            elif kind == FOOTER:
                start, _, checksum = self._fields(END, self._read(inside, END.size), at)
                self._check(start or at, inside + END.size - 4, checksum, "the summary")
                if self._read(after, len(MAGIC)) != MAGIC or after + len(MAGIC) != self._size:
                    raise self._damaged(after, "not the end of an mcap file")
                return
            at = after

    def _chunk(self, at: int, after: int) -> Block:
        """Where the records of the chunk between `at` and `after` lie."""
        begin, _, unpacked, checksum = self._fields(ABOUT_CHUNK, self._read(at, ABOUT_CHUNK.size), at)
        at += ABOUT_CHUNK.size
        packing, length = self._text(memoryview(self._read(at, min(after - at, 64))), at)
        at += length
        (size,) = struct.unpack("<Q", self._read(at, 8))
        if at + 8 + size != after:
            raise self._damaged(at, f"{size} bytes of a chunk that has {after - at - 8}")
        return Block(begin, at + 8, size, packing, unpacked, checksum)

    def _add_to_run(self, kind: int, at: int, after: int) -> None:
        """Read the record between `at` and `after` with those before, if it can be, else begin anew."""
        run = self._run
        if run is None or after - run.at > RUN:
            self._end_run()
            run = Block(LATEST, at, 0)
        begin = run.begin
        if kind == MESSAGE:
            about = self._read(at + BEGIN.size, min(after - at - BEGIN.size, ABOUT_MESSAGE.size))
            begin = min(begin, self._fields(ABOUT_MESSAGE, about, at)[2])
        self._run = Block(begin, run.at, after - run.at, unpacked=after - run.at)

    def _end_run(self) -> None:
        if self._run is not None:
            self._blocks.append(self._run)
        self._run = None

    def _learn(self, kind: int, content: memoryview, at: int) -> None:
        """Take in a schema or a channel; BagError where it contradicts what was there."""
        if kind not in (SCHEMA, CHANNEL):
            return
        (number,) = self._fields(struct.Struct("<H"), content, at)
        if kind == SCHEMA:
            self._schemas[number], _ = self._text(content[2:], at)
            return
        (schema,) = self._fields(struct.Struct("<H"), content[2:], at)
        topic, length = self._text(content[4:], at)
        encoding, _ = self._text(content[4 + length :], at)
        channel = Channel(topic, self._schemas.get(schema, ""), encoding)
        if self._channels.setdefault(number, channel) != channel:
            known = self._channels[number]
            said = f"'{channel.topic}' ({channel.kind}), expected '{known.topic}' ({known.kind})"
            raise self._damaged(at, f"channel {number} as {said}")

    def _look_into_blocks(self) -> None:
        """Find the channels where the summary does not tell them; what comes after damage is left out."""
        for number, block in enumerate(self._blocks):
            try:
                for kind, content in self._records(block):
                    self._learn(kind, content, block.at)
            except BagError as error:
                self.damage, self._blocks = str(error), self._blocks[:number]
                return

    def _check(self, begin: int, end: int, checksum: int, what: str) -> None:
        """Note damage unless `checksum`, if there is one, is that of the bytes from `begin` to `end`."""
        made = 0
        for at in range(begin, end, PIECE) if checksum else ():
            made = zlib.crc32(self._read(at, min(PIECE, end - at)), made)
        if checksum != made:
            self.damage = self.damage or str(self._damaged(end, f"a checksum that is not that of {what}"))

    def _compare(self, chunks: int, at: int) -> None:
        if chunks != self._chunks:
            raise self._damaged(at, f"a count of {chunks} chunks, {self._chunks} are there")

    def _read(self, at: int, size: int) -> bytes:
        """Read so many bytes; never asks for more than there are."""
        if at + size > self._size:
            raise self._damaged(at, f"{max(self._size - at, 0)} bytes, {size} are due: cut off?")
        self._file.seek(at)
        return self._file.read(size)

    def _text(self, content: memoryview, at: int) -> tuple[str, int]:
        """Text at the beginning of `content`, which lies at `at`, and how many bytes it takes."""
        (length,) = self._fields(struct.Struct("<I"), content, at)
        try:
            if length > len(content) - 4:
                raise ValueError(f"of {length} bytes, {len(content) - 4} are left")
            return bytes(content[4 : 4 + length]).decode(), 4 + length
        except ValueError as error:
            raise self._damaged(at, f"a text that can't be read: {error}") from None

    def _fields(self, form: struct.Struct, content: bytes | memoryview, at: int) -> tuple[int, ...]:
        """Numbers at the beginning of `content`."""
        if len(content) < form.size:
            raise self._damaged(at, f"{len(content)} bytes of a record, at least {form.size} are due")
        return form.unpack_from(content)

    def _damaged(self, at: int, what: str) -> BagError:
        return BagError(f"{self._name} is damaged at byte {at}: {what}")
