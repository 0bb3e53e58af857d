"""The sequence of a decoder: which position holds what, which row sees which slot, and the rows of one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
LeftOut = Mapping[int, Tokens]  # by layer, the visual tokens that are not computed from there on
EMBEDDED = -1  # source of a row whose token id is embedded
BITS = 62  # of a row's `branch`: an int64 has room for them, and for one that is never set


@dataclass(frozen=True)
class RowPlan:
    """The rows [R] of one decoder pass, in ascending order of position; any runner can execute it.

    source: row of the inputs (visual tokens, then those of state and placeholders), or EMBEDDED where the id `token`
    is looked up instead; position: that of the rotary embedding; slot: where the row's keys and values go. A row sees
    the first `seen` slots, and slot `area + n` where bit n of its `branch` is set, n being at most BITS - 1; each of
    them holds something once the pass is done. first_text, words: position of the text rows whose queries are kept, and
    their number. out: how many of the last rows put something out. narrow: by layer, the rows that go on from there.
    open: visual tokens 0, 1, 2, ... stand for those that the runner was asked to choose.
    """

    source: Tokens
    token: Tokens
    position: Tokens
    slot: Tokens
    seen: Tokens
    branch: Tokens
    area: int
    out: int
    first_text: int = 0
    words: int = 0
    narrow: Mapping[int, Tokens] = field(default_factory=dict)
    open: bool = False

    def __len__(self) -> int:
        return len(self.position)

    @cached_property
    def reach(self) -> int:
        """How many slots are looked at: the others are seen by no row."""
        highest = int(np.bitwise_or.reduce(self.branch)).bit_length()
        return max(int(self.seen.max()), self.area + highest if highest else 0)

    @cached_property
    def all_seen(self) -> bool:
        """Whether every row sees every slot that is looked at."""
        return int(self.seen.min()) == self.reach

    @property
    def text_seen(self) -> Tokens:
        """How many leading slots each text row sees [words]."""
        return self.seen[self.query(-1) >= 0]

    def query(self, none: int) -> Tokens:
        """Number of the text row as which each row's query is kept [R]; `none` for rows that are no text."""
        number = self.position - self.first_text
        return np.where((number >= 0) & (number < self.words), number, none)

    def filled(self, tokens: Tokens) -> RowPlan:
        """Return an open plan with the visual tokens [F] that were chosen, ascending."""
        rows = np.flatnonzero((self.source >= 0) & (self.source < len(tokens)))
        further = np.zeros_like(self.source)
        further[rows] = tokens - self.source[rows]
        parts = ("source", "position", "slot", "seen")
        return replace(self, open=False, **{name: getattr(self, name) + further for name in parts})

    def mean_rows(self, layers: int) -> int:
        """Rows that a layer computes, mean of `layers`."""
        counts = np.full(layers, len(self))
        for layer, rows in sorted(self.narrow.items()):
            counts[layer:] = len(rows)
        return round(float(counts.sum()) / layers)


@dataclass(frozen=True)
class Answers:
    """Rows [n] of answer tokens, of which several may stand at one position.

    token: ids; position: behind the text, whose last row has -1; slot: number in the area behind the text, -1 for that
    row; branch: bits of the slots in the area that a row sees, its own among them.
    """

    token: tuple[int, ...] = ()
    position: tuple[int, ...] = ()
    slot: tuple[int, ...] = ()
    branch: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.token)

    @classmethod
    def following(cls, token: Sequence[int], position: int = 0) -> Answers:
        """Tokens at consecutive positions and slots, each of which sees those before it."""
        where = tuple(range(position, position + len(token)))
        return cls(tuple(token), where, where, tuple((1 << number + 1) - 1 for number in where))

    def part(self, first: int, end: int) -> Answers:
        """Rows `first` to `end` - 1."""
        parts = (self.token, self.position, self.slot, self.branch)
        return Answers(*(part[first:end] for part in parts))

    def behind(self, prompt: int) -> Answers:
        """These rows behind the text's last one, whose id is `prompt`."""
        return Answers((prompt, *self.token), (-1, *self.position), (-1, *self.slot), (0, *self.branch))


NO_ANSWERS = Answers()


