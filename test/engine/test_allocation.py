"""How much memory a tick asks for while it chooses tokens: what is large has its place from the beginning."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

from vla_entropy_ros.engine import Observation, Policy
from vla_entropy_ros.engine.model.compiled.library import find_all
from vla_entropy_ros.resources import default_checkpoint

MOST = 48 * 1024  # bytes at once, most of them the pixels of the patches whose entropy is asked for: 588 each
WHOLE, TORCHS = 192 * 1024, 4 * 1024  # bytes of a tick: a table of logits takes most of it; nothing of torch's
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


@pytest.mark.skipif(not find_all(), reason="the compiled stack was not built, or this processor can't run it")
def test_a_steady_tick_asks_for_no_large_buffer() -> None:
    """NumPy's memory at once in a whole tick, and all that torch takes in one."""
    policy, random, most = Policy.load(default_checkpoint()), np.random.default_rng(0), []
    scene, seen = random.integers(60, 180, (SIDE, SIDE, 3)), []
    for tick in range(WARM + 2 * TICKS):
        row = 8 * (tick % TICKS)
        scene[row : row + BOX, row : row + BOX] = random.integers(0, 256, 3)
        frame = np.clip(scene + random.normal(0, 1, scene.shape), 0, 255).astype(np.uint8)
        seen.append(Observation((frame,), "pick up the red cube", 0.1 * tick))
    for observation in seen[:WARM]:
        policy.infer(observation)
        policy.settle()
    for observation in seen[WARM : WARM + TICKS]:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as told:
            policy.infer(observation)
        policy.settle()
        assert sum(max(0, event.cpu_memory_usage) for event in told.events()) <= TORCHS
    tracemalloc.start()
    try:
        for observation in seen[WARM + TICKS :]:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            policy.infer(observation)
            most.append(tracemalloc.get_traced_memory()[1] - before)
            policy.settle()
    finally:
        tracemalloc.stop()
    assert max(most) < WHOLE, most
