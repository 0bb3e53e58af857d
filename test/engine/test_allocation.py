"""How much memory a tick asks for while it chooses tokens: what is large has its place from the beginning."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.resources import default_checkpoint

MOST = 48 * 1024  # bytes at once, most of them the pixels of the patches whose entropy is asked for: 588 each
WARM, TICKS, SIDE, BOX = 4, 12, 224, 42


def test_a_steady_tick_asks_for_little_memory_while_it_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, random = Policy.load(default_checkpoint()), np.random.default_rng(0)
    scene = random.integers(60, 180, (SIDE, SIDE, 3))
    kept, most = [], []

    def measured(work: Any) -> Any:
        def run(*given: Any) -> Any:
            kept.append(given)  # or the picture before would be freed, and make room
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            made = work(*given)
            most.append(tracemalloc.get_traced_memory()[1] - before)
            return made

        return run

    tracemalloc.start()
    try:
        for tick in range(WARM + TICKS):
            if tick == WARM:
                monkeypatch.setattr(policy._selector, "select", measured(policy._selector.select))
                monkeypatch.setattr(policy.model.head, "propose", measured(policy.model.head.propose))
            row = 8 * tick
            scene[row : row + BOX, row : row + BOX] = random.integers(0, 256, 3)
            frame = np.clip(scene + random.normal(0, 1, scene.shape), 0, 255).astype(np.uint8)
            result = policy.infer(Observation((frame,), "pick up the red cube", 0.1 * tick))
            assert (result.reuse.reason is None) == (tick > 0)
            policy.settle()
    finally:
        tracemalloc.stop()
    assert len(most) >= 2 * TICKS
    assert max(most) < MOST, most
