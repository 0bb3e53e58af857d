"""Made-up episodes for what is remembered, summed up and drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vla_entropy_ros.evaluation.records import EpisodeRecord, TickRecord
from vla_entropy_ros.stages import STAGES


def _episode(success: bool, configuration: str = "full", ticks: int = 5) -> EpisodeRecord:
    """An episode of a policy that computes half of four tokens afresh."""
    random = np.random.default_rng(0)
    made = EpisodeRecord(configuration, "pick_red", 7, "pick up the red cube", success, 0.1 * ticks)
    for number in range(ticks):
        latency = {stage: float(number + 1) for stage in STAGES}
        image = random.integers(0, 256, (32, 32, 3), np.uint8)
        codes, tool = np.array([[0, 2], [3, 0]], np.uint8), np.array([0.4, 0.0, 0.01 * number**3])
        made.ticks.append(TickRecord(0.1 * number, latency, codes, 2 + number % 2, tool, number == 0, image))
    return made


@pytest.fixture
def episode() -> Callable[..., EpisodeRecord]:
    """Makes an episode: success, name of the configuration, number of ticks."""
    return _episode
