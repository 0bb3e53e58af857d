"""Guesses of the next action tokens as a tree, so that one decoder pass can verify many of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..decoding.sequence import Answers

Logits = NDArray[np.float64]

Candidates = list[tuple[float, int, str]]  # probability, token id and source, the likeliest first

PREVIOUS, RUNNER_UP, NEIGHBOUR, EXTRAPOLATED = "previous", "runner-up", "neighbour", "extrapolated"
GUESSED, CENTRE = "guessed", "centre"
SOURCES = (PREVIOUS, RUNNER_UP, NEIGHBOUR, EXTRAPOLATED, GUESSED, CENTRE)
MAXIMA, NEAR, AHEAD = "maxima", "near", "ahead"  # kinds of evidence
START = {MAXIMA: 0.9, NEAR: 0.02, AHEAD: 0.1}  # shares of the tokens that each is right about
MEMORY = 0.9  # of these, per tick: about ten ticks count
LEAST = math.log(0.001)  # a maximum this far below the highest one is none
BESIDE = (-2, -1, 1, 2)  # bins that are near
NEIGHBOURS = np.array(BESIDE)
DRAFTED = {"cuda": 48, "cpu": 24, "meta": 24}  # rows of a draft by kind of device: on a GPU they cost next to nothing
UNLIKELY = {"cuda": 0.0, "cpu": 0.15, "meta": 0.15}  # on a CPU, a less likely path is not worth its row
ROOT = -1  # parent of a node that follows what is known


@dataclass(frozen=True)
class Draft:
    """Guesses [n] of token ids as a tree: a node follows its parent, ROOT what is known already.

    Parents stand before their children, the likeliest chain first. sources: where each guess comes from.
    """

    ids: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()
    sources: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def chain(cls, ids: Sequence[int], source: str = PREVIOUS) -> Draft:
        """One guess per position."""
        return cls(tuple(ids), tuple(range(ROOT, len(ids) - 1)), (source,) * len(ids))

    def first(self, rows: int) -> Draft:
        """The `rows` likeliest nodes: a node's parent stands before it."""
        if rows >= len(self):
            return self
        return Draft(self.ids[:rows], self.parents[:rows], self.sources[:rows])

    @cached_property
    def chain_length(self) -> int:
        """Nodes of the likeliest chain."""
        return next((node for node, parent in enumerate(self.parents) if parent != node - 1), len(self))

    @cached_property
    def children(self) -> list[list[int]]:
        """Rows of the children by row, where row 0 is that of what is known, and node n has row n + 1."""
        found: list[list[int]] = [[] for _ in range(len(self) + 1)]
        for node, parent in enumerate(self.parents):
            found[parent + 1].append(node + 1)
        return found

    @cached_property
    def answers(self) -> Answers:
        """The rows of the nodes behind a prompt, in the first slots."""
        return self._rows([-1], [0], range(-1, len(self))).part(1, len(self) + 1)

    def placed(self, token: int, held: Sequence[int]) -> Answers:
        """The rows of `token` and of the nodes behind it, in slots other than `held`: those of the tokens before it."""
        free = (slot for slot in range(len(held) + len(self) + 1) if slot not in held)
        seen = sum(1 << slot for slot in held)
        slots = [next(free) for _ in range(len(self) + 1)]
        return self._rows([len(held)], [seen | 1 << slots[0]], slots, token)

    def _rows(self, position: list[int], branch: list[int], slots: Sequence[int], token: int = 0) -> Answers:
        """The rows of what is known, whose position and branch are given, and of the nodes."""
        for row, parent in enumerate(self.parents, 1):
            position.append(position[parent + 1] + 1)
            branch.append(branch[parent + 1] | 1 << slots[row])
        return Answers((token, *self.ids), tuple(position), tuple(slots), tuple(branch))


NO_DRAFT = Draft()


class Evidence(NamedTuple):
    """Where the logits of a position are high: at their maxima, and in the bins next to the highest one, `best`.

    Probabilities are relative to that of `best`; mass: their sums. near: of the bins BESIDE it.
    """

    best: int
    maxima: dict[int, float]
    maxima_mass: float
    near: list[float]
    near_mass: float


