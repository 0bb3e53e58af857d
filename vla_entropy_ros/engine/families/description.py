"""What a checkpoint folder holds, told by its headers alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import CheckpointError
from ..files import folder_errors

Range = tuple[tuple[float, ...], tuple[float, ...]]  # least and greatest value of each column, in SI units


@dataclass
class Description:
    """A folder without its weights; refused: why it cannot be loaded, a line each, nothing where it can.

    family: None where none that is known has such folders. sizes: of its parts by name. memory: bytes that weights, K/V
    cache and a tick need, by number type. action_ranges: q01 and q99 of each data set, as far as they are ranges.
    remarks: a line each about what is left aside.
    """

    family: str | None
    sizes: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    action_names: tuple[str, ...] = ()
    action_ranges: dict[str, Range] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Go on where what is done inside is refused; the line is kept."""
        try:
            with folder_errors("a file of the folder"):
                yield
        except CheckpointError as error:
            self.refused.append(str(error))
