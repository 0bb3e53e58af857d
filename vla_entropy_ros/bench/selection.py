"""How long the choice among visual tokens takes by itself: what the `select` stage of a tick does, and no more."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from ..engine.actions.head import Acted
from ..engine.decoding.runner import Embedded
from ..engine.decoding.sequence import Layout
from ..engine.reuse.selector import Selector
from ..engine.tunables import Tunables

PATCH, WIDTH, WORDS = 14, 128, 10  # pixels along a patch; channels of a visual token; text tokens
CACHES = 2**22  # floats that push the stage's data out of the processor's caches, as a network does between two ticks


@torch.inference_mode()
def selection_time(tokens: int, repeats: int = 200) -> float:
    """Median time [ms] of choosing among `tokens` visual tokens (a square number) by entropy, otherwise by default.

    A picture with noise in which something moves: cutting it into patches, static test, both entropies (that of the
    attention is computed off the critical path), schedule, union, filling by influence. Starts with cold caches.
    """
    random = np.random.default_rng(0)
    side = round(tokens**0.5) * PATCH
    layout = Layout((0,), tokens, WORDS, 1)
    selector = Selector(layout, 1, PATCH, WIDTH, torch.device("cpu"), torch.float32)
    scene = random.integers(0, 256, (1, side, side, 3)).astype(np.float32)
    visual, other = torch.randn(tokens, WIDTH), np.zeros(CACHES, np.float32)
    tunables = replace(Tunables.default(tokens), mode="info_entropy")  # the mode with the most to compute
    acted = Acted(np.zeros((1, 1)))
    first = Embedded(visual, visual)
    chosen = selector.select(scene.astype(np.uint8), first, tunables)
    selector.grow(chosen)
    selector.commit(chosen, first, acted, adaptive=False)
    selector.attend(torch.from_numpy(random.random((1, WORDS, tokens), np.float32)), tunables)
    times = []
    for _ in range(repeats):
        row, column = random.integers(0, side - 40, 2)
        scene[0, row : row + 40, column : column + 40] = random.integers(0, 256, 3)
        frame = np.clip(scene + random.normal(0, 1, scene.shape), 0, 255).astype(np.uint8)
        visual = visual + 0.01 * torch.randn(tokens, WIDTH)
        seen = Embedded(visual, visual)
        other += 1
        began = time.perf_counter()
        choice = selector.select(frame, seen, tunables)
        times.append(time.perf_counter() - began)
        assert choice.reason is None
        selector.grow(choice)
        selector.commit(choice, seen, acted, adaptive=False)
    return float(np.median(times)) * 1e3
