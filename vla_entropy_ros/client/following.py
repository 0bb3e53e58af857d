"""What becomes of a goal, as its status tells; knows no node."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from ..nodes.common.facts import count
from ..nodes.common.goals import CANCELLED, ENDS, HELD
from .answers import Feedback, Result

LOST = 2.0  # seconds without a word that count as an end of the policy


class Following:
    """Keeps track of one goal; `hear` what the status tells, on any thread."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._told: dict[str, str] = {}
        self._heard = float("-inf")  # monotonic [s]
        self._goal: int | None = None
        self._of_goal = float("-inf")  # when the goal's own number was heard, or it was given [s]
        self._seen = False
        self._last: dict[str, str] = {}  # what was told of it
        self._result: Result | None = None

    def begin(self, goal: int) -> None:
        """Follow the goal of that number from now on."""
        with self._lock:
            self._goal, self._result, self._seen = goal, None, False
            self._of_goal = time.monotonic()
            self._judge(self._told)

    def refused(self) -> None:
        """A goal was not taken: there is none that has ended, unless one still runs."""
        with self._lock:
            if self._result is not None:
                self._goal = self._result = None

    def hear(self, told: Mapping[str, str], alone: bool = True) -> None:
        """Take in what the status tells; alone: no second policy speaks, whose goals these may be."""
        with self._lock:
            if not alone and self._goal is not None and told.get("goal") != str(self._goal):
                return
            self._told, self._heard = dict(told), time.monotonic()
            self._judge(self._told)

    def number_of(self, client: int) -> int | None:
        """The number of the goal of a request's number, as the status tells; None where that is of another one."""
        with self._lock:
            same = self._told.get("client") == str(client)
            return count(self._told, "goal") if same else None

    @property
    def goal(self) -> int | None:
        """The number of the goal while it runs, as far as is known; None otherwise."""
        return self._goal if self.result is None else None

    @property
    def number(self) -> int:
        """The number of the goal, also after its end; 0 before the first."""
        return self._goal or 0

    @property
    def silent(self) -> float:
        """Seconds since the policy was heard last."""
        return time.monotonic() - self._heard

    @property
    def feedback(self) -> Feedback:
        """How things stand."""
        with self._lock:
            told = Feedback.of(self._told, time.monotonic() - self._heard) if self._told else Feedback()
        result = self.result
        if self.silent > LOST:
            told = replace(told, motion="unknown", policy="unknown")
        if result is None:
            return told
        if self._told.get("goal") != str(self._goal):  # what is told by now is of another goal
            told = replace(told, instruction="", elapsed=result.elapsed, ticks=result.ticks)
        return replace(told, state=result.state, why=result.why)

    @property
    def result(self) -> Result | None:
        """How the goal ended; None while it runs, or before the first one."""
        with self._lock:
            silence = time.monotonic() - self._of_goal
            if self._goal is not None and self._result is None and silence > LOST:
                self._end(HELD, f"no word of {self._policy} about goal {self._goal} for {LOST:g} s: has it ended?")
            return self._result

    def _judge(self, told: Mapping[str, str]) -> None:
        if self._goal is None or self._result is not None:
            return
        came = count(told, "goal")
        if came == self._goal:
            self._seen, self._of_goal, self._last = True, time.monotonic(), dict(told)
            if told.get("state") in ENDS:
                self._end(told["state"], told.get("why", ""))
        elif came > self._goal:
            self._end(CANCELLED, "another goal took its place")
        elif self._seen:
            self._end(HELD, f"{self._policy} was started anew and knows nothing of goal {self._goal}")

    def _end(self, state: str, why: str) -> None:
        told = Feedback.of(self._last, 0.0) if self._seen else Feedback()
        self._result = Result(state, why, told.elapsed, told.ticks)
