"""Why there are fewer actions than there are images: what was counted of late, in words."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...control.times import stamp_problem
from ..common.diagnostics import WINDOW
from .intake import topic_of
from .statistics import Statistics

FEW = 0.5  # of the ticks that are due
MISSED, SOON = 3.0, 0.3  # ticks, and seconds, that must be missing at least until there are none
OF_IMAGES = ("unmatched", "interruptions", "early", "late", "too_old", "refused")


@dataclass(frozen=True)
class Shortage:
    """Too few actions: how many are due [Hz], whether there are none at all, and why.

    of_images: whether that is a matter of the images.
    """

    due: float
    none: bool
    why: str
    of_images: bool


def usual(now: Statistics) -> float:
    """Seconds from one tick to the next when all is well."""
    times = now.tick_time.numbers
    return max(now.period, float(np.median(times)) if len(times) else 0.0)


def shortage(now: Statistics, clock: Callable[[], float]) -> Shortage | None:
    """Why there are no ticks, or too few; None where there are enough, or nothing was counted that explains it.

    clock: ROS time [s].
    """
    if now.instruction is None:
        return None
    none = now.idle is None or now.idle > max(MISSED * usual(now), SOON)
    due = min(now.images.rate / max(len(now.last_received), 1), 1.0 / now.period)
    if not none and (now.taken - now.since < WINDOW or now.tick_time.rate >= FEW * due):
        return None
    counted = now.starved if none else {name: n for name, n in now.recent.items() if name != "early"}
    cause = max(counted, key=lambda name: counted[name], default=None)
    if cause is None or counted[cause] <= (0 if none else len(now.tick_time.numbers)):
        return None
    since = "since the last tick" if none else f"in the last {WINDOW:g} s"
    return Shortage(due, none, _words(cause, f"{counted[cause]}", since, now, clock), cause in OF_IMAGES)


def _words(cause: str, count: str, lately: str, now: Statistics, clock: Callable[[], float]) -> str:
    """The line on a cause that was counted so often."""
    if cause == "unmatched":
        return f"{count} images {lately} had no match of the other cameras: {_apart(now, clock())}"
    if cause == "interruptions":
        return (
            f"{count} times {lately} the camera, its image size or its time changed, which drops the cache and the "
            "running tick: is there one publisher of images (ros2 topic info -v), with a steady header.frame_id?"
        )
    if cause == "early":
        return (
            f"{count} images {lately} are stamped within one control period ({now.period:g} s) of the last tick: "
            "does the camera's driver repeat header.stamp? ros2 topic echo --field header.stamp"
        )
    if cause == "late":
        return (
            f"{count} images {lately} are up to 1 s older than the last tick's: are the stamps of the camera's driver "
            "steady, and is it the only one (ros2 topic info -v)?"
        )
    if cause == "dropped":
        return (
            f"{count} results {lately} were dropped, since the instruction, the episode or the camera changed while "
            "they were computed: who publishes on instruction (ros2 topic info -v), who calls ~/reset?"
        )
    return (now.fault if cause == "faults" else now.observation_fault) or f"{count} {lately} were refused"


def _apart(now: Statistics, clock: float) -> str:
    """How the newest images of several cameras fail to match at ROS time `clock` [s], and what to do."""
    stamps = {topic_of(number): stamp for number, stamp in enumerate(now.stamps) if stamp is not None}
    for topic, stamp in stamps.items():
        if (problem := stamp_problem(topic, stamp, clock, now.max_age)) is not None:
            return problem
    pairs = itertools.combinations(sorted(stamps, key=lambda topic: stamps[topic]), 2)
    first, last = max(pairs, key=lambda pair: stamps[pair[1]] - stamps[pair[0]], default=("image", "image"))
    gap = stamps.get(last, 0.0) - stamps.get(first, 0.0)
    return (
        f"the newest of {last} is {gap:.3f} s after that of {first}, observation.slop is {now.slop:g}: "
        "trigger the cameras together, or raise observation.slop"
    )
