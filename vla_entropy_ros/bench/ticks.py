"""Figures drawn from the ticks of one run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..engine import Result


def times(results: Sequence[Result], stage: str) -> NDArray[np.float64]:
    """Duration of one stage in each tick [ms]."""
    return np.array([getattr(result.timings, stage) for result in results]) * 1e3


def actions(results: Sequence[Result]) -> NDArray[np.float64]:
    """First action of each tick [ticks, 7]."""
    return np.stack([result.actions[0] for result in results])


def drafted(result: Result) -> int:
    """Drafts that rode in the prefill: what later passes tried comes with one certified row each."""
    later = result.decoder_rows[1:]
    return result.drafts.tried - (sum(later) - len(later))


def skipped(results: Sequence[Result]) -> list[float]:
    """Visual tokens that each tick did not compute, mean of the layers: less than those reused where the set grows."""
    return [_skipped(result) for result in results]


def _skipped(result: Result) -> float:
    computed = result.decoder_rows[0] - drafted(result) - result.text_rows
    return max(0.0, result.reuse.visual - computed)  # a pass after a failed or first tick computes BOS, too
