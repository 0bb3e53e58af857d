"""Guesses of the next action tokens, so that one decoder pass can verify several of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]

PREVIOUS, EXTRAPOLATED, GUESSED = "previous", "extrapolated", "guessed"
SOURCES = (PREVIOUS, EXTRAPOLATED, GUESSED)
START = {PREVIOUS: 0.5, EXTRAPOLATED: 0.4, GUESSED: 0.6}  # guesses see the most, extrapolation is the boldest
MEMORY = 0.9  # of the acceptance rates, per tick: about ten ticks count
NONE = -1  # no draft of this source at this position


@dataclass(frozen=True)
class Draft:
    """Guesses of token ids for consecutive positions, and the source of each."""

    ids: Tokens
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


NO_DRAFT = Draft(np.zeros(0, np.int64), ())


class Drafter:
    """Drafts the K tokens of a tick from the ticks before; learns per position which source is right most often.

    previous: the last tick's token; extrapolated: as far on in bins as the last two ticks were apart; guessed: what a
    pass of this tick put out behind a draft that turned out wrong (Jacobi). Ids stay within `first` to `last`.
    """

    def __init__(self, count: int, first: int, last: int) -> None:
        self.count, self._first, self._last = count, first, last
        self.forget()

    def forget(self) -> None:
        """Begin a new episode as a new drafter would."""
        self.rates = {source: np.full(self.count, START[source]) for source in SOURCES}
        self._history: list[Tokens] = []

    @property
    def ready(self) -> bool:
        """Whether there is a tick to go by."""
        return bool(self._history)

    @property
    def last(self) -> Tokens:
        """Tokens [K] of the last tick; IndexError where there was none."""
        return self._history[-1]

    def propose(self) -> Draft:
        """Draft of the first K - 1 tokens, empty at the first tick; the last token needs none."""
        return self._choose(range(self.count - 1), {})

    def revise(self, start: int, guesses: dict[int, int]) -> Draft:
        """Draft of tokens `start` to K - 2, with a pass's own guesses by position."""
        return self._choose(range(start, self.count - 1), guesses)

    def learn(self, tokens: Tokens, guesses: dict[int, int]) -> None:
        """Note the tick's tokens [K]; guesses: what the first pass guessed behind its first wrong draft."""
        for source, drafts in self._by_source(guesses).items():
            known = drafts != NONE
            right = (drafts == tokens)[known]
            self.rates[source][known] += (1 - MEMORY) * (right - self.rates[source][known])
        self._history = [*self._history[-1:], tokens.copy()]

    def _by_source(self, guesses: dict[int, int]) -> dict[str, Tokens]:
        drafts: dict[str, Tokens] = {source: np.full(self.count, NONE, np.int64) for source in SOURCES}
        if self._history:
            drafts[PREVIOUS] = self._history[-1]
        if len(self._history) == 2:
            before, last = self._history
            drafts[EXTRAPOLATED] = np.clip(2 * last - before, self._first, self._last)
        for position, token in guesses.items():
            drafts[GUESSED][position] = token
        return drafts

    def _choose(self, positions: range, guesses: dict[int, int]) -> Draft:
        drafts = self._by_source(guesses)
        ids: list[int] = []
        sources: list[str] = []
        for position in positions:
            known = [source for source in SOURCES if drafts[source][position] != NONE]
            if not known:
                break  # a draft has no gaps
            best = max(known, key=lambda source: float(self.rates[source][position]))
            ids.append(int(drafts[best][position]))
            sources.append(best)
        return Draft(np.array(ids, np.int64), tuple(sources))


Match = Callable[[int, int], bool]


def exact(token: int, draft: int) -> bool:
    """A draft counts if it is the token."""
    return token == draft


def within(bins: int) -> Match:
    """A draft counts if it is within `bins` of the token: what follows then rests on the draft, not on the token."""
    return lambda token, draft: abs(token - draft) <= bins
