"""An episode boiled down to a line of JSON, and the figures drawn from many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np

from ..sim import EVERY_FAMILY, find_task
from ..stages import STAGES
from .records import EpisodeRecord, ages
from .statistics import jerk, mcnemar, paired_difference, percentiles, ranked, wilson

REFERENCES = ("full", "plain")  # what the others are compared with: the first that is there; their actions are the same
Key = tuple[str, str, int, tuple[str | None, str | None]]
TOLD = (
    "disturbance",
    "happened",
    "moved",
    "seen_after",
    "reached",
    "live",
    "stale",
    "refused",
)  # of an episode, if it has them
LATE = ("stale", "refused")  # answers
SOON = 2  # ticks: a moved target that is seen this late has cost little


@dataclass(frozen=True)
class Outcome:
    """One episode without its pictures.

    duration [s]; latency: milliseconds of every tick by stage; passes of every tick; age in ticks; jerk [m/s^3];
    target_reused: share of the ticks in which the token that shows the cube in question was not computed. fresh: share
    of the tokens computed in each tick. disturbance: None for an episode in which nothing went wrong; happened: it came
    about. moved: the cube in question was put elsewhere, and shown there; seen_after: ticks until the token that shows
    it there was computed, None if never. reached: goals of the task. stale, refused: answers that came after their own
    time, and that moved nothing. live: how the world went on while the policy thought, None where it waited; then
    lasting: seconds of an action, took [ms] of every tick, ages [ms] of what the arm followed at every command that
    moved it.
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
    fresh: list[float] | None = None
    disturbance: str | None = None
    happened: bool = False
    moved: bool = False
    seen_after: int | None = None
    reached: int = 0
    live: str | None = None
    lasting: float | None = None
    took: list[float] | None = None
    ages: list[float] | None = None
    stale: int = 0
    refused: int = 0

    @property
    def family(self) -> str:
        """Family of the task."""
        return find_task(self.task).family

    @property
    def conditions(self) -> tuple[str | None, str | None]:
        """What was the same for all episodes of a round: what went wrong, how the world went on."""
        return self.disturbance, self.live

    @property
    def key(self) -> Key:
        """What no other outcome of a run has: configuration, task, seed and conditions."""
        return self.configuration, *self.scene, self.conditions

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
    even = not episode.timing and np.allclose(np.diff([tick.stamp for tick in ticks]), period)
    swing = jerk(np.array([tick.tool for tick in ticks]), period) if even else None
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
        fresh=[round(tick.fresh / tick.selection.size, 4) for tick in ticks],
        disturbance=episode.disturbance,
        happened=episode.disturbance is not None and episode.happened,
        moved=episode.moved is not None,
        seen_after=_seen_after(episode),
        reached=episode.reached,
        stale=episode.late.stale,
        refused=episode.late.refused,
        **_lateness(episode),
    )


def _seen_after(episode: EpisodeRecord) -> int | None:
    """Ticks from the one that saw the moved target to the first that computed its token; None if there is none."""
    if (move := episode.moved) is None:
        return None
    since = [tick for tick in episode.ticks if tick.stamp >= move.stamp]
    return next((number for number, tick in enumerate(since) if tick.selection.ravel()[move.token]), None)


def _lateness(episode: EpisodeRecord) -> dict[str, Any]:
    """What became of the answers in a world that went on."""
    if (timing := episode.timing) is None:
        return {}
    late = episode.late
    took, ages = ([round(value * 1e3, 1) for value in values] for values in (late.took, late.ages))
    return {"live": timing.label, "lasting": timing.period, "took": took, "ages": ages}


def line(o: Outcome) -> dict[str, Any]:
    """An outcome as it is kept: without what says nothing more than its default."""
    usual = {field.name: field.default for field in fields(Outcome) if field.default is not MISSING}
    return {name: value for name, value in asdict(o).items() if name not in usual or value != usual[name]}


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of every configuration, in all and by family, and a short line per episode.

    Those of disturbed episodes stand apart, by disturbance, and those of a world that goes on, by how it does: each is
    set beside full under the same, and a live one beside itself in lock-step.
    """
    labels = list(dict.fromkeys(o.conditions for o in outcomes))
    several = any(disturbance for disturbance, _ in labels)
    rounds = {label: [o for o in outcomes if o.conditions == label] for label in labels}
    calm = rounds.pop((None, None), [])
    disturbed = {str(label): _round(mine, several) for (label, live), mine in rounds.items() if live is None}
    live = {str(label): _live(mine, calm) for (_, label), mine in rounds.items() if label is not None}
    return {
        "configurations": _round(calm, several),
        **({"disturbances": disturbed} if disturbed else {}),
        **({"live": live} if live else {}),
        "episodes": [_line(o) for o in outcomes],
    }


def _by_name(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes by configuration."""
    names = dict.fromkeys(o.configuration for o in outcomes)
    return {name: [o for o in outcomes if o.configuration == name] for name in names}


