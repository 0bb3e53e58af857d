"""What the nodes say about themselves, and how soon it names a cause."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

KEPT = 4000  # words: minutes


@dataclass(frozen=True)
class Word:
    """One line: when it was heard, on the monotonic clock [s], who said it, and what; "" when all is well."""

    heard: float
    speaker: str
    line: str


class Words:
    """Remembers what `~/state` and the diagnostics said."""

    def __init__(self) -> None:
        self._words: deque[Word] = deque(maxlen=KEPT)

    def add(self, heard: float, speaker: str, line: str) -> None:
        """Note what was heard at `heard` [s]."""
        self._words.append(Word(heard, speaker, line))

    def naming(self, cause: str, since: float) -> float | None:
        """When the pattern `cause` was first heard after `since` [s, monotonic]; None if it never was.

        A speaker that named it already right before does not count.
        """
        words = tuple(self._words)
        before = {word.speaker: word.line for word in words if word.heard < since}
        guilty = {speaker for speaker, line in before.items() if re.search(cause, line)}
        named = (w.heard for w in words if w.heard >= since and w.speaker not in guilty and re.search(cause, w.line))
        return next(named, None)

    def spoke(self, speaker: str, since: float) -> float | None:
        """When a speaker first said something after `since` [s]; None if it did not."""
        return next(
            (word.heard for word in tuple(self._words) if word.speaker == speaker and word.heard >= since), None
        )

    def said(self, speaker: str, since: float) -> list[str]:
        """Lines of a speaker after `since` [s], and before them the one that held until then."""
        lines = [word for word in tuple(self._words) if word.speaker == speaker]
        earlier = [word.line for word in lines if word.heard < since][-1:]
        return earlier + [word.line for word in lines if word.heard >= since]

    def told(self, since: float) -> str:
        """Everything that was said after `since` [s], each line once."""
        lines = dict.fromkeys(f"{w.speaker}: {w.line}" for w in tuple(self._words) if w.heard >= since and w.line)
        return "; ".join(lines) or "nothing"
