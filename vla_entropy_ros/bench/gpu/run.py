"""The rows of the device's benchmark: transformers' `generate`, then one thing of ours after the other."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ...engine import Observation, Policy, Timings
from ...engine.actions.drafts import Match
from ...engine.actions.token_head import TokenHead
from ...engine.device import GB, Placement
from ...engine.tunables import Tunables
from ...evaluation.stages import PARTS
from ..generate import Generate
from . import roofline
from .replay import chance_match
from .shapes import Shape, moving, random_policy

BASELINE, STATIC, ONE_PASS = "transformers generate", "static cache, graphs", "one pass"
ROWS = (
    BASELINE, STATIC, "+ partial prefill", "+ drafts", ONE_PASS,
    "8 bits: static cache, graphs", "8 bits: + drafts", "8 bits: one pass",
)  # fmt: skip


@dataclass(frozen=True)
class TimedTick:
    """One timed tick: token ids, times [s], decoder passes, share of fresh tokens, mean age [ticks]."""

    tokens: tuple[int, ...]
    timings: Timings
    passes: int
    fresh: float
    age: float


@dataclass(frozen=True)
class Plan:
    """What is measured: shape, device, dtype, ticks timed after a warm-up, chance that a draft holds."""

    shape: Shape
    device: torch.device
    dtype: torch.dtype
    ticks: int
    warm_up: int
    share: float
    graphs: bool


def measure_rows(plan: Plan, progress: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Measure all ROWS; DeviceError if the device has too little memory."""
    line = roofline.measure_roofline(plan.device, plan.dtype)
    rows: dict[str, dict[str, Any]] = {}
    ticks: dict[str, list[TimedTick]] = {}
    memory: dict[str, Any] = {}
    reset_peak(plan.device)
    policy, network = random_policy(plan.shape, Placement(plan.device, plan.dtype), plan.graphs)
    fixed = policy.fixed_shapes
    floor = roofline.one_pass(line, plan.shape, _rows(plan, policy), *weights(network))
    for name, run in _plain_rows(policy, plan.share):
        ticks[name] = _timed(plan, run)
        rows[name] = row_figures(ticks[name])
        progress()
    memory["16 or 32 bits"] = peak(plan.device)
    del policy, network, run
    gc.collect()
    reset_peak(plan.device)
    policy, network = random_policy(plan.shape, Placement(plan.device, plan.dtype, "int8"), plan.graphs)
    floor_8 = roofline.one_pass(line, plan.shape, _rows(plan, policy), *weights(network))
    for name, run in _rows_in_8_bits(policy, plan.share):
        rows[name] = row_figures(_timed(plan, run))
        progress()
    memory["8 bits"] = peak(plan.device)
    return {
        "bandwidth_tb_s": round(line.bandwidth / 1e12, 3), "product_tflop_s": round(line.rate / 1e12, 2),
        "one_pass_floor_ms": floor, "one_pass_floor_8_bits_ms": floor_8,
        "peak_memory_gb": memory, "fixed_shapes": fixed, "captured": fixed and plan.device.type == "cuda",
        "rows": rows, "ratios": ratios(rows, floor), "generate_agrees": agreement(ticks[BASELINE], ticks[STATIC]),
    }  # fmt: skip


def _plain_rows(policy: Policy, share: float) -> Iterator[tuple[str, Callable[[Observation], TimedTick]]]:
    yield BASELINE, _generated(Generate(policy))
    full = replace(_tunables(policy), mode="full", drafts="off")
    yield STATIC, _ticks(policy, full)
    yield ROWS[2], _ticks(policy, replace(_tunables(policy), drafts="off"))
    yield ROWS[3], _ticks(policy, _tunables(policy), chance_match(share))
    yield ONE_PASS, _ticks(policy, _tunables(policy), lambda *_: True)


def _generated(peer: Generate) -> Callable[[Observation], TimedTick]:
    def tick(observation: Observation) -> TimedTick:
        made = peer.tick(observation)
        return TimedTick(made.tokens, made.timings, len(made.tokens), 1.0, 0.0)

    return tick


def _rows_in_8_bits(policy: Policy, share: float) -> Iterator[tuple[str, Callable[[Observation], TimedTick]]]:
    yield ROWS[5], _ticks(policy, replace(_tunables(policy), mode="full", drafts="off"))
    yield ROWS[6], _ticks(policy, _tunables(policy), chance_match(share))
    yield ROWS[7], _ticks(policy, _tunables(policy), lambda *_: True)