def _round(outcomes: Sequence[Outcome], several: bool) -> dict[str, dict[str, Any]]:
    """Figures of every configuration under one disturbance, or under none; more of them where there are several."""
    by_name = _by_name(outcomes)
    reference = next((by_name[name] for name in REFERENCES if name in by_name), [])
    families = [family for family in EVERY_FAMILY if any(o.family == family for o in outcomes)]
    return {
        name: {
            **_figures(mine),
            "families": {f: _figures([o for o in mine if o.family == f]) for f in families},
            "against_full": _paired(mine, reference, families),
            **_steps([o for o in mine if o.disturbance is None]),
            **(_under(mine, reference) if several else {}),
        }
        for name, mine in by_name.items()
    }


def _live(outcomes: Sequence[Outcome], calm: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Figures of every configuration in a world that goes on, beside its own in lock-step."""
    lock_step, made = _by_name(calm), _round(outcomes, several=False)
    for name, mine in _by_name(outcomes).items():
        answers = sum(len(o.took or ()) for o in mine)
        families = list(made[name]["families"])
        made[name]["late"] = {
            "action_s": mine[0].lasting,
            "answer_ms": percentiles([value for o in mine for value in o.took or ()]),
            "action_age_ms": percentiles([value for o in mine for value in o.ages or ()]),
            "stale": round(sum(o.stale for o in mine) / answers, 4) if answers else None,
            "refused": round(sum(o.refused for o in mine) / answers, 4) if answers else None,
            "against_lock_step": _paired(mine, lock_step.get(name, []), families),
        }
    return made


def _steps(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """For tasks of several goals: by family, how many began each step of the sequence, and how many of these did it."""
    made: dict[str, list[dict[str, int]]] = {}
    for family in EVERY_FAMILY:
        mine = [o for o in outcomes if o.family == family]
        goals = len(find_task(mine[0].task).goals) if mine else 0
        if goals > 1:
            made[family] = [
                {"began": sum(o.reached >= n for o in mine), "done": sum(o.reached > n for o in mine)}
                for n in range(goals)
            ]
    return {"steps": made} if made else {}


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


def _under(outcomes: Sequence[Outcome], full: Sequence[Outcome]) -> dict[str, Any]:
    """What tells how a configuration bears disturbances: its busy ticks, and how late it sees that a cube was moved.

    happened: episodes in which it came about, and the pairs of which that is true on both sides; stale, refused: shares
    of the answers.
    """
    fresh = [share for o in outcomes for share in o.fresh or ()]
    told = [o for o in outcomes if o.happened]
    ticks = sum(o.ticks for o in outcomes)
    made: dict[str, Any] = {
        "fresh_p95": round(float(np.percentile(fresh, 95)), 4) if fresh else None,
        **({name: round(sum(getattr(o, name) for o in outcomes) / ticks, 4) for name in LATE} if ticks else {}),
        "happened": len(told),
        "against_full_happened": _paired(told, [o for o in full if o.happened], []),
    }
    late = [np.inf if o.seen_after is None else o.seen_after for o in outcomes if o.moved]
    if not late:
        return made
    ranks = {f"p{percent}": ranked(late, percent) for percent in (50, 99)}
    soon = round(float(np.mean(np.array(late) <= SOON)), 4)
    return made | {"moved": {"episodes": len(late), "never": late.count(np.inf), **ranks, "soon": soon}}


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
        points, *interval = (round(100 * value, 2) for value in paired_difference(won, lost, len(chosen)))
        counts = {"pairs": len(chosen), "won": won, "lost": lost, "p": float(f"{p:.3g}")}
        made[family] = {**counts, "points": points, "interval95": interval}
    return made


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _line(o: Outcome) -> dict[str, Any]:
    """An episode without the lists of its ticks."""
    kept = ("configuration", "task", "seed", "success", "duration", "ticks", "faults", "fresh_share", "jerk")
    told = {name: value for name, value in line(o).items() if name in TOLD}
    return {**{name: getattr(o, name) for name in kept}, **told, "tick_ms": percentiles(o.latency.get("total", []))}
