"""Stand-ins for what the widgets look at and speak to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vla_entropy_ros.panel.snapshot import Goal, Health, Knob, Picture, Said, Snapshot, Tick

KNOBS = {
    knob.name: knob
    for knob in (
        Knob("mode", "place_entropy"), Knob("k1", 8, 0, 256), Knob("k2", 24, 0, 256), Knob("T", 20, 1, 1000),
        Knob("row_budget", 80, 0, 256), Knob("max_age", 20, 0, 1000),
    )
}  # fmt: skip
IDLE = Goal(0, "idle", "", "", "", 0.0, 0.0, 0.0, "", "waiting", "active")
ALIVE = {
    "namespaces": ("/",), "namespace": "/", "trouble": "", "heard": True, "knobs": KNOBS, "goal": IDLE,
    "health": (Health("policy: cache", 0, "34 % fresh"), Health("command: safety", 1, "holding: no chunk")),
}  # fmt: skip


class Source:
    """Tells what it is told."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.shown = False
        self.looks = 0
        self.chosen: list[str] = []

    def tell(self, **parts: Any) -> None:
        self.snapshot = replace(self.snapshot, **parts)

    def look(self) -> Snapshot:
        self.looks += 1
        return self.snapshot

    def show(self) -> None:
        self.shown = True

    def hide(self) -> None:
        self.shown = False

    def choose(self, namespace: str) -> None:
        self.chosen.append(namespace)


class Orders:
    """Notes what is asked for, and answers what a test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.said: list[Said] = []

    def choose(self, namespace: str) -> None:
        self.asked.append(("choose", namespace))

    def rest(self) -> None:
        self.asked.append(("rest",))

    def ask(self, call: str, *arguments: Any) -> None:
        self.asked.append((call, *arguments))

    def set(self, name: str, value: Any) -> None:
        self.asked.append(("set", name, value))

    def emergency_stop(self) -> None:
        self.asked.append(("emergency_stop",))

    def answers(self) -> list[Said]:
        said, self.said = self.said, []
        return said

    def of(self, call: str) -> list[tuple[Any, ...]]:
        """Calls of that name."""
        return [asked[1:] for asked in self.asked if asked[0] == call]


def tick(number: int = 0, **other: Any) -> Tick:
    """A tick of 100 ms periods."""
    stages = (1.0, 2.0, 3.0, 4.0, 5.0)
    return replace(Tick(number * 0.1, stages, 16.0, 100.0, 80.0, 176.0, 8.0, 24.0, 5.0, "place_entropy"), **other)


def picture(stamp: float = 0.0, size: int = 448, colour: tuple[int, int, int] = (200, 30, 40)) -> Picture:
    """A picture of one colour."""
    pixels = np.full((size, size, 3), colour, np.uint8)
    return Picture(stamp, size, size, 3 * size, pixels.tobytes())
