"""Packed bytes to bytes, never to more than what is due: a few bytes can unpack to any number."""

from __future__ import annotations

from pathlib import Path

from backports import zstd
from lz4.frame import LZ4FrameDecompressor

from .errors import BagError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PACKINGS = ("", "lz4", "zstd")
LEAST, RATIO = 2**25, 16  # a chunk may unpack to so many bytes, or to so many times its own: a black image packs well
FILE_LEAST, FILE_RATIO = 2**28, 100  # likewise a whole file
FRAMES = 16  # of one chunk: writers make one
PIECE = 2**20  # bytes


def unpack(data: bytes, packing: str, size: int | None = None) -> bytes:
    """Bytes that `data` was packed from by one of PACKINGS; size: how many there must be, None for any due number.

    Raises BagError, whose message goes on after what is wrong with which file.
    """
    if packing not in PACKINGS:
        raise BagError(f"is packed by '{packing}': valid are none, {', '.join(PACKINGS[1:])}")
    limit = max(LEAST, RATIO * len(data))
    if size is not None and size > limit and packing:
        raise BagError(f"is said to unpack from {len(data)} bytes to {size}, at most {limit} are accepted")
    made = _frames(data, packing, limit if size is None else size) if packing else data
    if size is not None and len(made) != size:
        raise BagError(f"unpacks to {len(made)} bytes or more, {size} are due")
    return made


def _frames(data: bytes, packing: str, limit: int) -> bytes:
    """Unpack the frames of `data`, one byte more than `limit` at most."""
    made, left = b"", data
    for _ in range(FRAMES):
        unpacker = zstd.ZstdDecompressor() if packing == "zstd" else LZ4FrameDecompressor()
        try:
            made += unpacker.decompress(left, max_length=limit + 1 - len(made))
            while not unpacker.eof and not unpacker.needs_input and len(made) <= limit:
                made += unpacker.decompress(b"", max_length=limit + 1 - len(made))
        except (zstd.ZstdError, RuntimeError, EOFError) as error:  # lz4 raises RuntimeError
            raise BagError(f"can't be unpacked ({packing}): {' '.join(str(error).split())}") from None
        if len(made) > limit:
            raise BagError(f"unpacks to more than {limit} bytes")
        if not unpacker.eof:
            raise BagError(f"can't be unpacked ({packing}): its end is missing")
        left = unpacker.unused_data or b""
        if not left:
            return made
    raise BagError(f"has more than {FRAMES} frames of {packing}")


def unpack_file(packed: Path, target: Path) -> str | None:
    """Unpack a file (zstd) to `target`; returns what is wrong with it, None where nothing is.

    What comes before the damage is in `target` then. Raises BagError where it unpacks to more than is due.
    """
    limit = max(FILE_LEAST, FILE_RATIO * packed.stat().st_size)
    try:
        with zstd.open(packed, "rb") as source, target.open("wb") as sink:
            while piece := source.read(PIECE):
                sink.write(piece)
                if sink.tell() > limit:
                    raise BagError(f"{packed.name} unpacks to more than {limit} bytes: unpack it yourself (zstd -d)")
    except (zstd.ZstdError, EOFError) as error:
        return f"{packed.name} is damaged: {' '.join(str(error).split())}"
    return None
