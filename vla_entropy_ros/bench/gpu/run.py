"""Measure the rows, one set of weights after the other; what is known is handed on as it comes."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...engine import Observation, Policy
from ...engine.actions.drafts import Match
from ...engine.actions.token_head import TokenHead
from ...engine.device import GB, Placement
from ...engine.families import Model
from ...engine.tunables import Tunables
from ..generate import Generate
from . import launches, parts, passes, roofline
from .check import TICKS, BenchmarkError, States, Twin, compare, wrong
from .figures import TimedTick, row_figures
from .rows import ROWS, Row, by_policy, by_weights
from .shapes import Shape, moving, random_model

Found = dict[str, Any]  # a part of gpu.json
Tick = Callable[[Observation], TimedTick]


@dataclass(frozen=True)
class Plan:
    """What is measured: shape, device, dtype, ticks timed after a warm-up, table of rows.

    drafts: for a quantisation, "share_that_holds" of drafts and where it comes from.
    """

    shape: Shape
    device: torch.device
    dtype: torch.dtype
    ticks: int
    warm_up: int
    drafts: Callable[[str], Found]
    rows: tuple[Row, ...] = ROWS


class Bench:
    """One run of the plan: every row sees the same images."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._scene = list(moving(plan.warm_up + max(plan.ticks, TICKS)))
        self._share = 0.0  # chance that a draft holds, with the weights that are there

    def measure(self) -> Iterator[Found]:
        """Parts of gpu.json, to be merged.

        Raises DeviceError if the device has too little memory, BenchmarkError if graphs were not captured. "failed"
        names the rows that do not compute what an eager policy does; one that computes nothing is not timed.
        """
        plan = self._plan
        line = roofline.measure_roofline(plan.device, plan.dtype)
        yield {"bandwidth_tb_s": round(line.bandwidth / 1e12, 3), "product_tflop_s": round(line.rate / 1e12, 2)}
        for quantisation, rows in by_weights(plan.rows):
            drafts = plan.drafts(quantisation)
            yield {"drafts": drafts if quantisation == "none" else {quantisation: drafts}}
            self._share = float(drafts["share_that_holds"])
            gc.collect()  # what is left of the weights before
            reset_peak(plan.device)
            model, network = random_model(plan.shape, Placement(plan.device, plan.dtype, quantisation))
            states = States(model)
            for switches, served in by_policy(rows):
                policy = captured_policy(model, served[0].name, **switches)
                yield from self._policy(policy, states, served)
                del policy
            rows_of_one, rate = roofline.rows_of_one(plan.shape), roofline.RATES[quantisation]
            floor = roofline.one_pass(line, plan.shape, rows_of_one, *weights(network), rate)
            yield {"one_pass_floor_ms": {quantisation: floor}}
            yield {"passes_ms": {quantisation: passes.costs(model, states, self._scene[0])}}
            yield {"parts_us": {quantisation: parts.parts(model)}}
            del model, network, states

    def _policy(self, policy: Policy, states: States, rows: list[Row]) -> Iterator[Found]:
        """Every row that this policy serves."""
        device, first, chooses = self._plan.device, rows[0], policy.runner.chooses
        memory = {"loading": peak(device), "reserved": reserved(device)}
        yield {"memory_gb": {" ".join([first.quantisation, *first.switches]): memory}}
        for row in rows:
            tunables = row.tunables(defaults(policy))
            policy.runner.chooses = chooses and row.chooses
            try:
                found = self._checked(row, policy, states, tunables)
            except BenchmarkError as error:
                yield {"failed": {row.name: str(error)}}
                continue
            if cause := wrong(found, policy.model.where):
                yield {"failed": {row.name: cause}}
            reset_peak(device)
            ticks = self._timed(row, policy, tunables)
            found |= {"peak_memory_gb": peak(device)}
            if row.profiled:
                prepare(policy, tunables, row.match(self._share))
                seen = self._scene[0]
                found |= {"launches": launches.stages(policy, seen) | {"select": launches.selection(policy, seen)}}
                yield {"profile": {row.name: launches.profile(policy, self._scene[:TICKS])}}
            yield {"rows": {row.name: row_figures(ticks) | found}}

    def _checked(self, row: Row, policy: Policy, states: States, tunables: Tunables) -> Found:
        """Equal tokens and errors against an eager twin; BenchmarkError where there is no number."""
        twin, scene = Twin(policy.model), self._scene[:TICKS]
        if row.peer:
            return {"equal_tokens": _equal_to_generate(twin, Generate(policy), scene), "logit_error": None}
        found = compare(policy, states, twin, scene, tunables)
        head = policy.model.head
        assert isinstance(head, TokenHead)
        return {**found.figures(), "draft_margin": round(head.margin, 5)}

    def _timed(self, row: Row, policy: Policy, tunables: Tunables) -> list[TimedTick]:
        plan = self._plan
        if row.peer:
            tick = _generated(Generate(policy))
        else:
            prepare(policy, tunables, row.match(self._share))
            tick = _ours(policy, plan.device)
        gc.collect()
        gc.freeze()  # the collector need not walk the network in the middle of a tick
        try:
            return [tick(seen) for seen in self._scene[: plan.warm_up + plan.ticks]][plan.warm_up :]
        finally:
            gc.unfreeze()


