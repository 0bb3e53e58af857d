"""Spoils a file as bytes, or what it is in the file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

SPARSE = 8 * 2**30  # bytes that a file claims to have, without taking them


def spoil_bytes(file: Path, random: Random) -> str:
    """Change bytes of `file` and say which."""
    content = bytearray(file.read_bytes())
    text = random.choice(CHANGES)(content, random)
    file.write_bytes(content)
    return text


def spoil_raw(file: Path, random: Random, places: float, both: float) -> str | None:
    """Spoil a file without regard to what it holds: its place up to that share of draws, its bytes up to `both`."""
    draw = random.random()
    if draw < places:
        return f"{file.name}: {spoil_file(file, random)}"
    return f"{file.name}: {spoil_bytes(file, random)}" if draw < both else None


def spoil_file(file: Path, random: Random) -> str:
    """Put something else in the place of `file`, and say what."""
    return random.choice(PLACES)(file)


def _flip(content: bytearray, random: Random) -> str:
    places = [random.randrange(len(content)) for _ in range(random.choice((1, 1, 2, 8)))]
    bit = random.randrange(8)
    for place in places:
        content[place] ^= 1 << bit
    return f"bit {bit} flipped at {', '.join(map(str, places))}"


def _overwrite(content: bytearray, random: Random) -> str:
    place, size = random.randrange(len(content)), random.choice((1, 2, 4, 8))
    filling = random.choice((b"\x00", b"\xff", b"\x7f", b"\x80", b'"', b"\n"))
    content[place : place + size] = filling * size
    return f"{size} bytes at {place} are {filling!r}"


def _truncate(content: bytearray, random: Random) -> str:
    left = random.choice(
        (0, 1, 7, 8, 9, random.randrange(len(content)), random.randrange(len(content)), len(content) - 1)
    )
    del content[left:]
    return f"truncated to {left} bytes"


def _cut(content: bytearray, random: Random) -> str:
    begin = random.randrange(len(content))
    size = random.choice((1, 2, 8, 100, 1000))
    del content[begin : begin + size]
    return f"{size} bytes are missing at {begin}"


def _insert(content: bytearray, random: Random) -> str:
    place = random.choice((0, random.randrange(len(content)), len(content)))
    filling = random.choice(
        (b"\xef\xbb\xbf", b"\xff\xfe", b"\x00" * 8, random.randbytes(9), b"{}", b"\n---\n", b"x" * 10_000)
    )
    content[place:place] = filling
    return f"{len(filling)} bytes {filling[:9]!r} inserted at {place}"


def _repeat(content: bytearray, random: Random) -> str:
    begin = random.randrange(len(content))
    part = content[begin : begin + random.choice((16, 256, 4096))]
    content[begin:begin] = part
    return f"{len(part)} bytes at {begin} are there twice"


def _utf16(content: bytearray, random: Random) -> str:
    content[:] = bytes(content).decode("latin-1").encode("utf-16")
    return "written as UTF-16"


CHANGES: tuple[Callable[[bytearray, Random], str], ...] = (
    _flip, _flip, _flip, _overwrite, _overwrite, _truncate, _truncate, _cut, _insert, _repeat, _utf16,
)  # fmt: skip


def _gone(file: Path) -> str:
    file.unlink()
    return "the file is gone"


def _folder(file: Path) -> str:
    file.unlink()
    file.mkdir()
    return "a folder"


def _link(file: Path, to: str, said: str) -> str:
    file.unlink()
    file.symlink_to(to or file.name)
    return f"a link to {said}"


LINKS = tuple(
    partial(_link, to=to, said=said)
    for to, said in (("../../blobs/0123456789abcdef", "nothing"), ("", "itself"), ("/dev/zero", "/dev/zero"))
)


def _pipe(file: Path) -> str:
    file.unlink()
    os.mkfifo(file)
    return "a named pipe that nobody writes to"


def _sparse(file: Path) -> str:
    os.truncate(file, SPARSE)
    return f"{SPARSE} bytes long, zeros behind its content"


PLACES: tuple[Callable[[Path], str], ...] = (_gone, _folder, *LINKS, _pipe, _sparse)
