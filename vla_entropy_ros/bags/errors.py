"""What is wrong with a bag."""

from __future__ import annotations

from ..engine.errors import printable


class BagError(ValueError):
    """A bag that can't be read or written; the message is one line, names from a file are made printable in it."""

    def __init__(self, said: str) -> None:
        super().__init__(printable(said))
