"""What the panel shows, frozen: a tick, the goal, parameters, diagnostics, and all of them at one time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..nodes.common import facts
from ..stages import PARTS

KEPT = 100  # ticks that the charts go back
KNOBS = ("mode", "k1", "k2", "T", "row_budget", "max_age")  # parameters of the policy node that the panel sets
NO_POLICY = "no policy found: start one with ros2 launch vla_entropy_ros policy.launch.py"


@dataclass(frozen=True)
class Tick:
    """One tick: times in milliseconds, counts of visual tokens; NaN where nothing came."""

    stamp: float
    stages: tuple[float, ...]
    total: float
    period: float
    fresh: float
    reused: float
    k_vis: float
    k_attn: float
    oldest: float
    mode: str = ""
    reason: str = ""
    hold: str = ""

    @classmethod
    def of(cls, stamp: float, told: Mapping[str, str]) -> Tick:
        """The tick of a status message, by its keys; stamp: of the answered image [s]."""
        return cls(
            stamp,
            tuple(number(told, f"latency/{stage}") for stage in PARTS),
            number(told, "latency/total"),
            number(told, "control_period"),
            number(told, "tokens/fresh"),
            number(told, "tokens/reused"),
            number(told, "schedule/k_vis"),
            number(told, "schedule/k_attn"),
            number(told, "tokens/oldest"),
            told.get("mode", ""),
            told.get("reason", ""),
            told.get("hold", ""),
        )


@dataclass(frozen=True)
class Goal:
    """The goal as the policy tells it, and what it knows of itself and of the arm; times in seconds."""

    number: int
    state: str
    why: str
    instruction: str
    until: str
    timeout: float
    elapsed: float
    ticks: float
    hold: str
    motion: str
    policy: str

    @classmethod
    def of(cls, told: Mapping[str, str]) -> Goal:
        """The goal of a status message, by its keys."""
        running = number(told, "goal")
        return cls(
            0 if math.isnan(running) else int(running),
            told.get("state", ""),
            told.get("why", ""),
            told.get("instruction", ""),
            told.get("until", ""),
            number(told, "timeout"),
            number(told, "elapsed"),
            number(told, "ticks"),
            told.get("hold", ""),
            told.get("motion", ""),
            told.get("policy", ""),
        )


@dataclass(frozen=True)
class Knob:
    """A parameter: what holds, and what it may be set to."""

    name: str
    value: Any
    low: int = 0
    high: int = 0


@dataclass(frozen=True)
class Health:
    """One line of the diagnostics: level 0 OK, 1 WARN, 2 ERROR, 3 STALE."""

    name: str
    level: int
    message: str


@dataclass(frozen=True)
class Picture:
    """An image of 8 bits RGB: `data` has `height` rows of `step` bytes; stamp [s]."""

    stamp: float
    width: int
    height: int
    step: int
    data: Any


@dataclass(frozen=True)
class Snapshot:
    """Everything at one time; a part that did not change is the same object as before."""

    namespaces: tuple[str, ...] = ()  # those with a policy
    namespace: str | None = None  # the one that is heard
    trouble: str = NO_POLICY  # why nothing is heard of it, or not what should be; empty when all is well
    heard: bool = False  # the policy speaks
    ticks: tuple[Tick, ...] = ()
    picture: Picture | None = None
    counts: Mapping[int, int] = field(default_factory=dict)  # tokens of the pictured tick by selection code
    goal: Goal | None = None
    health: tuple[Health, ...] = ()
    knobs: Mapping[str, Knob] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """The answer to a call in words; name, value: of the parameter that was to be set."""

    call: str
    ok: bool
    words: str
    name: str = ""
    value: Any = None


class Source(Protocol):
    """Where the widgets look; none of these takes long."""

    def look(self) -> Snapshot:
        """What is known now."""

    def show(self) -> None:
        """Somebody looks from now on."""

    def hide(self) -> None:
        """Nobody looks any more."""

    def choose(self, namespace: str) -> None:
        """Hear the policy of that namespace."""


class Orders(Protocol):
    """What the widgets ask for; none of these waits for an answer."""

    def choose(self, namespace: str) -> None:
        """Speak to the nodes of that namespace."""

    def rest(self) -> None:
        """Nobody looks any more."""

    def ask(self, call: str, *arguments: Any) -> None:
        """Make a call: run with instruction and timeout [s], stop, reset, enable, disable or release."""

    def set(self, name: str, value: Any) -> None:
        """Set a parameter of the policy; of several values that wait, the last one counts."""

    def emergency_stop(self) -> None:
        """Stop the arm, before everything else that was asked for."""

    def answers(self) -> list[Said]:
        """Answers that have come since the last look."""


def number(told: Mapping[str, str], key: str) -> float:
    """A number among what was told; NaN where it is missing, empty or none."""
    found = facts.number(told.get(key, ""))
    return math.nan if found is None else found


def policy_of(namespace: str) -> str:
    """Full name of the policy node in a namespace ("/" or "/left")."""
    return f"{namespace.rstrip('/')}/policy"
