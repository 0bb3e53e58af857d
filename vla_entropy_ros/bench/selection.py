"""How long the choice among visual tokens takes by itself: what the `select` stage of a tick does, and no more."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from ..engine.decoding.kv_cache import Slots
from ..engine.model.llama import LlamaConfig
from ..engine.model.preprocess import patches
from ..engine.reuse.choice import choose
from ..engine.reuse.episode import Episode
from ..engine.reuse.scores import Attention
from ..engine.reuse.selection import Patches
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
    slots = Slots(
        LlamaConfig(WIDTH, 8, 1, 1, 1, vocab_size=8), tokens, 8, 3 * PATCH**2, torch.device("cpu"), torch.float32
    )
    scene = random.integers(0, 256, (1, side, side, 3)).astype(np.float32)
    visual = torch.randn(tokens, WIDTH)
    frame = scene.astype(np.uint8)
    slots.commit(np.ones(tokens, np.bool_), Patches.of(patches(frame, PATCH)), visual)
    episode, other = Episode(), np.zeros(CACHES, np.float32)
    tunables = replace(Tunables.default(tokens), mode="info_entropy")  # the mode with the most to compute
    episode.advance()
    attention = Attention(random.random((WORDS, tokens), np.float32))
    attention.score(tunables.mass_weighted)
    times = []
    for _ in range(repeats):
        row, column = random.integers(0, side - 40, 2)
        scene[0, row : row + 40, column : column + 40] = random.integers(0, 256, 3)
        frame = np.clip(scene + random.normal(0, 1, scene.shape), 0, 255).astype(np.uint8)
        visual = visual + 0.01 * torch.randn(tokens, WIDTH)
        other += 1
        began = time.perf_counter()
        now = Patches.of(patches(frame, PATCH))
        choice = choose(now, slots, attention, episode, tunables, visual)
        times.append(time.perf_counter() - began)
        assert choice.reason is None
        slots.commit(choice.selection.fresh, now, visual)
    return float(np.median(times)) * 1e3
