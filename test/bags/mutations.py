"""Bags with something broken, each read to its end: what is raised, how long it takes, and how much memory.

    python test/bags/mutations.py [COUNT [SEED]]

reads COUNT mutations of each kind of file and prints figures as JSON. It is a process of its own, as a test's process
has needed more memory before.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backports import zstd
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from vla_entropy_ros.bags.bag import VERSION, Bag, BagError, types
from vla_entropy_ros.bags.storage import Storage
from vla_entropy_ros.images import ImageError
from vla_entropy_ros.resources import share_path

SIZES = (0, 1, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63, 2**64 - 1)
CHUNK, SUMMED = 6, 9 + 24  # kind of the record; where its checksum lies


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def lengthen(data: bytearray, rng: random.Random) -> None:
    """A length that is none of this file's, in 4 or 8 bytes, at the beginning of a record as likely as elsewhere."""
    form = rng.choice("IQ")
    size = struct.pack("<" + form, rng.choice(SIZES) % 2 ** (32 if form == "I" else 64))
    starts = [at for at, *_ in records(bytes(data))] if data[:5] == b"\x89MCAP" else []
    at = rng.choice(starts) + rng.choice((1, 9, 9 + 16)) if starts and rng.random() < 0.5 else rng.randrange(len(data))
    data[at : at + len(size)] = size


def clear(data: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(data))
    end = min(len(data), begin + rng.choice((1, 8, 64, 4096)))
    data[begin:end] = bytes(end - begin)


def drop(data: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(data))
    del data[begin : begin + rng.choice((1, 9, 200, 5000))]


def repeat(data: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(data))
    data[begin:begin] = data[begin : begin + rng.choice((1, 9, 200, 5000))]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, cut, lengthen, clear, drop, repeat)


def records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each record of an mcap file begins, its kind, and the length of what it has."""
    at = 8
    while at + 9 <= len(data):
        kind, length = struct.unpack_from("<BQ", data, at)
        yield at, kind, length
        at += 9 + length


def with_checksums(path: Path) -> bytes:
    """An mcap file whose chunks, packed by zstd, have checksums, which rosbags does not write."""
    data = bytearray(path.read_bytes())
    for at, kind, _ in records(bytes(data)):
        if kind == CHUNK:
            (name,) = struct.unpack_from("<I", data, at + 37)
            (size,) = struct.unpack_from("<Q", data, at + 41 + name)
            begin = at + 49 + name
            struct.pack_into("<I", data, at + SUMMED, zlib.crc32(zstd.decompress(bytes(data[begin : begin + size]))))
    return bytes(data)


def rewritten(
    folder: Path, mode: CompressionMode = CompressionMode.NONE, plugin: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """The shipped bag in another form: packed by zstd in chunks, messages or files; in sqlite3."""
    source, store = Storage(share_path("bags/pick_red")), types()
    writer = Writer(folder, version=VERSION, storage_plugin=plugin)
    if mode is not CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        to = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in source.topics.items()}
        for message in source.messages(source.topics):
            writer.write(to[message.topic], message.recorded, message.raw)
    source.close()
    return folder


def read(folder: Path) -> list[tuple[int, bytes]]:
    """All that is in a bag: when images were recorded, and their bytes. Raises BagError."""
    made = []
    with Bag(folder) as bag:
        assert bag.instruction is None or bag.instruction
        for frame in bag.frames():
            made.append((frame.recorded, frame.raw))
            frame.state()
            try:
                frame.pixels()
            except ImageError:
                continue
    return made


def peak() -> int:
    """Largest memory of this process since the last call [bytes]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (most,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return most


def try_all(folder: Path, name: str, count: int, seed: int, whole: bytes, whole_raw: set[Any]) -> dict[str, Any]:
    """Read `count` mutations of the file `name` in `folder`; figures."""
    rng, outcomes, failures = random.Random(seed), Counter[str](), []
    slowest, largest, foreign = 0.0, 0, 0
    for number in range(count):
        data = bytearray(whole)
        how = rng.choice(MUTATIONS)
        how(data, rng)
        (folder / name).write_bytes(data)
        peak()
        before, began = peak(), time.monotonic()
        try:
            made = read(folder)
            outcomes["read to the end"] += 1
            foreign += bool(set(made) - whole_raw)
        except BagError as error:
            outcomes["one line" if "\n" not in str(error) else "several lines"] += 1
        except Exception:  # noqa: BLE001  # that is what is looked for
            failures.append(f"{number} {how.__name__}: {traceback.format_exc()}")
        slowest, largest = max(slowest, time.monotonic() - began), max(largest, peak() - before)
    (folder / name).write_bytes(whole)
    return {
        "outcomes": dict(outcomes), "tracebacks": failures, "other images": foreign,
        "slowest [s]": round(slowest, 3), "most memory [MB]": round(largest / 1e6, 1),
    }  # fmt: skip


def main(count: int = 60, seed: int = 14) -> None:
    with tempfile.TemporaryDirectory() as place:
        plain, packed = Path(place, "plain"), rewritten(Path(place, "packed"), CompressionMode.STORAGE)
        table = rewritten(Path(place, "table"), plugin=StoragePlugin.SQLITE3)
        file = rewritten(Path(place, "file"), CompressionMode.FILE)
        message = rewritten(Path(place, "message"), CompressionMode.MESSAGE)
        shutil.copytree(share_path("bags/pick_red"), plain)
        (packed / "packed.mcap").write_bytes(with_checksums(packed / "packed.mcap"))
        raw = set(read(plain))
        assert all(raw == set(read(folder)) != set() for folder in (packed, table, file, message))
        figures = {
            f"{folder.name} {name}": try_all(folder, name, count, seed, (folder / name).read_bytes(), raw)
            for folder, name in (
                (plain, "pick_red.mcap"),
                (packed, "packed.mcap"),
                (plain, "metadata.yaml"),
                (table, "table.db3"),
                (file, "file.mcap.zstd"),
                (message, "message.mcap"),
            )
        }
    sys.stdout.write(f"{json.dumps(figures, indent=2)}\n")


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:]))
