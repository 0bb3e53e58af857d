"""What is remembered of a tick and of an episode, and the figures drawn from many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

STAGES = ("capture_age", "preprocess", "vision", "select", "prefill", "decode", "total")
Z95 = 1.959964  # standard normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Tick:
    """One tick: observation time [s], stage latencies [ms], and per visual token why it was computed.

    selection [rows, columns]: 0 reused, 1 fresh because it changed, 2 by image entropy, 3 by attention, 4 by both.
    image [H, W, 3]: what the policy saw, None where nobody draws it.
    """

    stamp: float
    latency: dict[str, float]
    selection: NDArray[np.uint8]
    image: NDArray[np.uint8] | None = None

    @property
    def fresh(self) -> int:
        """Visual tokens computed in this tick."""
        return int(np.count_nonzero(self.selection))

    @property
    def reused(self) -> int:
        """Visual tokens whose keys and values were kept."""
        return int(self.selection.size) - self.fresh


@dataclass
class Episode:
    """One attempt at a task: success or not, seconds until then, its ticks in order, and ticks without an action."""

    mode: str
    task: str
    seed: int
    instruction: str
    success: bool = False
    duration: float = 0.0
    faults: int = 0
    ticks: list[Tick] = field(default_factory=list)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval (95 %) of a success rate; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    rate, spread = successes / trials, Z95**2 / trials
    middle = rate + spread / 2
    half = Z95 * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th percentile and maximum; None without values."""
    if not values:
        return None
    middle, high = np.percentile(values, (50, 95))
    return {"p50": round(float(middle), 2), "p95": round(float(high), 2), "max": round(float(max(values)), 2)}


def fresh_share(ticks: Iterable[Tick]) -> float | None:
    """Share of visual tokens that were computed; None without ticks."""
    counts = [(tick.fresh, tick.selection.size) for tick in ticks]
    return round(sum(fresh for fresh, _ in counts) / sum(size for _, size in counts), 4) if counts else None


def episode_record(episode: Episode) -> dict[str, Any]:
    """One episode for a JSON file."""
    return {
        "mode": episode.mode,
        "task": episode.task,
        "seed": episode.seed,
        "instruction": episode.instruction,
        "success": episode.success,
        "duration_s": round(episode.duration, 2),
        "ticks": len(episode.ticks),
        "faults": episode.faults,
        "tick_ms": percentiles([tick.latency["total"] for tick in episode.ticks]),
        "fresh_share": fresh_share(episode.ticks),
    }


def mode_record(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Figures of all episodes of one mode."""
    successes = sum(episode.success for episode in episodes)
    low, high = wilson(successes, len(episodes))
    ticks = [tick for episode in episodes for tick in episode.ticks]
    stages = [stage for stage in STAGES if all(stage in tick.latency for tick in ticks)]
    return {
        "episodes": len(episodes),
        "successes": successes,
        "success_rate": round(successes / len(episodes), 4) if episodes else None,
        "interval95": [round(low, 4), round(high, 4)],
        "seconds_to_success": percentiles([episode.duration for episode in episodes if episode.success]),
        "ticks": len(ticks),
        "faults": sum(episode.faults for episode in episodes),
        "latency_ms": {stage: percentiles([tick.latency[stage] for tick in ticks]) for stage in stages},
        "fresh_share": fresh_share(ticks),
    }


def summary(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Figures per mode and the list of episodes."""
    modes = list(dict.fromkeys(episode.mode for episode in episodes))
    return {
        "modes": {mode: mode_record([e for e in episodes if e.mode == mode]) for mode in modes},
        "episodes": [episode_record(episode) for episode in episodes],
    }
