"""An episode boiled down to a line of JSON, and the figures drawn from many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sim import FAMILIES, TASKS
from .records import EpisodeRecord, ages
from .stages import STAGES
from .statistics import jerk, mcnemar, percentiles, wilson

REFERENCES = ("full", "plain")  # what the others are compared with: the first that is there; their actions are the same


@dataclass(frozen=True)
class Outcome:
    """One episode without its pictures.

    duration [s]; latency: milliseconds of every tick by stage; passes of every tick; age in ticks; jerk [m/s^3];
    target_reused: share of the ticks in which the token that shows the cube in question was not computed.
    """

    configuration: str
    task: str
    seed: int
    instruction: str
    success: bool
    duration: float
    ticks: int
    faults: int
    latency: dict[str, list[float]]
    passes: list[int]
    fresh_share: float | None
    age_mean: float | None
    age_max: int | None
    jerk: float | None
    target_reused: float | None

    @property
    def family(self) -> str:
        """Family of the task."""
        return TASKS[self.task].family

    @property
    def scene(self) -> tuple[str, int]:
        """Task and seed: the same for paired episodes."""
        return self.task, self.seed


def outcome(episode: EpisodeRecord, period: float) -> Outcome:
    """Sum up `episode`, whose ticks are `period` seconds apart."""
    ticks = episode.ticks
    age = ages(ticks)
    reused = [tick.target_reused for tick in ticks if tick.target_reused is not None]
    stages = [stage for stage in STAGES if all(stage in tick.latency for tick in ticks)]
    swing = jerk(np.array([tick.tool for tick in ticks]), period)
    return Outcome(
        configuration=episode.configuration,
        task=episode.task,
        seed=episode.seed,
        instruction=episode.instruction,
        success=episode.success,
        duration=round(episode.duration, 2),
        ticks=len(ticks),
        faults=episode.faults,
        latency={stage: [round(tick.latency[stage], 2) for tick in ticks] for stage in stages},
        passes=[tick.passes for tick in ticks],
        fresh_share=_mean([tick.fresh / tick.selection.size for tick in ticks]),
        age_mean=_mean(age.ravel()),
        age_max=int(age.max()) if age.size else None,
        jerk=None if swing is None else round(swing, 3),
        target_reused=_mean(reused),
    )


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of every configuration, in all and by family, and a short line per episode."""
    names = list(dict.fromkeys(o.configuration for o in outcomes))
    by_name = {name: [o for o in outcomes if o.configuration == name] for name in names}
    reference = next((by_name[name] for name in REFERENCES if name in by_name), [])
    families = [family for family in FAMILIES if any(o.family == family for o in outcomes)]
    return {
        "configurations": {
            name: {
                **_figures(mine),
                "families": {f: _figures([o for o in mine if o.family == f]) for f in families},
                "against_full": _paired(mine, reference, families),
            }
            for name, mine in by_name.items()
        },
        "episodes": [_line(o) for o in outcomes],
    }


def _figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of some episodes of one configuration; times in milliseconds, durations in seconds."""
    successes = sum(o.success for o in outcomes)
    low, high = wilson(successes, len(outcomes))
    stages = [stage for stage in STAGES if all(stage in o.latency for o in outcomes)]
    return {
        "episodes": len(outcomes),
        "successes": successes,
        "success_rate": round(successes / len(outcomes), 4) if outcomes else None,
        "interval95": [round(low, 4), round(high, 4)],
        "seconds_to_success": percentiles([o.duration for o in outcomes if o.success]),
        "ticks": sum(o.ticks for o in outcomes),
        "faults": sum(o.faults for o in outcomes),
        "latency_ms": {s: percentiles([t for o in outcomes for t in o.latency[s]]) for s in stages},
        "passes": _mean([p for o in outcomes for p in o.passes]),
        **{name: _mean([getattr(o, name) for o in outcomes]) for name in ("fresh_share", "age_mean", "jerk")},
        "age_max": max((o.age_max for o in outcomes if o.age_max is not None), default=None),
        "target_reused": _mean([o.target_reused for o in outcomes]),
    }


def _paired(ours: Sequence[Outcome], full: Sequence[Outcome], families: Sequence[str]) -> dict[str, Any] | None:
    """McNemar's test against full recomputation on the scenes that both have seen, in all and by family."""
    reference = {o.scene: o.success for o in full}
    pairs = [(o.family, o.success, reference[o.scene]) for o in ours if o.scene in reference]
    if not pairs:
        return None
    made = {}
    for family in ("all", *families):
        chosen = [(a, b) for f, a, b in pairs if family in ("all", f)]
        won, lost, p = mcnemar([a for a, _ in chosen], [b for _, b in chosen])
        made[family] = {"pairs": len(chosen), "won": won, "lost": lost, "p": float(f"{p:.3g}")}
    return made


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _line(o: Outcome) -> dict[str, Any]:
    """An episode without the lists of its ticks."""
    kept = ("configuration", "task", "seed", "success", "duration", "ticks", "faults", "fresh_share", "jerk")
    return {**{name: getattr(o, name) for name in kept}, "tick_ms": percentiles(o.latency.get("total", []))}