def _tunables(policy: Policy) -> Tunables:
    """Our defaults; no second look at near ties, which random weights have by chance."""
    return replace(policy.fitting(Tunables.default(policy.info.visual_tokens)), draft_margin=0.0)


def _ticks(policy: Policy, tunables: Tunables, match: Match | None = None) -> Callable[[Observation], TimedTick]:
    policy.set_tunables(tunables)
    policy.reset()
    assert isinstance(policy.model.head, TokenHead)
    policy.model.head.match = match

    def tick(observation: Observation) -> TimedTick:
        result = policy.infer(observation)
        policy.settle()  # off the critical path: the action is out
        reuse = result.reuse
        fresh, age, tokens = reuse.fresh / reuse.visual, float(reuse.age.mean()), tuple(result.tokens.tolist())
        return TimedTick(tokens, result.timings, result.decoder_passes, fresh, age)

    return tick


def _timed(plan: Plan, run: Callable[[Observation], TimedTick]) -> list[TimedTick]:
    scene = list(moving(plan.shape.towers[0].image_size, plan.warm_up + plan.ticks))
    gc.collect()
    gc.freeze()  # the collector need not walk the network in the middle of a tick
    try:
        return [run(seen) for seen in scene][plan.warm_up :]
    finally:
        gc.unfreeze()


def row_figures(ticks: list[TimedTick]) -> dict[str, Any]:
    """Times [ms] and means of one row."""
    total = np.array([tick.timings.total for tick in ticks]) * 1e3
    p50, p95 = np.percentile(total, (50, 95))
    stages = {name: round(float(np.median([getattr(t.timings, name) for t in ticks])) * 1e3, 3) for name in PARTS}
    return {
        "ticks": len(ticks),
        "tick_ms": {"mean": round(float(total.mean()), 3), "p50": round(float(p50), 3), "p95": round(float(p95), 3),
                    "max": round(float(total.max()), 3)},
        "p95_to_p50": round(float(p95 / p50), 3),
        "hz": round(1e3 / float(total.mean()), 1),
        "stage_ms": stages,
        "passes": round(float(np.mean([tick.passes for tick in ticks])), 3),
        "fresh_share": round(float(np.mean([tick.fresh for tick in ticks])), 4),
        "age_mean": round(float(np.mean([tick.age for tick in ticks])), 3),
    }  # fmt: skip


def ratios(rows: dict[str, dict[str, Any]], floor: dict[str, float]) -> dict[str, float]:
    """Mean ticks of the baselines over ours, and of one pass over the roofline."""
    mean = {name: row["tick_ms"]["mean"] for name, row in rows.items()}
    return {
        "generate / ours": round(mean[BASELINE] / mean[ROWS[3]], 3),
        "static graphs / ours": round(mean[STATIC] / mean[ROWS[3]], 3),
        "generate / ours in 8 bits": round(mean[BASELINE] / mean[ROWS[6]], 3),
        "static graphs / ours in 8 bits": round(mean[STATIC] / mean[ROWS[6]], 3),
        "one pass / roofline": round(mean[ONE_PASS] / floor["total"], 3),
    }


def agreement(one: list[TimedTick], other: list[TimedTick]) -> dict[str, float]:
    """Share of the ticks in which two rows with the same weights put out the same tokens, and of the tokens."""
    pairs = [(mine.tokens, its.tokens) for mine, its in zip(one, other, strict=True)]
    same = [a == b for mine, its in pairs for a, b in itertools.zip_longest(mine, its)]
    return {
        "ticks": round(float(np.mean([mine == its for mine, its in pairs])), 4),
        "tokens": round(float(np.mean(same)), 4),
    }


def weights(network: nn.Module) -> tuple[int, int]:
    """Bytes of weights that vision with the projector, and a decoder pass, read."""
    sizes = {True: 0, False: 0}
    for name, tensor in network.state_dict().items():
        if "embed_tokens" not in name:  # a pass reads a few of its rows
            sizes[name.startswith("language_model")] += tensor.nbytes
    return sizes[False], sizes[True]


def _rows(plan: Plan, policy: Policy) -> int:
    """Rows of a prefill in our defaults: budget, text and drafts."""
    return min(_tunables(policy).row_budget, plan.shape.visual) + plan.shape.prompt + 6


def reset_peak(device: torch.device) -> None:
    """Forget the device memory used so far."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> float | None:
    """Most device memory [GB] that torch held since then; None without a GPU."""
    return round(torch.cuda.max_memory_reserved(device) / GB, 2) if device.type == "cuda" else None