def weigh(logits: Logits, first: int) -> list[Evidence]:
    """Evidence of each row of finite logits [K, bins]; bin 0 is id `first`.

    A bin beside a maximum shares its probability with it and is seldom chosen in its place: it is no maximum itself.
    """
    count, bins = logits.shape
    edge = BESIDE[-1]
    wide = np.full((count, bins + 2 * edge), -np.inf)
    wide[:, edge:-edge] = logits
    best, top = logits.argmax(1), logits.max(1)
    higher = (logits > wide[:, edge - 1 : -edge - 1]) & (logits >= wide[:, edge + 1 : bins + edge + 1])
    rows, where = (higher & (logits > (top + LEAST)[:, None])).nonzero()
    weights = np.exp(logits[rows, where] - top[rows])
    mass = np.bincount(rows, weights, count).tolist()
    maxima: list[dict[int, float]] = [{} for _ in range(count)]
    for row, weight, token in zip(rows.tolist(), weights.tolist(), (where + first).tolist(), strict=True):
        maxima[row][token] = weight
    near = np.exp(wide[np.arange(count)[:, None], best[:, None] + NEIGHBOURS + edge] - top[:, None])
    return [*map(Evidence, (best + first).tolist(), maxima, mass, near.tolist(), near.sum(1).tolist())]


