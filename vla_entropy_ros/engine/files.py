"""Files of a checkpoint folder: found whole, of a sane size, and read so that nothing in them is ambiguous."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import CheckpointError, EngineError, incomplete

MB = 1_000_000
MOST_JSON = 2 * MB  # config.json of openvla-7b with the statistics of 27 data sets takes 0.2 MB
LISTED = 20  # names in one message; more would bury the cause
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"  # all weights, or which file has which
POINTER = b"version https://git-lfs"

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def find_file(path: Path, most: int | None = None) -> Path:
    """Return `path` where it is a file that was downloaded whole, of `most` bytes at most; raises CheckpointError."""
    name, folder = path.name, path.parent
    with folder_errors(path):
        if path.is_symlink() and not path.exists():
            raise incomplete(f"{name} in {folder} is a link to {path.readlink()}, which is not there", folder)
        if not path.exists():
            raise incomplete(f"{name} is missing in {folder}", folder)
        if not path.is_file():
            raise CheckpointError(f"{path} is no file: expected the {name} of a checkpoint")
        with path.open("rb") as opened:
            if opened.read(len(POINTER)) == POINTER:
                raise incomplete(f"{path} is a Git LFS pointer, not the file itself (git lfs pull brings it)", folder)
        size = path.stat().st_size
    if most is not None and size > most:
        raise CheckpointError(f"{path} has {size / MB:.0f} MB: at most {most / MB:.0f} MB are expected of a {name}")
    return path


def read_json(path: Path, most: int = MOST_JSON) -> dict[str, Any]:
    """The object in a JSON file of `most` bytes at most; raises CheckpointError that names the file.

    A key that stands twice in an object is refused: readers differ in which one they take.
    """
    with folder_errors(path):
        return parse_json(find_file(path, most).read_bytes(), path)


def parse_json(text: bytes, path: Path) -> dict[str, Any]:
    """As `read_json`, of what stands in `path`."""
    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise CheckpointError(f"{path} cannot be read: its values are nested too deeply") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content


def one_line(error: BaseException, most: int = 300) -> str:
    """What an error says, in one line of about `most` characters."""
    said = " ".join(str(error).split())
    return said if len(said) <= most else said[:most] + " ..."


@contextmanager
def library_errors(make: Callable[[str], EngineError]) -> Iterator[None]:
    """Raise `make` of one line for whatever a library raises inside; a panic of tokenizers is no Exception."""
    try:
        yield
    except (EngineError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is
        raise make(one_line(error) or type(error).__name__) from None


@contextmanager
def folder_errors(folder: Path | str) -> Iterator[None]:
    """Raise CheckpointError of one line where the system refuses, or a number or name is beyond all sense."""
    try:
        yield
    except (OSError, OverflowError, ValueError) as error:
        raise CheckpointError(f"{folder} cannot be read: {one_line(error)}") from None


def shown(value: Any, most: int = 60) -> str:
    """A value as it stands in a file, shortened to about `most` characters."""
    said = repr(value) if not isinstance(value, int) or abs(value) < 10**most else "a number of many digits"
    return said if len(said) <= most else said[:most] + "..."


def plain(name: object, most: int = 120) -> str:
    """A name from a file as it can be printed: quoted unless printable, shortened to about `most` characters."""
    said = name if isinstance(name, str) and name.isprintable() else repr(name)
    return said if len(said) <= most else said[:most] + "..."


def listed(names: Iterable[str]) -> str:
    """Names from a file in one line."""
    ordered = [plain(name) for name in sorted(names)]
    more = len(ordered) - LISTED
    return ", ".join(ordered[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {shown(twice)} stands twice in one object: leave one of them out")
    return content
