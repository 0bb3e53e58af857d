"""Which episodes are run, and who is told about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .records import Episode, Tick


class RunError(RuntimeError):
    """A run can't start or go on; the message is one line."""


@dataclass(frozen=True)
class Trial:
    """One episode to run: mode of the policy, task and seed of the simulator."""

    mode: str
    task: str
    seed: int


def plan(modes: Sequence[str], tasks: Sequence[str], episodes: int, seed: int) -> list[Trial]:
    """`episodes` trials per mode: tasks in turn, seeds counting up from `seed`, the same ones for every mode."""
    return [Trial(mode, tasks[n % len(tasks)], seed + n) for mode in modes for n in range(episodes)]


class Observer(Protocol):
    """Is told what happens; called between ticks, so it must be quick."""

    def begin(self, episode: Episode) -> None:
        """An episode is about to start."""

    def tick(self, episode: Episode, tick: Tick) -> None:
        """A tick was answered."""

    def idle(self, episode: Episode) -> None:
        """Time passes."""

    def end(self, episode: Episode) -> None:
        """An episode is over."""


class Silent:
    """An observer that lets everything pass."""

    def begin(self, episode: Episode) -> None:
        """Nothing to do."""

    def tick(self, episode: Episode, tick: Tick) -> None:
        """Nothing to do."""

    def idle(self, episode: Episode) -> None:
        """Nothing to do."""

    def end(self, episode: Episode) -> None:
        """Nothing to do."""
