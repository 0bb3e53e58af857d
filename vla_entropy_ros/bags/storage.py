"""The files of a bag, as people have it: a folder with metadata.yaml or without, a file alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import yaml

from .errors import BagError
from .mcap import MAGIC, McapFile, Message
from .sqlite import SqliteFile
from .unpack import ZSTD_MAGIC, unpack, unpack_file

SQLITE_MAGIC, ROS1_MAGIC = b"SQLite format 3\0", b"#ROSBAG V"
METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd", ".bag")
EXPECTED = "a bag is an .mcap or .db3 file, or a folder with one"
MOST_METADATA, DEEPEST = 2**22, 32  # bytes, levels


class File(Protocol):
    """One open file of a bag; `damage`, where it is known already, comes after the messages."""

    damage: str | None

    @property
    def topics(self) -> dict[str, str]: ...  # noqa: D102  # as in McapFile

    @property
    def encodings(self) -> set[str]: ...  # noqa: D102

    def messages(self, topics: Collection[str]) -> Iterator[Message]: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class Storage:
    """All files of a bag, one after the other; raises BagError."""

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self._files: list[File] = []
        self._damage: str | None = None  # of a file after the first
        try:
            for number, file in enumerate(files_of(path)):
                try:
                    self._files.append(self._open(file, file))
                except BagError as error:
                    if number == 0:
                        raise
                    self._damage = str(error)
                    break
            self._check_encodings(path)
        except OSError as error:
            self.close()
            raise BagError(f"{path} can't be read: {error.strerror or error}") from None
        except BagError:
            self.close()
            raise

    @property
    def topics(self) -> dict[str, str]:
        """Types by topic."""
        return {topic: kind for file in reversed(self._files) for topic, kind in file.topics.items()}

    @property
    def damage(self) -> str | None:
        """What is known to be wrong, before anything is read; None where nothing is."""
        return next((file.damage for file in self._files if file.damage is not None), self._damage)

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Messages of `topics` in the order they were recorded; raises BagError after what is whole.

        What is not read to the end ends with `close`, before the files are closed.
        """
        return self._stack.enter_context(closing(self._read(topics)))

    def _read(self, topics: Collection[str]) -> Generator[Message, None, None]:
        try:
            for file in self._files:
                for message in file.messages(topics):
                    yield message._replace(raw=_unpacked(message)) if message.raw[:4] == ZSTD_MAGIC else message
        except OSError as error:
            raise BagError(f"the bag can't be read on: {error.strerror or error}") from None
        if self._damage is not None:
            raise BagError(self._damage)

    def _open(self, path: Path, named: Path) -> File:
        """Open a file by what it begins with; named: what to call it."""
        with path.open("rb") as file:
            begin = file.read(len(SQLITE_MAGIC))
        if begin.startswith(MAGIC):
            return self._kept(McapFile(path))
        if begin.startswith(SQLITE_MAGIC):
            return self._kept(SqliteFile(path))
        if begin.startswith(ZSTD_MAGIC) and path == named:
            folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="vla_entropy_bag_")))
            unpacked = folder / path.name.removesuffix(".zstd")
            damage = unpack_file(path, unpacked)
            opened = self._open(unpacked, named)
            opened.damage = damage or opened.damage
            return opened
        if begin.startswith(ROS1_MAGIC):
            raise BagError(
                f"{named.name} is a bag of ROS 1: convert it (rosbags-convert --src {named.name} --dst folder "
                "--src-typestore ros1_noetic --dst-typestore ros2_jazzy), then give the folder"
            )
        said = f"begins with {begin[:8].hex(' ')}" if begin else "is empty: was the recording cut off?"
        raise BagError(f"{named} is no bag: {named.name} {said}; {EXPECTED}")

    def _kept(self, file: File) -> File:
        self._stack.callback(file.close)
        return file

    def _check_encodings(self, path: Path) -> None:
        encodings = {encoding for file in self._files for encoding in file.encodings}
        if encodings and not self.topics:
            said = ", ".join(repr(encoding) for encoding in sorted(encodings))
            raise BagError(f"{path} has messages encoded as {said}, expected cdr: convert it to a bag of ROS 2")


def _unpacked(message: Message) -> bytes:
    """The bytes of a message that was packed on its own."""
    try:
        return unpack(message.raw, "zstd")
    except BagError as error:
        raise BagError(f"a message of {message.topic}, recorded at {message.recorded * 1e-9:.3f} s, {error}") from None


def files_of(path: Path) -> list[Path]:
    """Files of the bag at `path` in the order they were recorded; raises BagError."""
    if path.name == METADATA:
        path = path.parent
    if path.is_file():
        return [path]
    if (path / METADATA).is_file():
        return _listed(path)
    there = path.iterdir() if path.is_dir() else ()
    found = [file for file in there if file.name.endswith(SUFFIXES) and file.is_file()]
    found.sort(key=lambda file: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)])
    if not found:
        raise BagError(f"no bag at {path}: {EXPECTED}")
    if len({re.sub(r"_\d+$", "", file.name.partition(".")[0]) for file in found}) > 1:
        names = ", ".join(file.name for file in found)
        raise BagError(f"several bags at {path}, without {METADATA}: name one of {names}")
    return found


def _listed(folder: Path) -> list[Path]:
    """The files that the metadata of `folder` lists."""
    said = f"{folder} is no bag: {METADATA}"
    mend = f"mend it, or remove it to have the files in {folder.name} read without it"
    try:
        names = _read_metadata(folder / METADATA)["rosbag2_bagfile_information"]["relative_file_paths"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise BagError(f"its relative_file_paths are {str(names)[:80]!r}, expected names of files")
    except KeyError as error:
        raise BagError(f"{said} lacks {error}; {mend}") from None
    except (BagError, yaml.YAMLError, TypeError, ValueError) as error:  # ValueError: a date that there is not, ...
        raise BagError(f"{said} can't be read: {' '.join(str(error).split())[:200]}; {mend}") from None
    files = [folder / PurePath(name).name for name in dict.fromkeys(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        there = f"{len(files) - len(missing)} of {len(files)} files are there"
        raise BagError(
            f"{folder} lacks {', '.join(missing)}, which {METADATA} lists ({there}): put them there, or {mend}"
        )
    return files


def _read_metadata(path: Path) -> Any:
    """What a metadata file says; raises YAMLError, BagError."""
    if path.stat().st_size > MOST_METADATA:
        raise BagError(f"it has {path.stat().st_size} bytes, at most {MOST_METADATA} are accepted")
    text, depth = path.read_text(encoding="utf-8"), 0
    for event in yaml.parse(text, yaml.CBaseLoader):  # the loader recurses in C, and a merge may double and double
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise BagError(f"it nests deeper than {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent):
            raise BagError("it has an alias (*...), expected none")
    return yaml.load(text, yaml.CBaseLoader)  # all of it text: nothing is made numbers or dates of
