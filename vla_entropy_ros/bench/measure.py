"""Run recorded episodes under every configuration and sum up cost and agreement."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import ActionError, Policy, Result
from ..engine.actions.drafts import SOURCES
from ..engine.cost import decoder_flops, paper_macs
from ..engine.model.shapes import LlamaConfig
from ..engine.policy import PROBE_IDS
from ..engine.tunables import Tunables
from ..evaluation.statistics import percentiles
from ..stages import TIMED
from . import openvla, paired
from .configurations import FORMER, PEER, Configuration
from .generate import Generate
from .recording import Recording
from .ticks import Sample, actions, drafted, equal, fresh_rows, jitter, times

TURN = 7  # configurations by which the order is turned from recording to recording
UNITS = {**dict.fromkeys(("x", "y", "z"), "m"), **dict.fromkeys(("roll", "pitch", "yaw"), "rad")}


@dataclass(frozen=True)
class CostShape:
    """What costs depend on: shape of the decoder, operations of vision; and the names of an action's dimensions.

    The decoder's vocabulary is what the head puts out per row: where it has no tokens, action dimensions.
    """

    llama: LlamaConfig
    vision_flops: int
    action_names: tuple[str, ...]

    @classmethod
    def of(cls, policy: Policy) -> CostShape:
        """That of a policy; begins a new episode where the head has no tokens: it is run to see what it puts out."""
        model, size = policy.model, policy.info.image_size
        llama = model.network.language_model.config
        if model.layout.placeholders:
            width = policy.outputs(np.zeros((size, size, 3), np.uint8), PROBE_IDS).shape[-1]
            llama = replace(llama, vocab_size=width)
        return cls(llama, model.vision_flops, model.action_names)

    @property
    def dimensions(self) -> list[str]:
        """Names of an action's dimensions with their unit, where it is known: x_m, roll_rad, gripper."""
        return [f"{name}_{UNITS[name]}" if name in UNITS else name for name in self.action_names]


@dataclass
class Run:
    """The ticks of one configuration, in the order of the recordings; settled: time after each [s], off the tick.

    episodes: number of the recording that each sample is of; faults: ticks in which it had no valid action; no run
    keeps those of any.
    """

    configuration: Configuration
    samples: list[Sample] = field(default_factory=list)
    episodes: list[int] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    faults: int = 0


def replay_recording(policy: Policy, recording: Recording, tunables: Tunables) -> Iterator[tuple[Result | None, float]]:
    """Each tick of an episode: its result, None without a valid action, and the time after it [s], off the tick."""
    policy.set_tunables(tunables)
    policy.reset()
    for observation in recording.observations():
        try:
            result = policy.infer(observation)
        except ActionError:
            result = None
        began = time.perf_counter()
        policy.settle()
        yield result, time.perf_counter() - began


def watch(policy: Policy, recording: Recording, tunables: Tunables) -> tuple[Recording, list[Result]]:
    """Results of an episode's ticks, and the episode without those that had no valid action.

    Raises ActionError if none had one.
    """
    results = [result for result, _ in replay_recording(policy, recording, tunables)]
    acted = [number for number, result in enumerate(results) if result is not None]
    if not acted:
        raise ActionError("no tick has a valid action")
    return recording.part(acted), [result for result in results if result is not None]


def measure(
    policy: Policy,
    recordings: Sequence[Recording],
    configurations: Sequence[Configuration],
    progress: Callable[[], None] = lambda: None,
    peer: Generate | None = None,
) -> list[Run]:
    """Every configuration sees every recording, in turn, so that a busy moment hits all alike.

    peer: one more run, called PEER, behind the first. Raises ActionError if no tick is left that has an action in
    every configuration.
    """
    runs = [Run(configuration) for configuration in configurations]
    if peer is not None:
        runs.insert(1, Run(Configuration(PEER, runs[0].configuration.tunables)))
    ticks: list[list[Sample | None]] = [[] for _ in runs]
    turns = list(zip(runs, ticks, strict=True))
    for number, recording in enumerate(recordings):
        first = number * TURN % len(turns)  # none is always the first, or always behind the same
        for run, made in turns[first:] + turns[:first]:
            its = peer if run.configuration.name == PEER else None
            for sample, settled in _samples(policy, recording, run.configuration.tunables, its):
                made.append(sample)
                run.settled.append(settled)
            progress()
    of = [number for number, recording in enumerate(recordings) for _ in range(len(recording))]
    acted = [None not in tick for tick in zip(*ticks, strict=True)]
    if not any(acted):
        raise ActionError("no tick has a valid action in every configuration")
    for run, made in turns:
        run.samples = [sample for sample, kept in zip(made, acted, strict=True) if sample is not None and kept]
        run.episodes = [number for number, kept in zip(of, acted, strict=True) if kept]
        run.faults = made.count(None)
    return runs


def _samples(
    policy: Policy, recording: Recording, tunables: Tunables, peer: Generate | None
) -> Iterator[tuple[Sample | None, float]]:
    """As `replay_recording`, of the peer where there is one."""
    if peer is None:
        for result, settled in replay_recording(policy, recording, tunables):
            yield None if result is None else Sample.of(result, policy.model.layout), settled
    else:
        for number, observation in enumerate(recording.observations()):
            try:
                yield peer.sample(observation, number), 0.0
            except ActionError:
                yield None, 0.0


