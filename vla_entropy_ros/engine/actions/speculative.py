"""Action tokens from decoder passes: greedy, one pass per token or several verified by one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.runner import Table
from ..decoding.sequence import Answers
from ..errors import ActionError
from .drafts import Draft, Drafter, Evidence, Logits, Match
from .tokens import BINS

Extend = Callable[[Answers], Table]  # run these rows behind the prompt: what the head's readout gives for each
Prefill = Callable[[Draft], Table]  # run the prompt and a draft: what it gives for the last row and for the draft's
FOREMOST = 8  # logits of a row that may come to be the best


@dataclass(frozen=True)
class Scored:
    """The last R rows of a pass: greedy ids [R], margin [R] of the best logit over the next, logits [R, bins].

    logits: of the action ids.
    """

    ids: list[int]
    margin: list[float]
    logits: Logits

    @classmethod
    def of(cls, table: Table) -> Scored:
        """The columns of `score`'s table [R, 2 + bins]; ActionError where logits are not finite."""
        logits = table[:, 2:]
        if not math.isfinite(logits.sum()):
            raise ActionError("the policy's output holds values that are not finite")
        return cls(table[:, 0].astype(np.int64).tolist(), table[:, 1].tolist(), logits)


def score(logits: Tensor, first_action: int, margins: bool) -> Tensor:
    """Greedy id, margin (infinite unless `margins`), logits of the actions [R, 2 + bins] of float32 logits [R, V].

    Ids are exact below 2^24. The id is taken over the whole vocabulary, so that a token which is no action shows as
    one.
    """
    best, ids = logits.max(-1, keepdim=True)
    others = logits.scatter(-1, ids, -math.inf).amax(-1, keepdim=True) if margins else None
    margin = torch.full_like(best, math.inf) if others is None else best - others
    return torch.cat((ids.float(), margin, logits[:, first_action : first_action + BINS]), dim=-1)


def moved(logits: Logits, others: Logits) -> float:
    """How far the best logit of a row has moved against the next ones at most, between logits [K, bins] and others."""
    foremost = np.argsort(-logits, 1)[:, :FOREMOST]
    change = np.take_along_axis(others - logits, foremost, 1)
    return float(np.abs(change - change[:, :1]).max())


def entropies(logits: Logits) -> NDArray[np.float64]:
    """Entropy [K] of rows of logits [K, bins], 0 certain to 1 uniform."""
    shifted = (logits - logits.max(-1, keepdims=True)).astype(np.float32)
    weights = np.exp(shifted)
    whole = weights.sum(-1)
    return ((np.log(whole) - np.einsum("kb,kb->k", weights, shifted) / whole) / math.log(BINS)).astype(np.float64)


@dataclass(frozen=True)
class Decoded:
    """Action tokens of one tick and how they came about.

    tokens [K]: ids; entropy [K] over the action ids (0 certain to 1 uniform, or nothing known); passes: decoder passes
    with the prefill; certified: how many leading tokens are those of plain decoding (or rest on a draft within the
    tolerance); drafted, accepted: drafts that were tried and that held; sources: those of the accepted ones; tried:
    those of all.
    """

    tokens: NDArray[np.int64]
    entropy: NDArray[np.float64]
    passes: int
    certified: int
    drafted: int = 0
    accepted: int = 0
    sources: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()


NO_TOKENS = Decoded(np.zeros(0, np.int64), np.zeros(0), passes=1, certified=0)  # of a head that regresses


@dataclass(frozen=True)
class Rules:
    """When a draft counts, the least difference of the best two logits that needs no second look, time limit [s].

    rows: most rows of a pass behind the prompt's, that of the known token among them. deadline: on `time.perf_counter`,
    infinite for none; after it, what is not certified is published as guessed. together: whether a second look gives
    the same in one pass as row by row.
    """

    match: Match
    margin: float = 0.0
    rows: int = 8
    deadline: float = math.inf
    together: bool = False


def greedy_decode(extend: Extend, first: Scored, count: int) -> Decoded:
    """Decode `count` tokens, one per pass; first: what the prompt's pass put out, its last row counts."""
    ids, logits = [first.ids[-1]], [first.logits[-1]]
    for number in range(count - 1):
        now = Scored.of(extend(Answers.following(ids[-1:], number)))
        ids += now.ids
        logits.append(now.logits[0])
    return Decoded(np.array(ids, np.int64), entropies(np.stack(logits)), passes=count, certified=count)


def speculative_decode(
    extend: Extend, first: Scored, prompt: int, drafter: Drafter, draft: Draft, rules: Rules
) -> Decoded:
    """Decode the tokens of `greedy_decode` in fewer passes, whose rows verify drafts; a wrong one is corrected.

    first: what the prompt's pass put out, its last row and the draft that rode behind it; prompt: id of that row.
    A row puts out the token behind its own, given that those above it in the tree are right. Its keys and values stay
    where they are if it is right itself. Where the best two logits are closer than `rules.margin`, the order may depend
    on how many rows a pass has: the row, and those that it rests on, are then run again one by one, as plain decoding
    runs them, or in one pass where that makes no difference.
    """
    return _Decoding(extend, drafter, rules).run(first, prompt, draft)


