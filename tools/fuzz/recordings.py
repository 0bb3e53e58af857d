"""Spoils a bag's mcap file and its metadata, and looks at what is read of it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from vla_entropy_ros.bags.bag import Bag
from vla_entropy_ros.images import ImageError

from .raw import spoil_raw
from .subjects import CHUNK, CHUNK_CRC, records
from .trees import Known, dump, spoil_tree

MCAP, METADATA = "pick_red.mcap", "metadata.yaml"
INSIDE = "inside the chunk, whose checksum fits: "
SIZES = (0, 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)
START_OF_FRAME = b"\xff\xc0\x00\x11\x08"  # of a JPEG; height and width follow
KNOWN: Known = {
    "rosbag2_bagfile_information": {
        "version": [0, 1, 5, 10, "9", None, 2**40],
        "storage_identifier": ["sqlite3", "", "mcap ", None, 5, "../x"],
        "compression_format": ["zstd", "lz4", "evil", None],
        "compression_mode": ["file", "FILE", "message", "MESSAGE", "nonsense", None],
        "relative_file_paths": [[], ["../pick_red.mcap"], ["/etc/passwd"], ["/dev/zero"], ["metadata.yaml"],
            ["pick_red.mcap"] * 3, [5], "pick_red.mcap", [""], ["."], None],
        "files": [[], None, [{}], 5],
        "message_count": [0, -1, 2**63, "x", None],
        "duration": [{}, {"nanoseconds": -1}, None],
        "starting_time": [{}, {"nanoseconds_since_epoch": 2**70}, {"nanoseconds_since_epoch": "x"}],
        "topics_with_message_count": [[], None, [{}], [{"topic_metadata": {}}], 5],
        "ros_distro": ["jazzy", 5, None],
        "custom_data": [{"x": 1}, [], None],
    }
}  # fmt: skip


@dataclass(frozen=True)
class Read:
    """What was read of a bag: when each image was recorded [ns] and the checksum of its message; its instruction."""

    images: tuple[tuple[int, int], ...]
    refused: int
    instruction: str | None

    def same(self, other: Read) -> bool:
        """Whether both hold the same."""
        return self == other


def look(folder: Path) -> Read:
    """Read all images of the bag in the folder."""
    images, refused = [], 0
    with Bag(folder) as bag:
        for frame in bag.frames():
            images.append((frame.recorded, zlib.crc32(frame.raw)))
            frame.state(())
            try:
                frame.pixels()
            except ImageError:
                refused += 1
        return Read(tuple(images), refused, bag.instruction)


def judge(folder: Path, read: Read, reference: Read, said: str) -> Iterator[str]:
    """Yield what is wrong with a bag that was taken; reference: the bag before it was spoiled."""
    if INSIDE not in said and read.images != reference.images:
        yield f"other images are read: {len(read.images)} instead of {len(reference.images)}"


def spoil_metadata(folder: Path, random: Random) -> str:
    """Spoil metadata.yaml."""
    file = folder / METADATA
    if (said := spoil_raw(file, random, 0.1, 0.35)) is not None:
        return said
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    said = spoil_tree(tree, random, KNOWN)
    file.write_text(dump(tree), encoding="utf-8", errors="surrogatepass")
    return f"{METADATA}: {said}"


def spoil_mcap(folder: Path, random: Random) -> str:
    """Spoil the mcap file: bytes, records, or what lies in its chunk."""
    file = folder / MCAP
    if (said := spoil_raw(file, random, 0.08, 0.35)) is not None:
        return said
    content = bytearray(file.read_bytes())
    said = random.choice(RECORDS)(content, random)
    file.write_bytes(content)
    return f"{MCAP}: {said}"


def _length(content: bytearray, random: Random) -> str:
    place, opcode, size = random.choice(records(content))
    struct.pack_into("<Q", content, place - 8, new := random.choice((*SIZES, size + 1, size - 1)))
    return f"record {opcode} at {place - 9} is {new} bytes long, not {size}"


def _opcode(content: bytearray, random: Random) -> str:
    place, opcode, _ = random.choice(records(content))
    content[place - 9] = new = random.randrange(256) if random.random() < 0.3 else random.randrange(17)
    return f"record {opcode} at {place - 9} is a {new}"


def _field(content: bytearray, random: Random) -> str:
    """Overwrite what may be a number: counts, offsets and lengths lie at the beginning of most records."""
    place, opcode, size = random.choice(records(content))
    kind = random.choice(("<Q", "<I", "<H"))
    where = random.randrange(min(64, max(1, size - struct.calcsize(kind) + 1)))
    value = random.choice(SIZES) % 2 ** (8 * struct.calcsize(kind))
    struct.pack_into(kind, content, place + where, value)
    return f"record {opcode} at {place - 9} has {value} at {where}"


def _chunk(content: bytearray, random: Random) -> str:
    """Change a field of the chunk: times, size, checksum, compression."""
    place = next(place for place, opcode, _ in records(content) if opcode == CHUNK)
    name, where, kind = random.choice((("start", 0, "<Q"), ("end", 8, "<Q"), ("size", 16, "<Q"), ("size", 16, "<Q"),
        ("checksum", CHUNK_CRC, "<I"),
                                       ("length of the compression's name", CHUNK_CRC + 4, "<I"),
                                           ("length of the records", CHUNK_CRC + 8, "<Q")))  # fmt: skip
    value = random.choice(SIZES) % 2 ** (8 * struct.calcsize(kind))
    struct.pack_into(kind, content, place + where, value)
    return f"the chunk's {name} is {value}"


def _compression(content: bytearray, random: Random) -> str:
    """Give the chunk another compression, of whose data it holds none or a bomb."""
    place, _, size = next(one for one in records(content) if one[1] == CHUNK)
    name = random.choice((b"zstd", b"lz4", b"nonsense", b"x" * 1000))
    data = bytes(content[place + CHUNK_CRC + 16 : place + size])
    said = "and is not"
    if name == b"zstd" and random.random() < 0.7:
        data, said = _bomb(), "of 4 GB of zeros"
    body = (
        bytes(content[place : place + CHUNK_CRC + 4])
        + struct.pack("<I", len(name))
        + name
        + struct.pack("<Q", len(data))
        + data
    )
    content[place - 8 : place + size] = struct.pack("<Q", len(body)) + body
    return f"the chunk is called {name[:9]!r} {said}"


def _bomb() -> bytes:
    """A zstd frame of runs of zeros: 3 bytes for each 128 kB of 4 GB."""
    blocks = 32768
    header = b"\x28\xb5\x2f\xfd\xc0" + b"\x58" + struct.pack("<Q", blocks << 17)
    one = (1 << 1) | ((1 << 17) << 3)  # a run of 128 kB
    run = one.to_bytes(3, "little") + b"\x00"
    return header + run * (blocks - 1) + (one | 1).to_bytes(3, "little") + b"\x00"


def _record(content: bytearray, random: Random) -> str:
    place, opcode, size = random.choice(records(content))
    record = content[place - 9 : place + size]
    kind = random.randrange(3)
    if kind == 0:
        del content[place - 9 : place + size]
        return f"record {opcode} at {place - 9} is gone"
    if kind == 1:
        content[place - 9 : place - 9] = record
        return f"record {opcode} at {place - 9} is there twice"
    content[-8:-8] = record
    return f"record {opcode} at {place - 9} follows the footer, too"


def _inside(content: bytearray, random: Random) -> str:
    """Change the records in the chunk and let its checksum fit."""
    place, _, size = next(one for one in records(content) if one[1] == CHUNK)
    begin = place + CHUNK_CRC + 16
    inner = bytearray(8) + content[begin : place + size] + bytearray(8)
    choices: tuple[Callable[[bytearray, Random], str], ...] = (
        _length,
        _opcode,
        _field,
        _field,
        _giant,
        _flipped,
        _text,
    )
    said = random.choice(choices)(inner, random)
    content[begin : place + size] = inner[8 : 8 + place + size - begin]
    struct.pack_into("<I", content, place + CHUNK_CRC, zlib.crc32(content[begin : place + size]))
    return INSIDE + said


def _giant(content: bytearray, random: Random) -> str:
    """Let an image claim a size that takes gigabytes."""
    place = content.find(START_OF_FRAME, random.randrange(len(content) // 2))
    side = random.choice((65500, 30000, 20000, 0, 1))
    struct.pack_into(">HH", content, place + len(START_OF_FRAME), side, side)
    return f"an image is {side} x {side}"


def _flipped(content: bytearray, random: Random) -> str:
    place = random.randrange(8, len(content) - 8)
    content[place] ^= 1 << random.randrange(8)
    return f"a bit is flipped at {place}"


def _text(content: bytearray, random: Random) -> str:
    """Change a word that tells what a message is."""
    word = random.choice(
        (b"CompressedImage", b"jpeg", b"sensor_msgs/msg", b"cdr", b"/instruction", b"pick", b"ros2msg")
    )
    place = content.find(word)
    if place >= 0:
        content[place : place + len(word)] = random.choice(
            (b"\xff" * len(word), word[::-1], b"\x00" * len(word), word.swapcase())
        )
    return f"{word!r} at {place} is another word"


RECORDS: tuple[Callable[[bytearray, Random], str], ...] = (
    _length, _opcode, _field, _field, _chunk, _chunk, _compression, _record, _inside, _inside, _inside,
)  # fmt: skip
