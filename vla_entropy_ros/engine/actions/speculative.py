"""Action tokens from decoder passes: greedy, one pass per token or several verified by one."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..decoding.runner import Passes, Scored
from ..errors import ActionError
from .drafts import NO_DRAFT, Draft, Drafter, Match


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


@dataclass(frozen=True)
class Rules:
    """When a draft counts, the least difference of the best two logits that needs no second look, time limit [s].

    deadline: on `time.perf_counter`, infinite for none; after it, what is not certified is published as guessed.
    """

    match: Match
    margin: float = 0.0
    deadline: float = math.inf


def plain(passes: Passes, first: Scored, position: int, count: int) -> Decoded:
    """Decode `count` tokens, one per pass; first: what the prefill put out, its last row counts.

    position: slot of the first action token. Raises ActionError if the logits are not finite.
    """
    ids, entropy = [first.ids[-1]], [first.entropy[-1]]
    for number in range(1, count):
        now = passes.extend(ids[-1:], position + number - 1)
        ids += now.ids
        entropy += now.entropy.tolist()
    return Decoded(np.array(ids, np.int64), _finite(entropy), passes=count, certified=count)


def verified(
    passes: Passes, now: Scored, prompt: int, position: int, drafter: Drafter, draft: Draft, rules: Rules
) -> Decoded:
    """Decode the tokens of `plain` in fewer passes: the rows of a pass verify drafts, the first wrong one is corrected.

    now: what the prefill put out, its last prompt row and the drafts that rode behind it; prompt: id of that row;
    position: slot of the first action token. Row i puts out token i + 1 given that drafts 1 to i are right.
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
        now = passes.extend([known, *draft.ids.tolist()], position + len(tokens) - 1)
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
