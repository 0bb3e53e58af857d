"""What the command node says of itself: its state in a line, and its task on /diagnostics."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ...control import Command, Guard, Motion, Saturation
from ..common.diagnostics import ERROR, OK, STALE, WARN, Report, RollingWindow

EMERGENCY = "emergency stop: call ~/release, then ~/enable"
WAITING = "waiting for a chunk"
REPEATED = 1.0  # seconds between two lines that differ in numbers alone
PATIENCE = 3.0  # seconds of waiting for a chunk that are in order


@dataclass
class Tally:
    """What came of the chunks. refusal: why the last one was refused; None once one is accepted."""

    accepted: int = 0
    refused: int = 0
    stops: int = 0
    refusal: str | None = None
    sent: RollingWindow = field(default_factory=RollingWindow)
    saturation: Saturation = field(default_factory=Saturation)
    _waiting_since: float = field(default_factory=time.monotonic)

    def accept(self) -> None:
        """Count a chunk that is followed."""
        self.accepted += 1
        self.refusal, self._waiting_since = None, time.monotonic()

    def refuse(self, reason: str) -> None:
        """Count a chunk that is not."""
        self.refused += 1
        self.refusal = reason

    def note(self, command: Command) -> None:
        """Count a command that was sent."""
        self.sent.add(1.0)
        self.saturation.add(command.clipped, time.monotonic())
        if command.state is not Motion.IDLE:
            self._waiting_since = time.monotonic()

    def forget(self) -> None:
        """Begin anew, since somebody has let the arm move."""
        self.refusal, self._waiting_since = None, time.monotonic()

    @property
    def waited(self) -> float:
        """For how long no chunk has come [s]."""
        return time.monotonic() - self._waiting_since


class News:
    """Tells what is new to say: another line at once, the same with other numbers once a second."""

    def __init__(self) -> None:
        self._said, self._kind, self._at = "", "", -math.inf

    def is_one(self, line: str) -> bool:
        """Whether `line` is to be said now, which is then taken for said."""
        if line == self._said:
            return False
        kind, now = re.sub(r"[0-9.]+", "#", line), time.monotonic()
        if kind == self._kind and now - self._at < REPEATED:
            return False
        self._said, self._kind, self._at = line, kind, now
        return True


class Trouble(NamedTuple):
    """What keeps the arm from moving, each in a line or None.

    problem: why where it is measured can't be relied on; jump: the same, where the arm can't have done it; hazard: why
    it is held although it is measured well.
    """

    problem: str | None = None
    jump: str | None = None
    hazard: str | None = None


@dataclass(frozen=True)
class Situation:
    """The command node at one instant. refusal: why the last chunk was refused; None where it was not."""

    guard: Guard
    command: Command | None
    trouble: Trouble
    refusal: str | None

    @property
    def line(self) -> str:
        """The state in a word, and why."""
        return self.state[1]

    @property
    def state(self) -> tuple[bytes, str]:
        """Level and line."""
        if self.guard.latched:
            return ERROR, f"holding: {EMERGENCY}"
        if not self.guard.enabled:
            return OK, "disabled"
        problem, jump, hazard = self.trouble
        if jump is not None or hazard is not None:
            return ERROR, f"holding: {jump or hazard}"
        if problem is not None:
            return STALE, f"no commands: {problem}"
        return self._motion()

    def _motion(self) -> tuple[bytes, str]:
        """Level and line of an arm that may move."""
        motion = Motion.IDLE if self.command is None else self.command.state
        if motion is Motion.TRACKING:
            return OK, motion.value
        if self.refusal is not None:
            return ERROR, f"holding: {self.refusal}"
        if motion is Motion.IDLE or self.command is None:
            return OK, WAITING
        return WARN, f"holding: {self.command.reason}"

    def report(
        self,
        tally: Tally,
        shown: Mapping[str, object],
        several: str | None,
        waiting: Callable[[], str],
        clipped: float,
    ) -> Report:
        """The task on /diagnostics.

        shown: further values; several: who else speaks; waiting: why no chunk comes, asked only then; clipped: share of
        clipped actions above which that is reported.
        """
        level, line = self.state
        saturation = tally.saturation
        values: dict[str, object] = {
            "enabled": self.guard.enabled,
            "emergency stop": self.guard.latched,
            **shown,
            "commands [Hz]": f"{tally.sent.look().rate:.1f}",
            "chunks accepted": tally.accepted,
            "chunks refused": tally.refused,
            "stops ordered": tally.stops,
            "actions clipped": ", ".join(f"{name} {share:.0%}" for name, share in saturation.by_limit.items()) or "-",
            "last refusal": tally.refusal or "-",
        }
        trouble = self.trouble.jump or self.trouble.hazard or self.trouble.problem
        if line == "disabled" and trouble is not None:
            return Report(WARN, f"disabled, and can't be enabled: {trouble}", values)
        if line == WAITING and tally.waited > PATIENCE:
            return Report(WARN, f"{WAITING}: {waiting()}", values)
        if level == OK and several is not None:
            return Report(WARN, f"{line}; {several}", values)
        if level == OK and (cut := saturation.problem(clipped)) is not None:
            return Report(WARN, f"{line}; {cut}", values)
        return Report(level, line, values)