class Drafter:
    """Drafts the K tokens of a tick from the newest logits of each position; learns which evidence is right how often.

    The newest are those of a pass of this tick behind a draft that turned out wrong (Jacobi), else those of the last
    tick, whose token may also go on by as many bins as it came. Where there are none, the centre of the range is tried,
    for what stands behind it. Ids stay within `first` to `last`.
    """

    def __init__(self, count: int, first: int, last: int, least: float = 0.0) -> None:
        """least: probability of a path below which it is not tried."""
        self.count, self._first, self._last, self._least = count, first, last, least
        self.forget()

    def forget(self) -> None:
        """Begin a new episode as a new drafter would."""
        self.rates = [dict(START) for _ in range(self.count)]  # by position and kind of evidence
        self._history: list[Sequence[int]] = []
        self._before: list[Evidence] = []
        self._proposed: dict[int, Draft] = {}  # by rows, until something is learnt
        self._heard: tuple[Sequence[int], Logits] | None = None  # of the last tick, until there is time for it

    @property
    def ready(self) -> bool:
        """Whether there is a tick to go by."""
        return bool(self._history or self._heard)

    @property
    def last(self) -> Sequence[int]:
        """Tokens [K] of the last tick; IndexError where there was none."""
        return self._heard[0] if self._heard else self._history[-1]

    def propose(self, rows: int) -> Draft:
        """Draft of the first K - 1 tokens in at most `rows` nodes; the last token needs none.

        It is grown once between two ticks, whenever it is first asked for.
        """
        if rows not in self._proposed:
            self._proposed[rows] = self.revise(0, {}, rows)
        return self._proposed[rows]

    def revise(self, start: int, seen: Mapping[int, Evidence], rows: int) -> Draft:
        """Draft of tokens `start` to K - 2 in at most `rows` nodes; seen: evidence of this tick by position."""
        self._learn()
        candidates = [self._candidates(position, seen) for position in range(start, self.count - 1)]
        return grow(candidates, rows, self._least)

    def weigh(self, logits: Mapping[int, Logits]) -> dict[int, Evidence]:
        """Evidence of logits [bins] by position."""
        if not logits:
            return {}
        return dict(zip(logits, weigh(np.stack(list(logits.values())), self._first), strict=True))

    def learn(self, tokens: Sequence[int], logits: Logits) -> None:
        """Note the tick's tokens [K] and the logits [C, bins] of those that are certain; nobody drafts the last one.

        What follows from them waits for the next draft, which is asked for once the tick has been answered.
        """
        self._learn()
        self._proposed, self._heard = {}, (tokens, logits)

    def _learn(self) -> None:
        if self._heard is None:
            return
        (tokens, logits), self._heard, drafted = self._heard, None, self.count - 1
        for position, token in enumerate(tokens[:drafted] if self._history else ()):
            known, rates = self._before[position], self.rates[position]
            rates[MAXIMA] += (1 - MEMORY) * ((token in known.maxima) - rates[MAXIMA])
            rates[NEAR] += (1 - MEMORY) * ((token - known.best in BESIDE) - rates[NEAR])
            ahead = self._ahead(position)
            if ahead is not None:
                rates[AHEAD] += (1 - MEMORY) * ((token == ahead) - rates[AHEAD])
        self._history = [*self._history[-1:], tokens]
        self._before = [*weigh(logits[:drafted], self._first), *self._before[len(logits) :]]

    def _ahead(self, position: int) -> int | None:
        """The last token as many bins on as it came; None where it stood still, or came from nowhere."""
        if len(self._history) < 2:
            return None
        before, last = self._history[0][position], self._history[1][position]
        return None if before == last else min(max(2 * last - before, self._first), self._last)

    def _candidates(self, position: int, seen: Mapping[int, Evidence]) -> Candidates:
        ahead = None
        if position in seen:
            known, name = seen[position], GUESSED
        elif self._history:
            known, name, ahead = self._before[position], PREVIOUS, self._ahead(position)
        else:
            return [(0.5, (self._first + self._last) // 2, CENTRE)]
        rates = self.rates[position]
        share = rates[MAXIMA] / known.maxima_mass
        mixed = {token: (weight * share, RUNNER_UP) for token, weight in known.maxima.items()}
        mixed[known.best] = (mixed[known.best][0], name)
        share = rates[NEAR] / (known.near_mass or 1.0)
        for weight, token in zip(known.near, [known.best + bins for bins in BESIDE], strict=True):
            if weight:
                likely, source = mixed.get(token, (0.0, NEIGHBOUR))
                mixed[token] = (likely + weight * share, source)
        whole = rates[MAXIMA] + rates[NEAR]
        if ahead is not None:
            likely, source = mixed.get(ahead, (0.0, EXTRAPOLATED))
            mixed[ahead] = (likely + rates[AHEAD], source)
            whole += rates[AHEAD]
        return sorted([(likely / whole, token, source) for token, (likely, source) in mixed.items()], reverse=True)


def grow(candidates: Sequence[Candidates], rows: int, least: float = 0.0) -> Draft:
    """The likeliest tree of at most `rows` nodes, the likeliest chain among them, no other path below `least`.

    candidates: by position, probability, token and source, the likeliest first. A path is as likely as the product.
    """
    depth = min(len(candidates), rows)
    ids, parents, sources = [], [], []
    heap: list[tuple[float, int, int, int, float]] = []  # less its probability, parent, position, number, less parent's
    likely = -1.0
    for position in range(depth):  # every other path leaves the likeliest chain somewhere
        options = candidates[position]
        if len(options) > 1:
            heap.append((likely * options[1][0], position - 1, position, 1, likely))
        probability, token, source = options[0]
        likely *= probability
        ids.append(token)
        parents.append(position - 1)
        sources.append(source)
    heap.sort()
    last = len(candidates) - 1
    while heap and len(ids) < rows and -heap[0][0] >= least:
        likely, parent, position, number, above = heappop(heap)
        options = candidates[position]
        _, token, source = options[number]
        if position < last:
            heappush(heap, (likely * candidates[position + 1][0][0], len(ids), position + 1, 0, likely))
        if number + 1 < len(options):
            heappush(heap, (above * options[number + 1][0], parent, position, number + 1, above))
        ids.append(token)
        parents.append(parent)
        sources.append(source)
    return Draft(tuple(ids), tuple(parents), tuple(sources))


Match = Callable[[int, Sequence[int]], int | None]  # the token, its drafts -> number of the one that counts


def exact(token: int, drafts: Sequence[int]) -> int | None:
    """A draft counts if it is the token."""
    return drafts.index(token) if token in drafts else None


def within(bins: int) -> Match:
    """The draft nearest to the token counts if it is within `bins`: what follows then rests on it, not on the token."""

    def match(token: int, drafts: Sequence[int]) -> int | None:
        nearest = min(range(len(drafts)), key=lambda number: abs(drafts[number] - token), default=None)
        return None if nearest is None or abs(drafts[nearest] - token) > bins else nearest

    return match
