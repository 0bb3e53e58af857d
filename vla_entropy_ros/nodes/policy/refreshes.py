"""Why more of the cache is computed afresh than the budgets ask for, or nearly all of it: in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...engine import Tunables
from ...engine.observation import FAILED, JUMPED, NEW_EPISODE, NEW_INSTRUCTION, SCENE_CUT
from ...engine.result import Reuse
from ...engine.tunables import FULL, JOINT

LAST = 50  # ticks that are looked back on
FEW = 10  # ticks that are too few to judge by
EXCESS = 0.2  # share of the visual tokens above what the budgets ask for
LITTLE = 0.05  # share of the visual tokens: less than this reused is nothing worth the name
REASONS = ("changed", "by_visual", "by_attention", "old", "filled")
BUDGETS, OLD, CHANGED, OTHER = "budgets", "old", "changed", "other"
STILL = (
    "is the picture noisy, does the camera or the light move? keep them still, raise static.difference, or take mode "
    f"{JOINT}, which needs no still patches"
)
TOLD = (NEW_EPISODE, NEW_INSTRUCTION, SCENE_CUT, JUMPED, FAILED)  # reasons with a line of their own
OF_CAMERAS = ("the camera changed", "image size changed", "time went backwards")  # how others begin


@dataclass(frozen=True)
class Tally:
    """Visual tokens of one tick, the fresh ones also by reason; reason: why all are fresh, or None."""

    visual: int
    fresh: int
    changed: int
    by_visual: int
    by_attention: int
    old: int
    filled: int
    reason: str | None

    @classmethod
    def of(cls, reuse: Reuse) -> Tally:
        """The tally of a tick's record."""
        return cls(
            reuse.visual,
            reuse.fresh,
            reuse.changed,
            reuse.by_visual,
            reuse.by_attention,
            reuse.old,
            reuse.filled,
            reuse.reason,
        )


def means(lately: Sequence[Tally]) -> dict[str, str]:
    """Fresh tokens per tick by reason, as text."""
    return {
        f"fresh, {name.removeprefix('by_')} [1 per tick]": f"{np.mean([getattr(one, name) for one in lately]):.1f}"
        for name in REASONS
        if lately
    }


def asked(tunables: Tunables, visual: int) -> int:
    """Fresh tokens of a tick, of `visual`, that the budgets ask for while nothing moves."""
    important = tunables.k1 + tunables.k2
    if tunables.static_top_k and tunables.mode != JOINT:  # all but so many count as changed whatever they show
        important += max(visual - tunables.static_top_k, 0)
    return min(max(important, tunables.row_budget), visual)


def little_reuse(
    lately: Sequence[Tally], tunables: Tunables, found: Reuse, several: Callable[[], str | None]
) -> str | None:
    """Why far more is fresh than the budgets ask for, or nothing is reused; None when all is well.

    lately: ticks under these `tunables`, the last one last; found: the record of that one; several: who speaks where
    one is expected, asked only where it matters.
    """
    if tunables.mode == FULL or len(lately) <= FEW:
        return None
    visual = lately[-1].visual
    fresh, budget = float(np.mean([one.fresh for one in lately])), asked(tunables, visual)
    if fresh <= budget + EXCESS * visual and visual - fresh >= LITTLE * visual:
        return None
    reused, allowed = 1.0 - fresh / visual, 1.0 - budget / visual
    head = "nothing reused" if fresh == visual else f"{reused:.0%} reused, the budgets allow {allowed:.0%}"
    cause, count = _cause(lately, budget)
    return f"{head}: {_words(cause, count, lately, tunables, found, several)}"


def _cause(lately: Sequence[Tally], budget: int) -> tuple[str, int]:
    """What made most tokens fresh, or the reason why most often all were, with the number of its ticks."""
    chosen = [one for one in lately if one.reason is None]
    whole = Counter(one.reason if one.reason in TOLD else OTHER for one in lately if one.reason is not None)
    tokens = {reason: count * lately[-1].visual for reason, count in whole.items()}
    tokens |= {OLD: sum(one.old for one in chosen), CHANGED: sum(one.changed for one in chosen)}
    if np.mean([one.fresh for one in lately]) <= budget + EXCESS * lately[-1].visual:
        tokens[BUDGETS] = budget * len(chosen)
    cause = max(tokens, key=lambda name: tokens[name])
    return cause, whole.get(cause, len(chosen))


def _words(
    cause: str,
    count: int,
    lately: Sequence[Tally],
    tunables: Tunables,
    found: Reuse,
    several: Callable[[], str | None],
) -> str:
    """The line on a cause that held for `count` of the ticks."""
    often = f"in {count} of the last {len(lately)} ticks"
    if cause == BUDGETS:
        said = f"k1 + k2 is {tunables.k1 + tunables.k2}, row_budget {tunables.row_budget}"
        return f"the budgets ask for nearly all of {found.visual} visual tokens ({said}): lower them"
    if cause == OLD:
        return f"{_mean(OLD, lately):.0f} tokens a tick are older than max_age ({tunables.max_age} ticks): raise it"
    if cause == CHANGED:
        changed = f"{_mean(CHANGED, lately):.0f} patches a tick changed{_light(found)}"
        return f"{changed}, and mode {tunables.mode} computes each: {STILL}"
    if cause == SCENE_CUT:
        advice = "does the camera move? keep it still, or raise scene_cut" if tunables.mode == JOINT else STILL
        more = f"more than scene_cut ({tunables.scene_cut:g}) of the patches changed{_light(found)}"
        return f"scene cut {often}, {more}: {advice}"
    if cause == NEW_INSTRUCTION:
        return f"new instruction {often}: who publishes on instruction (ros2 topic info -v)?"
    if cause == NEW_EPISODE:
        return f"new episode {often}: who calls ~/reset?"
    if cause == JUMPED:
        return (
            f"time jumped {often}: images come further apart than max_gap ({tunables.max_gap:g} s), or the clock "
            "jumps: raise max_gap, or see the tasks inference and observation"
        )
    if cause == FAILED:
        return f"the tick before failed {often}: see the log"
    reason = next(one.reason for one in reversed(lately) if one.reason is not None and one.reason not in TOLD)
    if not reason.startswith(OF_CAMERAS):
        return f"{reason} or the like {often}: see the log"
    advice = several() or "is there one publisher of images (ros2 topic info -v), with a steady header.frame_id?"
    return f"{reason} or the like {often}: {advice}"


def _mean(name: str, lately: Sequence[Tally]) -> float:
    """Tokens of that reason in a tick that chose."""
    return float(np.mean([getattr(one, name) for one in lately if one.reason is None]))


def _light(found: Reuse) -> str:
    """What was found of noise and exposure, in brackets; empty where nothing was."""
    noise = [] if found.noise is None else [f"noise {found.noise:.1f} grey levels"]
    exposure = [] if found.exposure is None else [f"exposure {found.exposure:.2f}"]
    return f" ({', '.join(noise + exposure)})" if noise or exposure else ""
