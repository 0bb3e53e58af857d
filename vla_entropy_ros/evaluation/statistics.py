"""The statistics of success rates and of times."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Z95 = 1.959964  # standard normal quantile of a two-sided 95 % interval


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval (95 %) of a success rate; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[int, int, float]:
    """Pairs won by ours alone, by theirs alone, and the exact two-sided p of McNemar's test; paired in order."""
    won = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    lost = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    return won, lost, float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def paired_difference(won: int, lost: int, pairs: int) -> tuple[float, float, float]:
    """Difference of two paired rates and its 95 % interval: Agresti and Min (2005), who add half a pair to each cell.

    Without pairs nothing is known: (0, -1, 1).
    """
    if pairs == 0:
        return 0.0, -1.0, 1.0
    n, b, c = pairs + 2.0, won + 0.5, lost + 0.5
    middle, spread = (b - c) / n, Z95 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return (won - lost) / pairs, max(middle - spread, -1.0), min(middle + spread, 1.0)


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th percentile and maximum; None without values."""
    if not len(values):
        return None
    middle, high = np.percentile(values, (50, 95))
    return {"p50": round(float(middle), 2), "p95": round(float(high), 2), "max": round(float(max(values)), 2)}


def ranked(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that `percent` of all do not exceed; None without values, and where that one is infinite."""
    if not len(values):
        return None
    value = float(np.percentile(values, percent, method="inverted_cdf"))
    return value if math.isfinite(value) else None


def jerk(positions: NDArray[np.float64], period: float) -> float | None:
    """Root mean square jerk [m/s^3] of positions [T, 3] in metres, `period` seconds apart; None for less than four."""
    if len(positions) < 4:
        return None
    third = np.diff(positions, n=3, axis=0) / period**3
    return math.sqrt(float(np.square(third).sum(1).mean()))
