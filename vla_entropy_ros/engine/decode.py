"""Action tokens from decoder passes: greedy, one pass per token or several verified by one."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import BINS
from .decoder import Decoder
from .drafts import NO_DRAFT, Draft, Drafter, Match
from .errors import ActionError


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


def plain(decoder: Decoder, hidden: Tensor, position: int, count: int, first_action: int) -> Decoded:
    """Decode `count` tokens, the first of them from `hidden` [D], the state of the last prompt row.

    position: slot of the first action token; first_action: smallest action id. The argmax runs over the whole
    vocabulary, so that a token which is no action shows as one. Raises ActionError if the logits are not finite.
    """
    llama = decoder.llama
    ids: list[Tensor] = []
    action_logits: list[Tensor] = []
    for number in range(count):
        if number:
            where = position + number - 1
            hidden = decoder.step(llama.embed(ids[-1]), decoder.positions[where : where + 1], where + 1)[0]
        logits = llama.lm_head(hidden)
        ids.append(logits.argmax(-1, keepdim=True))
        action_logits.append(logits[first_action : first_action + BINS])
    entropy = _entropy(torch.stack(action_logits))
    return Decoded(torch.cat(ids).cpu().numpy(), entropy, passes=count, certified=count)


def verified(
    decoder: Decoder, hidden: Tensor, prompt: Tensor, position: int, drafter: Drafter, draft: Draft, rules: Rules,
    first_action: int,
) -> Decoded:  # fmt: skip
    """Decode the tokens of `plain` in fewer passes: the rows of a pass verify drafts, the first wrong one is corrected.

    hidden [1 + n, D]: states of the last prompt row and of the n drafts that rode behind it; prompt [1, D]: that row's
    embedding; position: slot of the first action token. Row i puts out token i + 1 given that drafts 1 to i are right.
    Where the best two logits are closer than `rules.margin`, the order may depend on how many rows a pass has: the row
    is then run again alone, as plain decoding runs it. Raises ActionError if the logits are not finite.
    """
    llama, count = decoder.llama, drafter.count
    tokens: list[int] = []
    logits_of: list[Tensor] = []
    guesses: dict[int, int] = {}  # of the newest pass, behind its first wrong draft
    first_guesses: dict[int, int] | None = None
    sources: list[str] = []
    tried: list[str] = []
    passes = 0
    alone = False  # whether this pass is a second look
    while True:
        passes += 1
        tried += draft.sources
        base = len(tokens)
        logits = llama.lm_head(hidden)
        ids: list[int] = logits.argmax(-1).tolist()
        close = _close(logits, rules.margin) if len(ids) > 1 and not alone else []
        unsure = False
        for row, token in enumerate(ids):
            unsure = row in close
            if unsure:
                break
            tokens.append(token)
            logits_of.append(logits[row])
            if row == len(draft) or len(tokens) == count:
                break
            if not rules.match(token, int(draft.ids[row])):
                break
            sources.append(draft.sources[row])
        guesses = {base + row: token for row, token in enumerate(ids) if base + row >= len(tokens)}
        if first_guesses is None:
            first_guesses = guesses
        if len(tokens) == count or (drafter.ready and time.perf_counter() > rules.deadline):
            break
        alone = unsure
        last = len(tokens) - 1
        draft = NO_DRAFT if alone else drafter.revise(len(tokens), guesses)
        known = prompt if last < 0 else llama.embed(torch.tensor([tokens[last]], device=prompt.device))
        drafts = llama.embed(torch.from_numpy(draft.ids).to(prompt.device))
        where = position + last
        end = where + 1 + len(draft)
        hidden = decoder.step(torch.cat((known, drafts)), decoder.positions[where:end], end)
    return _decoded(tokens, logits_of, guesses, drafter, first_guesses, passes, tried, sources, first_action)


def _close(logits: Tensor, margin: float) -> list[int]:
    """Rows of logits [R, V] whose best two are closer than `margin`."""
    if margin <= 0.0:
        return []
    best = logits.float().topk(2, -1).values
    return torch.nonzero(best[:, 0] - best[:, 1] < margin).flatten().tolist()


def _decoded(
    tokens: list[int], logits: list[Tensor], guesses: dict[int, int], drafter: Drafter,
    first_guesses: dict[int, int], passes: int, tried: list[str], sources: list[str], first_action: int,
) -> Decoded:  # fmt: skip
    """Complete what a deadline cut short by the best guesses, and let the drafter learn."""
    certified, count = len(tokens), drafter.count
    entropy = np.ones(count)
    if logits:
        entropy[:certified] = _entropy(torch.stack([row[first_action : first_action + BINS] for row in logits]))
    if certified < count:
        tokens = [*tokens, *(guesses.get(n, int(drafter.last[n])) for n in range(certified, count))]
    ids = np.array(tokens, np.int64)
    drafter.learn(ids, first_guesses)
    return Decoded(ids, entropy, passes, certified, len(tried), len(sources), tuple(sources), tuple(tried))


def _entropy(logits: Tensor) -> NDArray[np.float64]:
    """Entropy [K] of the distributions that logits [K, 256] describe, 0 to 1; ActionError if one is not finite."""
    scores = logits.float()
    if not bool(torch.isfinite(scores).all()):
        raise ActionError("the policy's output holds values that are not finite")
    entropy = torch.special.entr(scores.softmax(-1)).sum(-1) / math.log(BINS)
    return entropy.cpu().numpy().astype(np.float64)