@dataclass(frozen=True)
class Layout:
    """Positions in order: start tokens, visual tokens, state rows, text, and behind it answers.

    start: token ids of the rows before everything (BOS); visual, state: number of rows; text, answers: most rows there
    may be of them. placeholders: answer rows that carry no token but whose states are read; 0 where answers are tokens.
    causal: a row sees the slots up to its own; otherwise every row sees all. area: slots behind the text, where answers
    of one position are kept beside each other; as many as answers at least, BITS at most.
    """

    start: tuple[int, ...]
    visual: int
    text: int
    answers: int
    state: int = 0
    placeholders: int = 0
    causal: bool = True
    area: int = 0

    def __post_init__(self) -> None:
        if self.area > BITS:
            raise ValueError(f"an area of {self.area} slots: expected at most {BITS}, the bits of a branch")

    @property
    def first_visual(self) -> int:
        """Position of the first visual token."""
        return len(self.start)

    @property
    def first_text(self) -> int:
        """Position of the first text token."""
        return self.first_visual + self.visual + self.state

    @property
    def count(self) -> int:
        """Positions in all."""
        return self.first_text + self.text + self.answers

    @property
    def slots(self) -> int:
        """Slots in all: one per position, but behind the text those of the area."""
        return self.first_text + self.text + max(self.answers, self.area)

    @property
    def inputs(self) -> int:
        """Rows that are no embedded token ids: visual tokens, state, placeholders."""
        return self.visual + self.state + self.placeholders

    @cached_property
    def block(self) -> Tokens:
        """Block of each position [count], ascending: row q sees slot k if and only if block[k] <= block[q]."""
        return np.arange(self.count) if self.causal else np.zeros(self.count, np.int64)

    @cached_property
    def nothing_ahead(self) -> bool:
        """Whether no row sees a slot behind its own."""
        return bool((np.diff(self.block) > 0).all())

    @property
    def text_touches_visual(self) -> bool:
        """Whether keys and values of visual tokens depend on the text: a new instruction then makes them stale."""
        return bool(self.block[self.first_text] <= self.block[self.first_visual])

    @property
    def start_is_constant(self) -> bool:
        """Whether the start rows see nothing that changes, so that their keys and values serve for ever."""
        return not self.start or bool(self.block[self.first_visual - 1] < self.block[self.first_visual])

    def seen(self, position: Tokens, end: int) -> Tokens:
        """How many of the first `end` slots the rows at `position` [R] see [R]."""
        return np.searchsorted(self.block[:end], self.block[position], side="right")

    def prefill_rows(self, fresh: int, words: int, start: bool) -> int:
        """Rows of `prefill` with so many fresh visual tokens and words of text, without a draft."""
        return (len(self.start) if start else 0) + fresh + self.state + words + self.placeholders

    def prefill(self, fresh: Tokens, ids: Sequence[int], draft: Answers, start: bool, left_out: LeftOut) -> RowPlan:
        """The pass that runs the prompt: `fresh` visual tokens [F] (ascending), state, text `ids`, what rides behind.

        draft: none where answers are placeholders. start: whether the start rows are computed, too. left_out: visual
        tokens that no layer computes from that one on.
        """
        first = self.first_text
        leading = self.start if start else ()
        words = [*ids, *draft.token]
        embedded = np.full(len(words), EMBEDDED)
        state = self.visual + np.arange(self.state)
        held = self.visual + self.state + np.arange(self.placeholders)
        source = np.concatenate((np.full(len(leading), EMBEDDED), fresh, state, embedded, held))
        token = np.zeros(len(source), np.int64)
        token[: len(leading)] = leading
        token[len(leading) + len(fresh) + self.state :][: len(words)] = words
        area = first + len(ids)
        end = area + self.placeholders
        before = (np.arange(len(leading)), self.first_visual + fresh, np.arange(first - self.state, end))
        prompt = np.concatenate(before)
        behind = self.answer_rows(draft, area)
        position = np.concatenate((prompt, behind.position))
        gone = {layer: np.isin(position, self.first_visual + tokens) for layer, tokens in left_out.items()}
        narrow = {layer: np.flatnonzero(~out) for layer, out in gone.items()}
        return RowPlan(
            source, token, position, slot=np.concatenate((prompt, behind.slot)),
            seen=np.concatenate((self.seen(prompt, end), behind.seen)),
            branch=np.concatenate((np.zeros_like(prompt), behind.branch)), area=area,
            out=self.placeholders or 1 + len(draft), first_text=first, words=len(ids), narrow=narrow,
        )  # fmt: skip

    def answer_rows(self, rows: Answers, area: int) -> RowPlan:
        """A pass of answers behind a text whose area begins at slot `area`; each puts something out.

        A row that sees the first slots of the area and none behind a gap has them among those leading.
        """
        leading = [0 if branch & (branch + 1) else branch.bit_length() for branch in rows.branch]
        branch = [branch if branch & (branch + 1) else 0 for branch in rows.branch]
        position, slot, seen = area + np.array((rows.position, rows.slot, leading), np.int64)
        embedded, token = np.full(len(rows), EMBEDDED), np.array(rows.token, np.int64)
        return RowPlan(embedded, token, position, slot, seen, np.array(branch, np.int64), area, out=len(rows))
