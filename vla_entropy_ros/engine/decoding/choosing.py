"""Visual tokens chosen where their embeddings are: the host sends the prompt's pass without waiting for these.

How many tokens are to be fresh is known before; which ones, the pass finds in its plan when it begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import Upload
from .sequence import EMBEDDED

CHOSEN = EMBEDDED - 1  # source of the row of the first token that is chosen; CHOSEN - n of the one after n others

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """Which of N visual tokens are to be fresh, but for how far each of them has changed.

    weight [N]: times the squared change, it is the visual information; the `most` highest of it are fresh, so are those
    `needed` [N], and of the others the highest attention [N] times (ageing [N] + root of the squared change): `count`
    tokens in all, which have room for all of these.
    """

    weight: Floats
    attention: Floats
    ageing: Floats
    needed: Mask
    most: int
    count: int


@dataclass(frozen=True)
class Answer:
    """The tokens chosen: all [N], those for their visual information [N], and that information [N]."""

    fresh: Mask
    by_visual: Mask
    visual: Floats


Answering = Callable[[], Answer]  # once a pass was run
Ask = Callable[[Question], Answering]


class Chooser:
    """Answers a `Question` on the device, by operations of fixed shapes: `rank`, and `fill` the plan of a pass.

    The same numbers as on the host, in float64; ties go to the lower index.
    """

    def __init__(self, change: Tensor) -> None:
        """change [N]: squared relative change of each visual token, wherever it comes from, float32."""
        count, device = len(change), change.device
        self._change, self._order = change, torch.arange(count, device=device)
        self._given = Upload((4, count), torch.float64, device)
        self._counts = Upload((2,), torch.int64, device)
        self._tokens = torch.zeros(count + 1, dtype=torch.int64, device=device)  # those chosen, ascending; and scratch
        self._found = torch.zeros(3, count, dtype=torch.float64, device=device)
        self._answer = torch.zeros(3, count, dtype=torch.float64, pin_memory=device.type == "cuda")

    def send(self, question: Question) -> None:
        """Upload what is asked."""
        for row, values in enumerate((question.weight, question.attention, question.ageing, question.needed)):
            self._given.host[row] = values
        self._counts.host[:] = question.most, question.count
        self._given.send(4)
        self._counts.send(2)

    def rank(self) -> None:
        """Choose the tokens."""
        weight, attention, ageing, needed = self._given.device
        most, count = self._counts.device
        change, end = self._change.double(), len(self._order)
        visual = weight * change
        by_visual = self._highest(visual, most)
        urgency = attention * (ageing + change.sqrt())
        fresh = self._highest(torch.where(by_visual | (needed > 0), math.inf, urgency), count)
        self._tokens.scatter_(0, torch.where(fresh, fresh.cumsum(0) - 1, end), self._order)
        torch.stack((fresh.double(), by_visual.double(), visual), out=self._found)

    def fetch(self) -> Answering:
        """Have the answer brought to the host; what is returned reads it, once the device has been waited for."""
        self._answer.copy_(self._found, non_blocking=True)

        def answer() -> Answer:
            fresh, by_visual, visual = self._answer.numpy().copy()
            return Answer(fresh > 0, by_visual > 0, visual)

        return answer

    def fill(self, source: Tensor, places: Tensor) -> None:
        """Put the tokens chosen into a plan; places [n, R]: what counts on by one from each token to the next."""
        open_rows = source < EMBEDDED
        number = (CHOSEN - source).clamp_min(0)
        token = self._tokens.index_select(0, number)
        places.add_(torch.where(open_rows, token - number, 0))
        torch.where(open_rows, token, source, out=source)

    def _highest(self, score: Tensor, count: Tensor) -> Tensor:
        """The `count` highest scores as a mask [N]."""
        ranked = score.sort(descending=True, stable=True).indices
        return torch.zeros_like(score, dtype=torch.bool).scatter_(0, ranked, self._order < count)
