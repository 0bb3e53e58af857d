"""What is known of a recorded run, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...stages import PARTS
from .found import PASSES, TOTAL, Topics

TIMES = tuple(f"latency/{stage}" for stage in PARTS)
FRESH, REUSED, OLDEST = "tokens/fresh", "tokens/reused", "tokens/oldest"
PERIOD, AGE, BUDGETS, ENTROPY = (
    "control_period",
    "latency/capture_age",
    ("schedule/k_vis", "schedule/k_attn"),
    "entropy",
)
REASONS = {"tokens/changed": 1, "tokens/by_visual": 2, "tokens/by_attention": 3, "tokens/old": 5, "tokens/filled": 6}
BOTH = 4  # code of a token that counts as visual and as attention
NUMBERS = (
    "episode", "tick", PERIOD, AGE, *TIMES, TOTAL, FRESH, REUSED, *REASONS, OLDEST, *BUDGETS, "schedule/t",
    "scene/noise", "scene/exposure", PASSES, ENTROPY,
)  # fmt: skip
WORDS = ("instruction", "mode", "reason", "hold")
POLICY, COMMAND, CLIENT = "policy", "command node", "goal"  # who holds the arm


@dataclass(frozen=True)
class Tick:
    """One tick: when its answer was recorded [s since the bag began, ns], the stamp of its image [ns], what it told.

    stamp: None where it is not known; numbers: of NUMBERS those that are known, times in milliseconds; words: WORDS.
    """

    time: float
    recorded: int
    stamp: int | None
    numbers: Mapping[str, float]
    words: Mapping[str, str] = field(default_factory=dict)

    def says(self, key: str) -> str:
        """One of WORDS, empty where nothing was told."""
        return self.words.get(key, "")

    @property
    def is_late(self) -> bool:
        """Whether it took longer than the control period."""
        return self.numbers.get(TOTAL, 0.0) > self.numbers.get(PERIOD, np.inf)

    @property
    def by_code(self) -> dict[int, int]:
        """Tokens by code of the selection, the reused ones as 0."""
        found = {code: int(self.numbers.get(key, 0)) for key, code in REASONS.items()}
        both = max(sum(found.values()) - int(self.numbers.get(FRESH, 0)), 0)
        both = min(both, found[2], found[3])
        reused = int(self.numbers.get(REUSED, 0))
        return found | {2: found[2] - both, 3: found[3] - both, BOTH: both, 0: reused}


@dataclass(frozen=True)
class Span:
    """Something that lasted: from, to [s since the bag began], who said it, in which words; level: of diagnostics."""

    begin: float
    end: float
    who: str
    words: str
    level: int = 0

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.begin


@dataclass(frozen=True)
class Goal:
    """A goal and what became of it; state: running where the bag ends before it does."""

    number: int
    begin: float
    end: float
    instruction: str
    state: str
    why: str
    until: str
    ticks: int | None

    @property
    def is_over(self) -> bool:
        """Whether it ended within the bag."""
        return self.state != "running"


@dataclass(frozen=True)
class Change:
    """A parameter that was set; old: None where the bag does not tell; new: None where it was removed."""

    time: float
    node: str
    name: str
    old: str | None
    new: str | None

    @property
    def line(self) -> str:
        """Old and new value."""
        return f"{self.name} {'?' if self.old is None else self.old} → {'removed' if self.new is None else self.new}"


@dataclass(frozen=True)
class Run:
    """A recorded run; times in seconds since the bag began.

    states: what the command node said; begins: parameters by node, as they were at first; missing: what the bag lacks,
    a line each; notes: what else is to be known of it.
    """

    topics: Topics
    duration: float
    ticks: Sequence[Tick]
    states: Sequence[Span]
    holds: Sequence[Span]
    instructions: Sequence[Span]
    goals: Sequence[Goal]
    changes: Sequence[Change]
    begins: Mapping[str, Mapping[str, str]]
    warnings: Sequence[Span]
    missing: Sequence[str]
    notes: Sequence[str]

    @property
    def episodes(self) -> list[Tick]:
        """The first tick of each episode; where ticks count from the start again, a policy that was started anew."""
        told = [tick for tick in self.ticks if "episode" in tick.numbers]
        return [
            tick
            for before, tick in zip([None, *told], told, strict=False)
            if before is None
            or tick.numbers["episode"] != before.numbers["episode"]
            or tick.numbers.get("tick", np.inf) < before.numbers.get("tick", -np.inf)
        ]

    @property
    def modes(self) -> list[str]:
        """Modes of the policy, in the order they came."""
        return list(dict.fromkeys(mode for tick in self.ticks if (mode := tick.says("mode"))))

    def figures(self) -> dict[str, Any]:
        """What the run comes to, for JSON: times in seconds, latencies in milliseconds; None for what is not known."""
        computed = self._sum(FRESH)
        tokens = computed + self._sum(REUSED)
        return {
            "policy": self.topics.policy,
            "duration": round(self.duration, 3),
            "instructions": list(dict.fromkeys(span.words for span in self.instructions)),
            "modes": self.modes,
            "ticks": len(self.ticks),
            "episodes": len(self.episodes),
            "total_ms": self._percentiles(TOTAL),
            "control_period_ms": sorted({tick.numbers[PERIOD] for tick in self.ticks if PERIOD in tick.numbers}),
            "late": sum(tick.is_late for tick in self.ticks),
            "fresh_share": round(computed / tokens, 4) if tokens else None,
            "goals": [asdict(goal) for goal in self.goals],
            "holds": [_told(span) for span in self.holds],
            "changes": [asdict(change) for change in self.changes],
            "warnings": [_told(span) | {"level": span.level} for span in self.warnings],
            "missing": list(self.missing),
            "notes": list(self.notes),
        }

    def _sum(self, key: str) -> float:
        return sum(tick.numbers.get(key, 0.0) for tick in self.ticks)

    def _percentiles(self, key: str) -> dict[str, float] | None:
        values = [tick.numbers[key] for tick in self.ticks if key in tick.numbers]
        if not values:
            return None
        middle, high = np.percentile(values, (50, 95))
        return {"p50": round(float(middle), 2), "p95": round(float(high), 2), "max": round(max(values), 2)}


def _told(span: Span) -> dict[str, Any]:
    return {"begin": round(span.begin, 3), "end": round(span.end, 3), "who": span.who, "words": span.words}
