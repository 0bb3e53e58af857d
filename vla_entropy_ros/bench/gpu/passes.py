"""What a row costs: passes of several numbers of rows, each of them timed alone."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ...engine import Observation, Policy
from ...engine.decoding.runner import Embedded, Runner
from ...engine.decoding.sequence import NO_ANSWERS, Answers, Layout, RowPlan
from ...engine.families import Model
from ...engine.observation import state_vector
from .check import BenchmarkError, Error, States, Twin, recorded, tolerance

PREFILLS = (16, 32, 64, 96, 112, 128, 160, 192, 256, 288)
EXTENSIONS = (1, 8, 16, 32, 48)
REPLAYS, WARM_UP = 30, 3

Costs = dict[str, dict[str, float]]


@torch.inference_mode()
def costs(model: Model, states: States, seen: Observation) -> Costs:
    """Median time [ms] of a pass, its plan's upload and its table's return with it, by kind and number of rows.

    A policy of its own runs them, whose later passes have as many rows as EXTENSIONS; what it can't hold is left out.
    states: of the model. BenchmarkError if a pass does not put out what an eager one does.
    """
    head = copy.copy(model.head)
    head.extensions = EXTENSIONS
    policy, twin = Policy(replace(model, head=head), graphs=True), Twin(model)
    frames, state = model.preprocess.frames(seen.images), state_vector(seen, model.state_names)
    embedded, its = policy.runner.embed_images(frames, state), twin.embed(seen)
    made: Costs = {"prefill": {}, "extension": {}}
    for kind, count, plan in _plans(model.layout, model.prompt(seen.instruction).ids):
        with recorded(policy, states) as record:
            policy.runner.run(plan, embedded)
        error, (run,), most = Error(), record.passes, tolerance(model.where)
        error.add(run.states, twin.states(run, its))
        if not error.value <= most:
            raise BenchmarkError(f"{kind} of {count} rows: off by {error.value:.3g}, at most {most:g} is rounding")
        made[kind][str(count)] = round(_median(policy.runner, plan, embedded) * 1e3, 4)
    return {kind: dict(sorted(times.items(), key=lambda each: int(each[0]))) for kind, times in made.items()}


def _plans(layout: Layout, ids: tuple[int, ...]) -> Iterator[tuple[str, int, RowPlan]]:
    """Kind, number of rows and plan of each pass; a prefill of everything comes first, so that all slots are filled."""
    for count in sorted(PREFILLS, reverse=True):
        words = min(max(len(ids), count - layout.visual), layout.text, count - 1)
        if count - words <= layout.visual:
            text = [ids[n % len(ids)] for n in range(words)]
            fresh = np.linspace(0, layout.visual - 1, count - words).round().astype(np.int64)
            yield "prefill", count, layout.prefill(fresh, text, NO_ANSWERS, False, {})
    for count in EXTENSIONS:
        if count <= layout.area:
            rows = Answers.following([ids[n % len(ids)] for n in range(count)])
            yield "extension", count, layout.answer_rows(rows, layout.slots - layout.area)


def _median(runner: Runner, plan: RowPlan, embedded: Embedded) -> float:
    """Seconds from the plan to the table; each pass ends by waiting for it."""
    times = []
    for _ in range(WARM_UP + REPLAYS):
        began = time.perf_counter()
        runner.run(plan, embedded)
        times.append(time.perf_counter() - began)
    return float(np.median(times[WARM_UP:]))
