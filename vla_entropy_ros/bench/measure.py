"""Run recorded episodes under every configuration and sum up cost and agreement."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import ActionError, Observation, Policy, Result
from ..engine.cost import decoder_flops, paper_macs, vision_flops
from ..engine.drafts import SOURCES
from ..engine.llama import LlamaConfig
from ..engine.record import Timings
from ..engine.vision import TowerConfig
from ..runner.statistics import percentiles
from . import openvla
from .configurations import Configuration
from .recording import Recording
from .ticks import actions, drafted, times

STAGES = tuple(stage.name for stage in fields(Timings))
DIMENSIONS = ("x_m", "y_m", "z_m", "roll_rad", "pitch_rad", "yaw_rad", "gripper")


@dataclass(frozen=True)
class Shape:
    """Sizes that costs depend on."""

    llama: LlamaConfig
    towers: tuple[TowerConfig, ...]


@dataclass
class Run:
    """The ticks of one configuration, in the order of the recordings; settled: time after each [s], off the tick.

    faults: ticks in which it had no valid action; no run keeps those of any.
    """

    configuration: Configuration
    results: list[Result] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    faults: int = 0

    def tokens(self) -> NDArray[np.int64]:
        """Action tokens [ticks, 7]."""
        return np.stack([result.tokens for result in self.results])


def measure(
    policy: Policy,
    recordings: Sequence[Recording],
    configurations: Sequence[Configuration],
    repeats: int,
    progress: Callable[[], None] = lambda: None,
) -> list[Run]:
    """Every configuration sees every recording `repeats` times, in turn, so that a busy moment hits all alike.

    Raises ActionError if no tick is left that has an action in every configuration.
    """
    runs = [Run(configuration) for configuration in configurations]
    ticks: list[list[Result | None]] = [[] for _ in runs]
    for number in range(repeats):
        for recording in recordings:
            for offset in range(len(runs)):
                which = (offset + number) % len(runs)
                policy.set_tunables(runs[which].configuration.tunables)
                policy.reset()
                for image, told, stamp in zip(recording.images, recording.instructions, recording.stamps, strict=True):
                    try:
                        ticks[which].append(policy.infer(Observation((image,), told, float(stamp))))
                    except ActionError:
                        ticks[which].append(None)
                    began = time.perf_counter()
                    policy.settle()
                    runs[which].settled.append(time.perf_counter() - began)
                progress()
    whole = [tick for tick in zip(*ticks, strict=True) if None not in tick]
    if not whole:
        raise ActionError("no tick has a valid action in every configuration")
    for run, made, results in zip(runs, ticks, zip(*whole, strict=True), strict=True):
        run.results = [result for result in results if result is not None]
        run.faults = made.count(None)
    return runs


def summarise(runs: Sequence[Run], shape: Shape) -> list[dict[str, Any]]:
    """One record per run; the first run is the reference for agreement and the baseline for time."""
    reference = runs[0]
    return [_record(run, reference, shape) for run in runs]


def _record(run: Run, reference: Run, shape: Shape) -> dict[str, Any]:
    results = run.results
    visual = results[0].reuse.visual
    total = times(results, "total")
    fresh = float(np.mean([result.reuse.fresh for result in results]))
    ages = np.concatenate([result.reuse.age for result in results])
    off = np.abs(actions(results) - actions(reference.results))
    rows = np.mean([result.decoder_rows[0] - drafted(result) for result in results])
    equal = (run.tokens() == reference.tokens()).all(1)
    return {
        "name": run.configuration.name,
        "mode": run.configuration.tunables.mode,
        "drafts": run.configuration.tunables.drafts,
        "ticks": len(results),
        "faults": run.faults,
        "paper_gmacs": round(paper_macs(shape.llama, float(rows)) / 1e9, 4),
        "true_gflops": round(float(np.mean([true_flops(result, shape) for result in results])) / 1e9, 4),
        "stage_ms": {stage: round(float(np.median(times(results, stage))), 3) for stage in STAGES},
        "tick_ms": percentiles(total.tolist()),
        "settle_ms": round(float(np.median(run.settled)) * 1e3, 3),
        "speedup": round(float(np.median(times(reference.results, "total")) / np.median(total)), 3),
        "passes": round(float(np.mean([result.decoder_passes for result in results])), 3),
        "accepted_drafts": _share([(result.drafts.accepted, result.drafts.tried) for result in results]),
        "draft_acceptance": draft_acceptance(results),
        "fresh_share": round(fresh / visual, 4),
        "age_mean": round(float(ages.mean()), 3),
        "age_max": int(ages.max()),
        "equal_share": round(float(equal.mean()), 4),
        "equal_tokens": round(float((run.tokens() == reference.tokens()).mean()), 4),
        "deviation": dict(zip(DIMENSIONS, off.mean(0).round(6).tolist(), strict=True)),
        "openvla_7b": openvla.costs(results),
    }


def _share(counts: Sequence[tuple[int, int]]) -> float | None:
    part, whole = (sum(column) for column in zip(*counts, strict=True))
    return round(part / whole, 4) if whole else None


def draft_acceptance(results: Sequence[Result]) -> dict[str, Any]:
    """How drafts fared: ticks by number of passes; drafts accepted and tried per tick; by source, the share accepted.

    A draft behind the first wrong one of its pass counts as tried.
    """
    tried = Counter(source for result in results for source in result.drafts.tried_sources)
    accepted = Counter(source for result in results for source in result.drafts.sources)
    passes = Counter(result.decoder_passes for result in results)
    return {
        "passes_histogram": {str(count): passes[count] for count in sorted(passes)},
        "accepted_per_tick": round(accepted.total() / len(results), 4),
        "tried_per_tick": round(tried.total() / len(results), 4),
        "by_source": {source: _share([(accepted[source], tried[source])]) for source in SOURCES},
    }


def true_flops(result: Result, shape: Shape) -> float:
    """Operations of one tick: vision, projector, every decoder pass with its output rows."""
    llama, first = shape.llama, result.decoder_rows[0]
    riding = drafted(result)
    length = first - riding + result.reuse.reused
    prefill = decoder_flops(llama, first, length + riding, 1 + riding)
    later = sum(decoder_flops(llama, rows, length + 7, rows) for rows in result.decoder_rows[1:])
    return vision_flops(shape.towers, llama.hidden_size) + prefill + later
