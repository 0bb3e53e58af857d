"""Figures of the ticks of a row, and of rows against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine import Timings
from ...stages import PARTS
from .rows import BOUNDS, RATIOS


@dataclass(frozen=True)
class TimedTick:
    """One timed tick: its stages, and how long until the next may begin [s]; passes, fresh share, mean age [ticks]."""

    timings: Timings
    period: float
    passes: int
    fresh: float
    age: float


def row_figures(ticks: Sequence[TimedTick]) -> dict[str, Any]:
    """Latency (image in to action out), period (until the device is free again) [ms] and means of one row."""
    latency = spread([tick.timings.total for tick in ticks])
    period = spread([tick.period for tick in ticks])
    stages = {name: round(float(np.median([getattr(t.timings, name) for t in ticks])) * 1e3, 3) for name in PARTS}
    return {
        "ticks": len(ticks),
        "latency_ms": latency,
        "period_ms": period,
        "p95_to_p50": round(latency["p95"] / latency["p50"], 3),
        "hz": round(1e3 / period["mean"], 1),
        "stage_ms": stages,
        "passes": round(float(np.mean([tick.passes for tick in ticks])), 3),
        "fresh_share": round(float(np.mean([tick.fresh for tick in ticks])), 4),
        "age_mean": round(float(np.mean([tick.age for tick in ticks])), 3),
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Mean, percentiles and largest [ms]."""
    times = np.array(seconds) * 1e3
    p50, p95 = np.percentile(times, (50, 95))
    made = {"mean": times.mean(), "p50": p50, "p95": p95, "max": times.max()}
    return {name: round(float(value), 3) for name, value in made.items()}


def ratios(content: dict[str, Any]) -> dict[str, float]:
    """Mean latencies against each other, and of one pass over its roofline: of the rows that are there and right."""
    right = {name: row for name, row in content["rows"].items() if name not in content["failed"]}
    mean = {name: row["latency_ms"]["mean"] for name, row in right.items()}
    floors = content["one_pass_floor_ms"]
    made = {name: mean[a] / mean[b] for name, (a, b) in RATIOS.items() if a in mean and b in mean}
    for quantisation, row in BOUNDS.items():
        if quantisation in floors and row in mean:
            made[f"{row} / roofline"] = mean[row] / floors[quantisation]["total"]
    return {name: round(value, 3) for name, value in made.items()}
