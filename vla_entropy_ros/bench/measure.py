"""Run recorded episodes under every configuration and sum up cost and agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Observation, Policy, Result
from ..engine.cost import decoder_flops, paper_macs, vision_flops
from ..engine.llama import LlamaConfig
from ..engine.record import Timings
from ..engine.vision import TowerConfig
from .configurations import Configuration
from .recording import Recording

STAGES = tuple(stage.name for stage in fields(Timings))
OPENVLA = LlamaConfig()  # Llama-2-7B
OPENVLA_TOWERS = (
    TowerConfig(224, 1024, 23, 16, 4096, 14, class_token=True, registers=4, layer_scale=True),
    TowerConfig(224, 1152, 26, 16, 4304, 14),
)
OPENVLA_TOKENS, OPENVLA_ROWS = 256, 284.525  # visual tokens; prefill rows on average over LIBERO's 40 instructions


@dataclass(frozen=True)
class Shape:
    """Sizes that costs depend on."""

    llama: LlamaConfig
    towers: tuple[TowerConfig, ...]


@dataclass
class Run:
    """All ticks of one configuration, in the order of the recordings."""

    configuration: Configuration
    results: list[Result] = field(default_factory=list)

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
    """Every configuration sees every recording `repeats` times, in turn, so that a busy moment hits all alike."""
    runs = [Run(configuration) for configuration in configurations]
    for number in range(repeats):
        for recording in recordings:
            for offset in range(len(runs)):
                run = runs[(offset + number) % len(runs)]
                policy.set_tunables(run.configuration.tunables)
                policy.reset()
                for image, stamp in zip(recording.images, recording.stamps, strict=True):
                    run.results.append(policy.infer(Observation((image,), recording.instruction, float(stamp))))
                    policy.settle()
                progress()
    return runs


def summarise(runs: Sequence[Run], shape: Shape) -> list[dict[str, Any]]:
    """One record per run; the first run is the reference for agreement and the baseline for time."""
    reference = runs[0]
    return [_record(run, reference, shape) for run in runs]


def _record(run: Run, reference: Run, shape: Shape) -> dict[str, Any]:
    results = run.results
    visual = results[0].reuse.visual
    total = _times(results, "total")
    fresh = float(np.mean([result.reuse.fresh for result in results]))
    ages = np.concatenate([result.reuse.age for result in results])
    off = np.abs(_actions(results) - _actions(reference.results))
    rows = np.mean([result.decoder_rows[0] - _drafted(result) for result in results])
    equal = (run.tokens() == reference.tokens()).all(1)
    return {
        "name": run.configuration.name,
        "mode": run.configuration.tunables.mode,
        "drafts": run.configuration.tunables.drafts,
        "ticks": len(results),
        "paper_gmacs": round(paper_macs(shape.llama, float(rows)) / 1e9, 4),
        "true_gflops": round(float(np.mean([true_flops(result, shape) for result in results])) / 1e9, 4),
        "stage_ms": {stage: round(float(np.median(_times(results, stage))), 3) for stage in STAGES},
        "tick_ms": {
            "p50": round(float(np.median(total)), 3),
            "p95": round(float(np.percentile(total, 95)), 3),
            "max": round(float(total.max()), 3),
        },
        "speedup": round(float(np.median(_times(reference.results, "total")) / np.median(total)), 3),
        "passes": round(float(np.mean([result.decoder_passes for result in results])), 3),
        "accepted_drafts": _share([(result.drafts.accepted, result.drafts.tried) for result in results]),
        "fresh_share": round(fresh / visual, 4),
        "age_mean": round(float(ages.mean()), 3),
        "age_max": int(ages.max()),
        "equal_share": round(float(equal.mean()), 4),
        "equal_tokens": round(float((run.tokens() == reference.tokens()).mean()), 4),
        "deviation": dict(zip(DIMENSIONS, off.mean(0).round(6).tolist(), strict=True)),
        "openvla_7b": openvla(results),
    }


DIMENSIONS = ("x_m", "y_m", "z_m", "roll_rad", "pitch_rad", "yaw_rad", "gripper")


def _times(results: Sequence[Result], stage: str) -> NDArray[np.float64]:
    return np.array([getattr(result.timings, stage) for result in results]) * 1e3


def _actions(results: Sequence[Result]) -> NDArray[np.float64]:
    return np.stack([result.actions[0] for result in results])


def _share(counts: Sequence[tuple[int, int]]) -> float | None:
    part, whole = (sum(column) for column in zip(*counts, strict=True))
    return round(part / whole, 4) if whole else None


def _drafted(result: Result) -> int:
    """Drafts that rode in the prefill: what later passes tried comes with one certified row each."""
    later = result.decoder_rows[1:]
    return result.drafts.tried - (sum(later) - len(later))


def _skipped(results: Sequence[Result]) -> list[float]:
    """Visual tokens that each tick did not compute, mean of the layers: less than those reused where the set grows."""
    skipped: list[float] = []
    text = 0
    for result in results:
        rows, visual = result.decoder_rows[0] - _drafted(result), result.reuse.visual
        if result.tick == 0:
            text = rows - visual - 1  # the first tick computes BOS and everything
        skipped.append(visual - (rows - text - (result.tick == 0)))
    return skipped


def true_flops(result: Result, shape: Shape) -> float:
    """Operations of one tick: vision, projector, every decoder pass with its output rows."""
    llama, first = shape.llama, result.decoder_rows[0]
    drafted = _drafted(result)
    length = first - drafted + result.reuse.reused
    prefill = decoder_flops(llama, first, length + drafted, 1 + drafted)
    later = sum(decoder_flops(llama, rows, length + 7, rows) for rows in result.decoder_rows[1:])
    return vision_flops(shape.towers, llama.hidden_size) + prefill + later


def openvla(results: Sequence[Result]) -> dict[str, float]:
    """Costs at OpenVLA-7B's shape with this run's shares of reuse and passes: formulas, nothing is run.

    paper_tmacs: the paper's figure; true_tflops: vision, prefill with drafts, later passes.
    """
    skipped = float(np.mean(_skipped(results))) / results[0].reuse.visual * OPENVLA_TOKENS
    drafted = float(np.mean([_drafted(result) for result in results]))
    passes = float(np.mean([result.decoder_passes for result in results]))
    later = float(np.mean([sum(result.decoder_rows[1:]) for result in results]))
    rows = OPENVLA_ROWS - skipped
    prefill = decoder_flops(OPENVLA, round(rows + drafted), round(OPENVLA_ROWS), round(1 + drafted))
    decode = decoder_flops(OPENVLA, 1, round(OPENVLA_ROWS + 4), 1) * later
    vision = vision_flops(OPENVLA_TOWERS, OPENVLA.hidden_size)
    return {
        "paper_tmacs": round(paper_macs(OPENVLA, rows) / 1e12, 4),
        "true_tflops": round((vision + prefill + decode) / 1e12, 4),
        "passes": round(passes, 3),
    }
