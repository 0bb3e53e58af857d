"""Action tokens from decoder passes: greedy, one pass per token or several verified by one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.runner import Table
from ..errors import ActionError
from .drafts import NO_DRAFT, Draft, Drafter, Match
from .tokens import BINS

# extend(ids, number): run tokens `ids` from the `number`-th action position on, -1 being that of the last prompt row
Extend = Callable[[Sequence[int], int], Table]


@dataclass(frozen=True)
class Scored:
    """The last R rows of a pass: greedy ids [R], margin [R] of the best logit over the next, entropy [R].

    entropy: over the action ids, 0 certain to 1 uniform, not a number where a logit is not finite.
    """

    ids: list[int]
    margin: NDArray[np.float64]
    entropy: NDArray[np.float64]

    @classmethod
    def of(cls, table: Table) -> Scored:
        """The columns of `score`'s table [R, 3]."""
        return cls(table[:, 0].astype(np.int64).tolist(), table[:, 1], table[:, 2])


def score(logits: Tensor, first_action: int, margins: bool) -> Tensor:
    """Greedy id, margin (infinite unless `margins`) and entropy [R, 3] of logits [R, V], float32: exact below 2^24.

    The id is taken over the whole vocabulary, so that a token which is no action shows as one.
    """
    best, ids = logits.max(-1, keepdim=True)
    margin = torch.full_like(best, math.inf, dtype=torch.float32)
    if margins:
        margin = best.float() - logits.scatter(-1, ids, -math.inf).amax(-1, keepdim=True).float()
    actions = logits[:, first_action : first_action + BINS].float()
    entropy = torch.special.entr(actions.softmax(-1)).sum(-1, keepdim=True) / math.log(BINS)
    entropy = entropy + 0.0 * actions.sum(-1, keepdim=True)  # an infinite logit makes it no number
    return torch.cat((ids.float(), margin, entropy), dim=-1)


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

    deadline: on `time.perf_counter`, infinite for none; after it, what is not certified is published as guessed.
    """

    match: Match
    margin: float = 0.0
    deadline: float = math.inf


def greedy_decode(extend: Extend, first: Scored, count: int) -> Decoded:
    """Decode `count` tokens, one per pass; first: what the prompt's pass put out, its last row counts.

    Raises ActionError if the logits are not finite.
    """
    ids, entropy = [first.ids[-1]], [first.entropy[-1]]
    for number in range(count - 1):
        now = Scored.of(extend(ids[-1:], number))
        ids += now.ids
        entropy += now.entropy.tolist()
    return Decoded(np.array(ids, np.int64), _finite(entropy), passes=count, certified=count)


def speculative_decode(
    extend: Extend, now: Scored, prompt: int, drafter: Drafter, draft: Draft, rules: Rules
) -> Decoded:
    """Decode the tokens of `greedy_decode` in fewer passes, whose rows verify drafts; the first wrong one is corrected.

    now: what the prompt's pass put out, its last row and the drafts that rode behind it; prompt: id of that row.
    Row i puts out token i + 1 given that drafts 1 to i are right.
    Where the best two logits are closer than `rules.margin`, the order may depend on how many rows a pass has: the row
    is then run again alone, as plain decoding runs it. Raises ActionError if the logits are not finite.
    """
    count = drafter.count
    tokens: list[int] = []
    entropy: list[float] = []
    guesses: dict[int, int] = {}  # of the newest pass, behind its first wrong draft
    first_guesses: dict[int, int] | None = None
    sources: list[str] = []
    tried: list[str] = []
    number = 0
    alone = False  # whether this pass is a second look
    while True:
        number += 1
        tried += draft.sources
        base = len(tokens)
        guarded = len(now.ids) > 1 and not alone
        unsure = False
        for row, token in enumerate(now.ids):
            unsure = guarded and bool(now.margin[row] < rules.margin)
            if unsure:
                break
            tokens.append(token)
            entropy.append(float(now.entropy[row]))
            if row == len(draft) or len(tokens) == count:
                break
            if not rules.match(token, int(draft.ids[row])):
                break
            sources.append(draft.sources[row])
        guesses = {base + row: token for row, token in enumerate(now.ids) if base + row >= len(tokens)}
        if first_guesses is None:
            first_guesses = guesses
        if len(tokens) == count or (drafter.ready and time.perf_counter() > rules.deadline):
            break
        alone = unsure
        draft = NO_DRAFT if alone else drafter.revise(len(tokens), guesses)
        known = tokens[-1] if tokens else prompt
        now = Scored.of(extend([known, *draft.ids.tolist()], len(tokens) - 1))
    certified = len(tokens)
    tokens += [guesses.get(n, int(drafter.last[n])) for n in range(certified, count)] if certified < count else []
    ids = np.array(tokens, np.int64)
    uncertainty = _finite([*entropy, *(1.0,) * (count - certified)])
    drafter.learn(ids, first_guesses)
    return Decoded(ids, uncertainty, number, certified, len(tried), len(sources), tuple(sources), tuple(tried))


def _finite(entropy: Sequence[float]) -> NDArray[np.float64]:
    """Entropy [K] as an array; ActionError where logits were not finite."""
    values = np.array(entropy, np.float64)
    if np.isnan(values).any():
        raise ActionError("the policy's output holds values that are not finite")
    return values