def captured_policy(model: Model, name: str, **switches: bool) -> Policy:
    """A policy of fixed shapes; BenchmarkError with that name unless they are captured where there is CUDA."""
    policy = Policy(model, graphs=True, **switches)  # type: ignore[arg-type]
    if not policy.fixed_shapes or (model.where.device.type == "cuda" and not policy.runner.captured):
        raise BenchmarkError(f"{name}: its graphs were not captured (a warning says why): nothing is timed")
    return policy


def defaults(policy: Policy) -> Tunables:
    """What a user's policy runs with, the margin of second looks among it."""
    return policy.fitting(Tunables.default(policy.info.visual_tokens))


def prepare(policy: Policy, tunables: Tunables, match: Match | None) -> None:
    """Begin a new episode with those tunables and that rule of when a draft counts."""
    head = policy.model.head
    assert isinstance(head, TokenHead)
    head.match = match
    policy.set_tunables(tunables)
    policy.reset()


def _ours(policy: Policy, device: torch.device) -> Tick:
    def tick(observation: Observation) -> TimedTick:
        began = time.perf_counter()
        result = policy.infer(observation)
        policy.settle()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        period = time.perf_counter() - began
        reuse = result.reuse
        fresh, age = reuse.fresh / reuse.visual, float(reuse.age.mean())
        return TimedTick(result.timings, period, result.decoder_passes, fresh, age)

    return tick


def _generated(peer: Generate) -> Tick:
    def tick(observation: Observation) -> TimedTick:
        made = peer.tick(observation)
        return TimedTick(made.timings, made.timings.total, len(made.tokens), 1.0, 0.0)

    return tick


@torch.inference_mode()
def _equal_to_generate(twin: Twin, peer: Generate, scene: list[Observation]) -> float:
    """Share of our tokens, of plain decoding with everything recomputed, that are its own."""
    everything = np.arange(twin.model.layout.visual)
    same: list[bool] = []
    for seen in scene:
        ours, its = twin.tokens(twin.embed(seen), seen.instruction, everything, start=True), peer.tick(seen).tokens
        same += [token == its[number] if number < len(its) else False for number, token in enumerate(ours)]
    return round(float(np.mean(same)), 4)


def weights(network: nn.Module) -> tuple[int, int]:
    """Bytes of weights that vision with the projector, and a decoder pass, read."""
    sizes = {True: 0, False: 0}
    for name, tensor in network.state_dict().items():
        if "embed_tokens" not in name:  # a pass reads a few of its rows
            sizes[name.startswith("language_model")] += tensor.nbytes
    return sizes[False], sizes[True]


def reset_peak(device: torch.device) -> None:
    """Forget the device memory used so far."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> float | None:
    """Most device memory [GB] that tensors took since then; None without a GPU."""
    return round(torch.cuda.max_memory_allocated(device) / GB, 2) if device.type == "cuda" else None


def reserved(device: torch.device) -> float | None:
    """Device memory [GB] that torch holds, that of captured graphs with it; None without a GPU."""
    return round(torch.cuda.memory_reserved(device) / GB, 2) if device.type == "cuda" else None
