"""How long the choice among visual tokens takes by itself: in the tick (`select`), and after it (the scores)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..engine import Observation
from ..engine.decoding.probe import information
from ..engine.decoding.runner import Embedded
from ..engine.decoding.sequence import Layout
from ..engine.model.compiled.library import find_all
from ..engine.reuse.selector import Selector
from ..engine.tunables import Tunables

PATCH, WIDTH, WORDS = 14, 128, 10  # pixels along a patch; channels of a visual token; text tokens
BOX = 4  # patches along the box
LAYERS, HEADS = 8, 4  # of the decoder whose attention is scored: the small policy's
CACHES = 2**22  # floats that push the stage's data out of the processor's caches, as a network does between two ticks


@dataclass(frozen=True)
class ChoiceTimes:
    """Median times [ms]: `alone`, of choosing, on the way to the action; `scores`, of what follows the action.

    That is what the next choice asks of the attention, and what it needs whatever it sees.
    """

    alone: float
    scores: float


@torch.inference_mode()
def selection_times(tokens: int, repeats: int = 200) -> ChoiceTimes:
    """Time the default mode among `tokens` visual tokens (a square number): a picture with noise in which a box moves.

    The embeddings of its patches change with it, the others hardly. Both parts start with cold caches; no tick of those
    timed computes everything. In compiled code where there is any.
    """
    random = np.random.default_rng(0)
    grid = round(tokens**0.5)
    side = grid * PATCH
    layout, library = Layout((0,), tokens, WORDS, 1), next(iter(find_all()), None)  # as a tick on a CPU does
    selector = Selector(layout, 1, LAYERS, PATCH, WIDTH, torch.device("cpu"), torch.float32, library)
    scene = random.integers(0, 256, (1, side, side, 3)).astype(np.float32)
    visual, other = torch.randn(tokens, WIDTH), np.zeros(CACHES, np.float32)
    tunables = Tunables.default(tokens)
    spent: list[tuple[float, float]] = []
    for number in range(repeats + 1):  # the first tick computes everything
        row, column = random.integers(0, grid - BOX, 2)
        rows, columns = (slice(PATCH * start, PATCH * (start + BOX)) for start in (row, column))
        scene[0, rows, columns] = random.integers(0, 256, 3)
        frame = np.clip(scene + random.normal(0, 1, scene.shape), 0, 255).astype(np.uint8)
        visual = visual + 0.01 * torch.randn(tokens, WIDTH)
        visual.view(grid, grid, WIDTH)[row : row + BOX, column : column + BOX] = torch.randn(BOX, BOX, WIDTH)
        seen = Embedded(visual, visual)
        selector.observe(Observation((frame[0],), "", 0.1 * number), tunables)
        other += 1
        began = time.perf_counter()
        choice = selector.select(frame, seen, tunables)
        chosen = time.perf_counter() - began
        assert (choice.reason is None) == (number > 0)
        selector.grow(choice)
        selector.commit(choice, seen)
        looked = Looked.random(random, tokens)
        other += 1
        began = time.perf_counter()
        selector.attend(looked, tunables)
        spent.append((chosen, time.perf_counter() - began))
    alone, scores = np.median(spent[1:], axis=0) * 1e3
    return ChoiceTimes(float(alone), float(scores))


@dataclass(frozen=True)
class Looked:
    """In place of a runner: logarithms of the text's attention [L, H, M, N] on the visual tokens, a row's share."""

    log_weights: Tensor

    @classmethod
    def random(cls, random: np.random.Generator, tokens: int) -> Looked:
        """Half of each row's attention, unevenly spread over the visual tokens."""
        raw = random.random((LAYERS, HEADS, WORDS, tokens), np.float32) ** 4
        return cls(torch.from_numpy(raw / (2 * raw.sum(-1, keepdims=True))).log())

    def text_attention(self) -> Tensor:
        """See `Runner`."""
        return self.log_weights.exp().mean(1)

    def text_information(self) -> Tensor:
        """See `Runner`."""
        return information(self.log_weights) / (LAYERS * HEADS)
