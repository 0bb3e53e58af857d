"""What a client is answered: yes or no in words, how a goal fares, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..nodes.common.facts import count, number
from ..nodes.common.goals import DONE, IDLE


@dataclass(frozen=True)
class Answer:
    """Whether something was done, and what was said about it; true where it was."""

    ok: bool
    words: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class Feedback:
    """How a goal fares.

    state: idle, running, done, timed out, cancelled or held; why: in words; elapsed: since it began [s]; ticks:
    answers of the policy so far; action_age: seconds since the last one, entropy: how uncertain it was (0 certain to
    1 even), None before the first; hold: why the arm is held now, empty where it is not; motion: what the arm does
    (tracking, holding, waiting, no commands, disabled, unknown); policy: active, inactive or unconfigured.
    """

    state: str = IDLE
    why: str = ""
    instruction: str = ""
    elapsed: float = 0.0
    ticks: int = 0
    action_age: float | None = None
    entropy: float | None = None
    hold: str = ""
    motion: str = "unknown"
    policy: str = "unknown"

    @classmethod
    def of(cls, told: Mapping[str, str], ago: float) -> Feedback:
        """Read the facts of the goal's status, heard `ago` [s]."""
        age = number(told.get("action_age", ""))
        return cls(
            told.get("state", IDLE),
            told.get("why", ""),
            told.get("instruction", ""),
            number(told.get("elapsed", "")) or 0.0,
            count(told, "ticks"),
            None if age is None else age + ago,
            number(told.get("entropy", "")),
            told.get("hold", ""),
            told.get("motion", "unknown"),
            told.get("policy", "unknown"),
        )


@dataclass(frozen=True)
class Result:
    """How a goal ended: done, timed out, cancelled or held, and why in words.

    elapsed: seconds it took; ticks: answers of the policy.
    """

    state: str
    why: str
    elapsed: float = 0.0
    ticks: int = 0

    @property
    def done(self) -> bool:
        """Whether it did what was asked for."""
        return self.state == DONE
