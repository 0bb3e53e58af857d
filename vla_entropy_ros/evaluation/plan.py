"""Which episodes are run, and who is told about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..sim import EVERY_FAMILY, find_task
from .configurations import Configuration
from .disturbances import Disturbance
from .records import EpisodeRecord, TickRecord
from .timing import Timing


@dataclass(frozen=True)
class Trial:
    """One episode to run: configuration of the policy, task and seed of the simulator, what goes wrong if anything.

    timing: how the world goes on while the policy thinks; None where it waits.
    """

    configuration: Configuration
    task: str
    seed: int
    disturbance: Disturbance | None = None
    timing: Timing | None = None


def scenes(tasks: Sequence[str], episodes: int, seed: int) -> list[tuple[str, int]]:
    """Task and seed of `episodes` episodes of every family among `tasks`: its tasks in turn, seeds counting up."""
    by_family = [[task for task in tasks if find_task(task).family == family] for family in EVERY_FAMILY]
    return [(names[n % len(names)], seed + n) for n in range(episodes) for names in by_family if names]


def plan(configurations: Sequence[Configuration], tasks: Sequence[str], episodes: int, seed: int) -> list[Trial]:
    """Trials of `episodes` episodes per family and configuration; every configuration sees the same scenes."""
    return [Trial(c, task, number) for c in configurations for task, number in scenes(tasks, episodes, seed)]


class Observer(Protocol):
    """Is told what happens; called between ticks, so it must be quick."""

    def begin(self, episode: EpisodeRecord) -> None:
        """An episode is about to start."""

    def tick(self, episode: EpisodeRecord, tick: TickRecord) -> None:
        """A tick was answered."""

    def idle(self, episode: EpisodeRecord) -> None:
        """Time passes."""

    def end(self, episode: EpisodeRecord) -> None:
        """An episode is over."""


class Silent:
    """An observer that lets everything pass."""

    def begin(self, episode: EpisodeRecord) -> None:
        """Nothing to do."""

    def tick(self, episode: EpisodeRecord, tick: TickRecord) -> None:
        """Nothing to do."""

    def idle(self, episode: EpisodeRecord) -> None:
        """Nothing to do."""

    def end(self, episode: EpisodeRecord) -> None:
        """Nothing to do."""