@dataclass
class _Decoding:
    """One tick: tokens and logits so far, the rows they came from (of which `settled` ran as alone), what was tried."""

    extend: Extend
    drafter: Drafter
    rules: Rules
    tokens: list[int] = field(default_factory=list)
    logits: list[Logits] = field(default_factory=list)
    path: list[tuple[Answers, int]] = field(default_factory=list)
    settled: int = 0
    sources: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    passes: int = 1

    def run(self, now: Scored, prompt: int, draft: Draft) -> Decoded:
        """See `speculative_decode`."""
        drafter, count = self.drafter, self.drafter.count
        rows = draft.answers.behind(prompt)
        self.path, self.settled = [(rows, 0)], int(len(rows) == 1)
        seen: dict[int, Evidence] = {}  # of this tick, by position
        while True:
            self.tried += draft.sources
            base = len(self.tokens)
            last = self._verify(now, rows, draft)
            if len(self.tokens) == count or last is None or self._late():
                break
            seen |= drafter.weigh(_beside(now, draft, last, base, self.tokens))
            draft = drafter.revise(len(self.tokens), seen, self.rules.rows - 1)
            rows = draft.placed(self.tokens[-1], [rows.slot[row] for rows, row in self.path[1:]])
            self.settled += len(rows) == 1 and self.settled == len(self.path)
            self.path.append((rows, 0))
            now = self._run(rows)
        certified = len(self.tokens)
        logits = np.concatenate(self.logits or [np.zeros(0)]).reshape(-1, BINS)
        uncertainty = np.concatenate((entropies(logits), np.ones(count - certified)))
        for number in range(certified, count):
            self.tokens.append(seen[number].best if number in seen else drafter.last[number])
        drafter.learn(self.tokens, logits)
        return Decoded(
            np.array(self.tokens, np.int64), uncertainty, self.passes, certified, len(self.tried), len(self.sources),
            tuple(self.sources), tuple(self.tried),
        )  # fmt: skip

    def _verify(self, now: Scored, rows: Answers, draft: Draft) -> int | None:
        """Take the tokens that a pass is right about; the row that put out the last one, None at the deadline."""
        row, written = 0, 0
        while True:
            token, logits = now.ids[row], now.logits[row]
            if now.margin[row] < self.rules.margin and self.settled < len(self.path):
                if self._late():
                    return None
                alone = self._again()
                token, logits = alone.ids[-1], alone.logits[-1]
                written = len(self.path) - 1  # slots, from the first on
            self.tokens.append(token)
            self.logits.append(logits)
            options = [option for option in draft.children[row] if rows.slot[option] >= written]
            if len(self.tokens) == self.drafter.count or not options:
                return row
            number = self.rules.match(token, [draft.ids[option - 1] for option in options])
            if number is None:
                return row
            row = options[number]
            self.sources.append(draft.sources[row - 1])
            self.path.append((rows, row))

    def _again(self) -> Scored:
        """Run the last row, and before it those that it rests on, as plain decoding does: each alone, in its slot."""
        first = self.settled
        tokens = [rows.token[row] for rows, row in self.path[first:]]
        again = Answers.following(tokens[not first :], max(first - 1, 0))
        again = again if first else again.behind(tokens[0])
        parts = [again.part(row, row + 1) for row in range(len(again))]
        if self.rules.together and len(again) <= self.rules.rows:
            parts = [again]
        for rows in parts:
            now = self._run(rows)
        self.path[first:] = [(again, row) for row in range(len(again))]
        self.settled = len(self.path)
        return now

    def _run(self, rows: Answers) -> Scored:
        self.passes += 1
        return Scored.of(self.extend(rows))

    def _late(self) -> bool:
        return self.drafter.ready and time.perf_counter() > self.rules.deadline


def _beside(now: Scored, draft: Draft, last: int, base: int, tokens: list[int]) -> dict[int, Logits]:
    """What a pass put out behind wrong drafts, by position: along the path next to the tokens, else the likeliest one.

    last: the row that put out the last token; base: how many there were before the pass.
    """
    found: dict[int, Logits] = {}
    row, token = last, tokens[-1]
    while options := draft.children[row]:
        row = min(options, key=lambda option: abs(draft.ids[option - 1] - token))
        found[len(tokens) + len(found)] = now.logits[row]
        token = now.ids[row]
    for number in range(1, draft.chain_length + 1):
        if base + number >= len(tokens):
            found.setdefault(base + number, now.logits[number])
    return found
