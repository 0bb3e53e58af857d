"""What is remembered of a tick and of an episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..engine import State
    from .timing import Timing


@dataclass(frozen=True)
class TickRecord:
    """One tick: observation time [s], stage latencies [ms], and per visual token why it was computed.

    selection [rows, columns]: 0 reused; fresh because 1 it or everything changed, 2 visual information, 3 attention,
    4 both, 5 too old, 6 filled up.
    passes: decoder passes; tool [3]: measured position [m]; target_reused: the token that shows the cube in question
    was not computed, None where nobody knows the scene. image [H, W, 3]: what the policy saw, None where nobody draws.
    state: what the policy was told of the arm, None where only its answers are heard.
    """

    stamp: float
    latency: dict[str, float]
    selection: NDArray[np.uint8]
    passes: int
    tool: NDArray[np.float64]
    target_reused: bool | None = None
    image: NDArray[np.uint8] | None = None
    state: State | None = None

    @property
    def fresh(self) -> int:
        """Visual tokens computed in this tick."""
        return int(np.count_nonzero(self.selection))

    @property
    def reused(self) -> int:
        """Visual tokens whose keys and values were kept."""
        return int(self.selection.size) - self.fresh


@dataclass(frozen=True)
class Move:
    """When the cube in question was put elsewhere [s], and the visual token that shows it there."""

    stamp: float
    token: int


@dataclass
class Lateness:
    """How late answers came in an episode in which the world went on.

    took: seconds of every tick; ages: seconds since what the action answers was seen, at every command that moved the
    arm; stale: answers that came when their own time was over; refused: those of them that moved nothing, or came out
    of order.
    """

    took: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    stale: int = 0
    refused: int = 0


@dataclass
class EpisodeRecord:
    """One attempt at a task: success or not, seconds until then, its ticks in order, and ticks without an action.

    instruction: the running one; that of a task of several goals changes. reached: goals reached, one after the other.
    disturbance: what was to go wrong, if anything; happened: whether it did. timing: how the world went on meanwhile,
    None where it waited; late: what came of it.
    """

    configuration: str
    task: str
    seed: int
    instruction: str
    success: bool = False
    duration: float = 0.0
    faults: int = 0
    ticks: list[TickRecord] = field(default_factory=list)
    disturbance: str | None = None
    moved: Move | None = None
    reached: int = 0
    happened: bool = False
    timing: Timing | None = None
    late: Lateness = field(default_factory=Lateness)


def ages(ticks: Sequence[TickRecord]) -> NDArray[np.int64]:
    """Age [T, N] in ticks of every visual token's keys and values, from what was computed when."""
    age = np.zeros((len(ticks), ticks[0].selection.size if ticks else 0), np.int64)
    for number, tick in enumerate(ticks):
        before = age[number - 1] if number else -1
        age[number] = np.where(tick.selection.ravel() > 0, 0, before + 1)
    return age
