"""What is wrong with a bag."""

from __future__ import annotations


class BagError(ValueError):
    """A bag that can't be read or written; the message is one line."""
