"""One knob of the default turned at a time: what it costs, what it keeps equal; and the course of an episode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..engine import Policy
from ..engine.tunables import Tunables
from ..evaluation.configurations import DEFAULT, Configuration
from . import paired
from .configurations import BASELINE, configurations
from .measure import Run, measure, watch
from .recording import Recording
from .ticks import times

TOGETHER = "k1, k2"
FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0, 4.0)  # of both budgets' defaults together, and of k2's alone
PARTS = (0.0, 0.25, 0.5, 1.0)  # of k2, for k1: beyond it, the two change roles
ROWS = (0.0, 0.6, 0.8, 1.0, 1.4, 2.0)  # of row_budget's default
HORIZONS = (5, 20, 50, 100, 200)  # T
AGES = (2, 5, 10, 20, 50, 1000)  # max_age; the last: never too old
COURSES = (5, 200)  # T of the episode's course, beside the default's
FRESH_BECAUSE = ("changed, or everything", "visual", "attention", "both", "old", "filled up")  # Reuse.codes, from 1


@dataclass(frozen=True)
class Turn:
    """One value of one knob: `label` is what an axis shows."""

    knob: str
    label: str
    tunables: Tunables

    @property
    def name(self) -> str:
        """The configuration's."""
        return f"{self.knob} = {self.label}"


def turns(tokens: int) -> list[Turn]:
    """Every value of every knob, the default's among each knob's, in ascending order; budgets never exceed `tokens`."""
    ours = Tunables.default(tokens)
    low, high = sorted((ours.k1, ours.k2))
    pairs = [(round(factor * low), round(factor * high)) for factor in FACTORS]
    budgets = {
        "k1": _values([round(part * high) for part in PARTS], low, tokens - high),
        "k2": _values([max(low, round(factor * high)) for factor in FACTORS], high, tokens - low),
        "T": _values(HORIZONS, ours.T, max(*HORIZONS, ours.T)),
        "row_budget": _values([round(factor * ours.row_budget) for factor in ROWS], ours.row_budget, tokens),
        "max_age": _values(AGES, ours.max_age, max(*AGES, ours.max_age)),
    }
    both = [pair for pair in dict.fromkeys(pairs) if sum(pair) <= tokens]
    made = [Turn(TOGETHER, f"{k1}, {k2}", replace(ours, k1=k1, k2=k2)) for k1, k2 in both]
    alone = replace(ours, k1=low, k2=high)
    for knob, values in budgets.items():
        for value in values:
            turned: dict[str, Any] = {knob: value}
            made.append(Turn(knob, str(value), replace(alone, **turned)))
    return made


def _values(values: Sequence[int], default: int, most: int) -> list[int]:
    return sorted({min(value, most) for value in (*values, default)})


def planned(tokens: int) -> list[Configuration]:
    """What is run: full recomputation, the default, and every turn that is not the default once more."""
    ours = _in_order(Tunables.default(tokens))
    base = next(c for c in configurations(tokens) if c.name == BASELINE)
    others = [Configuration(turn.name, turn.tunables) for turn in turns(tokens) if _in_order(turn.tunables) != ours]
    return [base, Configuration(DEFAULT, ours), *others]


def _in_order(tunables: Tunables) -> Tunables:
    low, high = sorted((tunables.k1, tunables.k2))
    return replace(tunables, k1=low, k2=high)


def measure_knobs(
    policy: Policy, recordings: Sequence[Recording], progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Run `planned` over the recordings, in turn; per knob, a record per value in ascending order.

    Times in ms. equal_interval95: by bootstrap over episodes, None of one. Raises ActionError as `measure` does.
    """
    tokens = policy.info.visual_tokens
    runs = {run.configuration.name: run for run in measure(policy, recordings, planned(tokens), progress)}
    ours = _in_order(Tunables.default(tokens))
    knobs: dict[str, list[dict[str, Any]]] = {}
    for turn in turns(tokens):
        is_default = _in_order(turn.tunables) == ours
        figures = _figures(runs[DEFAULT if is_default else turn.name], runs[BASELINE])
        knobs.setdefault(turn.knob, []).append({"value": turn.label, "default": is_default, **figures})
    base = runs[BASELINE]
    return {"ticks": len(base.samples), "full": _figures(base, base), "knobs": knobs}


def _figures(run: Run, reference: Run) -> dict[str, Any]:
    same = paired.says_the_same(run, reference).astype(np.float64)
    spread = paired.interval(same, run.episodes)
    return {
        "tick_ms": round(float(np.median(times(run.samples, "total"))), 3),
        "prefill_ms": round(float(np.median(times(run.samples, "prefill"))), 3),
        "fresh_share": round(float(np.mean([sample.fresh / sample.visual for sample in run.samples])), 4),
        "equal_share": round(float(same.mean()), 4),
        "equal_interval95": None if spread is None else [round(end, 4) for end in spread],
    }


def course(policy: Policy, recording: Recording) -> list[dict[str, Any]]:
    """The ticks of one episode under the default with its T and those of COURSES, shortest first.

    Per tick: k_vis, k_attn, None where everything is fresh regardless of them, and `reason` for that; the fresh tokens
    by what made them so. Raises ActionError if no tick has a valid action.
    """
    ours = Tunables.default(policy.info.visual_tokens)
    made = []
    for horizon in sorted({*COURSES, ours.T}):
        _, results = watch(policy, recording, replace(ours, T=horizon))
        counts = np.array([np.bincount(one.reuse.codes, minlength=len(FRESH_BECAUSE) + 1)[1:] for one in results])
        records = [one.reuse for one in results]
        made.append(
            {
                "T": horizon,
                "default": horizon == ours.T,
                "k_vis": [None if record.reason else record.k_vis for record in records],
                "k_attn": [None if record.reason else record.k_attn for record in records],
                "reason": [record.reason for record in records],
                "fresh": {name: counts[:, number].tolist() for number, name in enumerate(FRESH_BECAUSE)},
            }
        )
    return made
