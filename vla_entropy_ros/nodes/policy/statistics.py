"""What the policy node has done so far: counted by the threads that do it, looked at as a frozen whole."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, fields
from typing import Any

from ..common.diagnostics import RollingWindow, Window
from .orders import Answer

NOTHING = Window()


@dataclass(frozen=True)
class Statistics:
    """The policy node at one instant. Totals are since configure; times are monotonic [s].

    fault: why the last tick failed; observation_fault: why the last image gave no tick, observation_refused: whether
    it could not be used at all; answer: the last one, None before the first.
    """

    taken: float = 0.0
    active: bool = False
    instruction: str | None = None
    mode: str = ""

    received: int = 0
    lost: int = 0
    displaced: int = 0
    unmatched: int = 0
    interruptions: int = 0
    last_received: float | None = None

    early: int = 0
    late: int = 0
    too_old: int = 0
    refused: int = 0
    observation_fault: str | None = None
    observation_refused: bool = False

    ticks: int = 0
    faults: int = 0
    dropped: int = 0
    held: int = 0
    resets: int = 0
    busy_since: float | None = None
    fault: str | None = None
    answer: Answer | None = None

    images: Window = NOTHING  # one number per image
    losses: Window = NOTHING  # one number per image lost on the way
    capture_age: Window = NOTHING  # seconds
    state_age: Window = NOTHING  # seconds
    tick_time: Window = NOTHING  # seconds
    fresh: Window = NOTHING  # visual tokens
    reused: Window = NOTHING  # visual tokens
    oldest: Window = NOTHING  # ticks


WINDOWS = tuple(field.name for field in fields(Statistics) if field.default is NOTHING)


class Monitor:
    """Keeps the statistics; any thread may add to them, and any may look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {field.name: field.default for field in fields(Statistics)}
        self._windows = {name: RollingWindow() for name in WINDOWS}

    def count(self, name: str, by: int = 1) -> None:
        """Add to a total."""
        with self._lock:
            self._facts[name] += by

    def note(self, **facts: Any) -> None:
        """Replace facts; None for what holds no longer."""
        with self._lock:
            self._facts.update(facts)

    def add(self, **numbers: float) -> None:
        """Add a number to each of the windows."""
        for name, number in numbers.items():
            self._windows[name].add(number)

    def look(self) -> Statistics:
        """The statistics as they are now."""
        windows = {name: window.look() for name, window in self._windows.items()}
        with self._lock:
            return Statistics(**(self._facts | windows | {"taken": time.monotonic()}))
