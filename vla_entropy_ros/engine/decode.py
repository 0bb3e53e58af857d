"""Action tokens from decoder passes: greedy, one pass per token."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import BINS
from .decoder import Decoder
from .errors import ActionError


@dataclass(frozen=True)
class Decoded:
    """Action tokens of one tick: ids [K], entropy [K] over the action ids (0 certain to 1 uniform), passes run."""

    tokens: NDArray[np.int64]
    entropy: NDArray[np.float64]
    passes: int


def greedy(decoder: Decoder, hidden: Tensor, position: int, count: int, first_action: int) -> Decoded:
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
    scores = torch.stack(action_logits).float()  # [K, 256]
    if not bool(torch.isfinite(scores).all()):
        raise ActionError("the policy's output holds values that are not finite")
    entropy = torch.special.entr(scores.softmax(-1)).sum(-1) / math.log(BINS)
    tokens = torch.cat(ids).cpu().numpy()
    return Decoded(tokens, entropy.cpu().numpy().astype(np.float64), count)
