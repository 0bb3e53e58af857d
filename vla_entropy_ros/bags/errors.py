"""What is wrong with a bag."""

from __future__ import annotations


class BagError(ValueError):
    """A bag that can't be read or written; the message is one line, names from a file are made printable in it."""

    def __init__(self, said: str) -> None:
        super().__init__("".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in said))
