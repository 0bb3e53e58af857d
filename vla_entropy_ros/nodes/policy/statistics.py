"""What the policy node has done so far: counted by the threads that do it, looked at as a frozen whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ...engine import Tunables
from ..common.diagnostics import RollingWindow, Window
from .orders import Answer, Orders
from .refreshes import LAST, Tally

NOTHING = Window()
# What may keep an image from becoming an action; the totals of these names are told for the last seconds, too.
CAUSES = ("unmatched", "interruptions", "early", "late", "too_old", "refused", "faults", "dropped")
COUNTED = ("recent", "starved")
MANY = 100  # counted at once; more do not matter


@dataclass(frozen=True)
class Statistics:
    """The policy node at one instant. Totals are since configure; times are monotonic [s].

    stopped: whether an empty instruction was given last; blocked: why none can be trusted; since: from when on
    there should be actions; passes: how the decoder's run; last_received, stamps: of the newest image of each camera,
    None before the first;
    fault: why the last tick failed; observation_fault: why the last image gave no tick, observation_refused:
    whether it could not be used at all; doubt: why the colours of the last one may not be what the camera saw;
    answer: the last one, None before the first, last_tick: when it came; recent: how often each of CAUSES was
    counted lately, starved: since that tick; tallies: of the last ticks under the same tunables.
    """

    taken: float = 0.0
    active: bool = False
    instruction: str | None = None
    stopped: bool = False
    blocked: str | None = None
    since: float = 0.0
    period: float = 0.1
    slop: float = 0.0
    max_age: float = 0.0
    tunables: Tunables | None = None
    passes: str = ""

    received: int = 0
    lost: int = 0
    displaced: int = 0
    unmatched: int = 0
    interruptions: int = 0
    last_received: tuple[float | None, ...] = ()
    stamps: tuple[float | None, ...] = ()  # ROS time [s]

    early: int = 0
    late: int = 0
    too_old: int = 0
    refused: int = 0
    observation_fault: str | None = None
    observation_refused: bool = False
    doubt: str | None = None

    ticks: int = 0
    faults: int = 0
    dropped: int = 0
    held: int = 0
    resets: int = 0
    busy_since: float | None = None
    last_tick: float = 0.0
    fault: str | None = None
    answer: Answer | None = None
    tallies: tuple[Tally, ...] = ()

    images: Window = NOTHING  # one number per image
    losses: Window = NOTHING  # one number per image lost on the way
    capture_age: Window = NOTHING  # seconds
    state_age: Window = NOTHING  # seconds
    tick_time: Window = NOTHING  # seconds
    fresh: Window = NOTHING  # visual tokens
    reused: Window = NOTHING  # visual tokens
    oldest: Window = NOTHING  # ticks
    recent: Mapping[str, int] = field(default_factory=dict)
    starved: Mapping[str, int] = field(default_factory=dict)

    @property
    def idle(self) -> float | None:
        """Seconds since the last tick; None where there was none lately, or none since there should be one."""
        if not len(self.tick_time.numbers) or self.last_tick < self.since:
            return None
        return self.taken - self.last_tick

    def under(self, orders: Orders, end: str | None) -> Statistics:
        """The same beside what the thread works by; end: why no tick follows any more, None while some may."""
        return replace(
            self,
            fault=end or self.fault,
            active=orders.active,
            instruction=orders.instruction,
            stopped=orders.given == "",
            blocked=orders.blocked,
            since=orders.since,
            period=orders.options.control_period,
            slop=orders.options.camera_slop,
            max_age=orders.options.max_observation_age,
            tunables=orders.options.tunables,
        )


WINDOWS = tuple(one.name for one in fields(Statistics) if one.default is NOTHING)


class Monitor:
    """Keeps the statistics; any thread may add to them, and any may look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {one.name: one.default for one in fields(Statistics) if one.name not in COUNTED}
        self._windows = {name: RollingWindow() for name in WINDOWS}
        self._starved = dict.fromkeys(CAUSES, 0)
        self._recent = {name: RollingWindow() for name in CAUSES}

    def count(self, name: str, by: int = 1) -> None:
        """Add to a total."""
        with self._lock:
            self._facts[name] += by
            if name in self._starved:
                self._starved[name] += by
        if name in self._recent:
            for _ in range(min(by, MANY)):
                self._recent[name].add(1.0)

    def tick(self, tally: Tally, **facts: Any) -> None:
        """Count a tick, and replace facts."""
        with self._lock:
            self._starved = dict.fromkeys(CAUSES, 0)
            tallies = (*self._facts["tallies"], tally)[-LAST:]
            self._facts.update(facts, tallies=tallies, ticks=self._facts["ticks"] + 1, last_tick=time.monotonic())

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
        recent = {name: len(window.look().numbers) for name, window in self._recent.items()}
        with self._lock:
            counted = {"recent": recent, "starved": dict(self._starved)}
            return Statistics(**(self._facts | windows | counted | {"taken": time.monotonic()}))