def summarise(runs: Sequence[Run], shape: CostShape) -> list[dict[str, Any]]:
    """One record per run; the first run is the reference for agreement and the baseline for time.

    speedup_over_generate: the same against the run called PEER; against: the run paired with the one called FORMER and
    with the reference; rows: fresh visual tokens, jitter: p95 / p50 of the tick. None where there is nothing to tell.
    """
    by_name = {run.configuration.name: run for run in runs}
    peer, former = by_name.get(PEER), by_name.get(FORMER)
    return [_record(run, runs[0], peer, shape) | _spread(run, runs[0], former) for run in runs]


def _spread(run: Run, reference: Run, former: Run | None) -> dict[str, Any]:
    return {
        "rows": fresh_rows(run.samples),
        "jitter": jitter(run.samples),
        "against": {
            "former": None if former is None else paired.against(run, former, reference),
            "full": paired.against(run, reference, reference),
        },
    }


def _record(run: Run, reference: Run, peer: Run | None, shape: CostShape) -> dict[str, Any]:
    samples = run.samples
    total = times(samples, "total")
    fresh = float(np.mean([sample.fresh / sample.visual for sample in samples]))
    off = np.abs(actions(samples) - actions(reference.samples))
    rows = np.mean([sample.decoder_rows[0] - drafted(sample) for sample in samples])
    pairs = list(zip(samples, reference.samples, strict=True))
    return {
        "name": run.configuration.name,
        "mode": run.configuration.tunables.mode,
        "drafts": run.configuration.tunables.drafts,
        "ticks": len(samples),
        "faults": run.faults,
        "paper_gmacs": round(paper_macs(shape.llama, float(rows)) / 1e9, 4),
        "true_gflops": round(float(np.mean([true_flops(sample, shape) for sample in samples])) / 1e9, 4),
        "stage_ms": {stage: round(float(np.median(times(samples, stage))), 3) for stage in TIMED},
        "tick_ms": percentiles(total.tolist()),
        "settle_ms": round(float(np.median(run.settled)) * 1e3, 3),
        "speedup": _speedup(reference, total),
        "speedup_over_generate": None if peer is None else _speedup(peer, total),
        "passes": round(float(np.mean([sample.decoder_passes for sample in samples])), 3),
        "accepted_drafts": _share([(sample.drafts.accepted, sample.drafts.tried) for sample in samples]),
        "draft_acceptance": draft_acceptance(samples),
        "fresh_share": round(fresh, 4),
        "age_mean": round(float(np.mean([sample.age_mean for sample in samples])), 3),
        "age_max": max(sample.age_max for sample in samples),
        "equal_share": round(float(np.mean([equal(*pair) for pair in pairs])), 4),
        "equal_tokens": _share([_same_tokens(*pair) for pair in pairs]),
        "deviation": dict(zip(shape.dimensions, off.mean(0).round(6).tolist(), strict=True)),
        "openvla_7b": openvla.costs(samples),
    }


def _speedup(reference: Run, total: NDArray[np.float64]) -> float:
    return round(float(np.median(times(reference.samples, "total")) / np.median(total)), 3)


def _same_tokens(one: Sample, other: Sample) -> tuple[int, int]:
    """How many tokens of two ticks are the same, and how many there are."""
    return sum(mine == its for mine, its in zip(one.tokens, other.tokens, strict=True)), len(one.tokens)


def _share(counts: Sequence[tuple[int, int]]) -> float | None:
    part, whole = (sum(column) for column in zip(*counts, strict=True))
    return round(part / whole, 4) if whole else None


def draft_acceptance(samples: Sequence[Sample]) -> dict[str, Any]:
    """How drafts fared: ticks by number of passes; drafts accepted and tried per tick; by source, the share accepted.

    A draft behind the first wrong one of its pass counts as tried.
    """
    tried = Counter(source for sample in samples for source in sample.drafts.tried_sources)
    accepted = Counter(source for sample in samples for source in sample.drafts.sources)
    passes = Counter(sample.decoder_passes for sample in samples)
    return {
        "passes_histogram": {str(count): passes[count] for count in sorted(passes)},
        "accepted_per_tick": round(accepted.total() / len(samples), 4),
        "tried_per_tick": round(tried.total() / len(samples), 4),
        "by_source": {source: _share([(accepted[source], tried[source])]) for source in SOURCES},
    }


def true_flops(sample: Sample, shape: CostShape) -> float:
    """Operations of one tick: vision, projector, every decoder pass with its output rows."""
    llama, first = shape.llama, sample.decoder_rows[0]
    riding = drafted(sample)
    prefill = decoder_flops(llama, first, sample.slots + riding, sample.outputs + riding)
    later = sum(decoder_flops(llama, rows, sample.slots + len(sample.tokens), rows) for rows in sample.decoder_rows[1:])
    return shape.vision_flops + prefill + later
