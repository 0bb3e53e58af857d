"""Two configurations over the same ticks: how far apart they are, and how sure that is.

Ticks of one episode resemble each other, so intervals draw whole episodes (bootstrap), not ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.statistics import mcnemar
from .ticks import Sample, equal

if TYPE_CHECKING:  # `measure` sums up with this
    from .measure import Run

DRAWS, SEED = 2000, 0
Interval = tuple[float, float]


def says_the_same(run: Run, reference: Run) -> NDArray[np.bool_]:
    """Ticks [T] in which a run says what the reference says."""
    return np.array([equal(*pair) for pair in zip(run.samples, reference.samples, strict=True)], np.bool_)


def interval(values: NDArray[np.float64], episodes: Sequence[int]) -> Interval | None:
    """95 % interval of the mean of `values` [T] by bootstrap over their episodes [T]; None of fewer than two."""
    numbers, where = np.unique(np.asarray(episodes), return_inverse=True)
    if len(numbers) < 2:
        return None
    sums, counts = np.bincount(where, values), np.bincount(where)
    drawn = np.random.default_rng(SEED).integers(0, len(numbers), (DRAWS, len(numbers)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), (2.5, 97.5))
    return float(low), float(high)


def against(run: Run, other: Run, reference: Run) -> dict[str, Any]:
    """A run against another, tick by tick; both are measured by the reference.

    difference_points: of the shares of equal ticks [percentage points], with its 95 % interval, None of one episode;
    won: ticks equal in the run alone, lost: in the other alone; p: McNemar's exact test, which takes ticks for
    independent; fresh_points: difference of the fresh shares.
    """
    mine, its = says_the_same(run, reference), says_the_same(other, reference)
    apart = mine.astype(np.float64) - its
    spread = interval(100 * apart, run.episodes)
    won, lost, p = mcnemar(mine.tolist(), its.tolist())
    return {
        "difference_points": round(float(100 * apart.mean()), 2),
        "interval95": None if spread is None else [round(end, 2) for end in spread],
        "won": won,
        "lost": lost,
        "p": float(f"{p:.3g}"),
        "fresh_points": round(100 * (_fresh(run.samples) - _fresh(other.samples)), 2),
    }


def _fresh(samples: Sequence[Sample]) -> float:
    return float(np.mean([sample.fresh / sample.visual for sample in samples]))
