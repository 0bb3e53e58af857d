"""Goals of an action, each of which becomes a goal of VlaClient; knows no node, and no type of an action."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any

from rclpy.action import GoalResponse

from ..nodes.common.goals import CANCELLED
from .answers import Feedback, Result
from .client import VlaClient

REFUSED = "refused"  # the state of a goal that never ran
PERIOD = 0.2  # seconds between two feedbacks
GONE = 2.0  # seconds without anybody who listens to the feedback: a client that is there may be found a little later
SENT = 0.3  # seconds until the result of a goal is on its way
MOST = 4  # goals at once: the one that runs, and those that are about to be refused
ENDING = "the action server ends"


class Adapter:
    """Runs goals of the action `kind` through `client`; `execute` is called on a thread of its own for each.

    listeners: how many listen to the feedback, as every client of an action does; ending: whether the server ends.
    """

    def __init__(self, kind: Any, client: VlaClient, listeners: Callable[[], int], ending: Callable[[], bool]) -> None:
        self._kind, self._client, self._listeners, self._ending = kind, client, listeners, ending
        self._counting, self._starting = Lock(), Lock()
        self._running, self._ended = 0, float("-inf")

    def take(self, _: Any) -> GoalResponse:
        """Accept a goal, also one that will be refused: a rejection has no words, an aborted goal's result has."""
        return GoalResponse.ACCEPT if self._running < MOST else GoalResponse.REJECT

    @property
    def settled(self) -> bool:
        """Whether no goal runs, and the last result is on its way."""
        return not self._running and time.monotonic() - self._ended > SENT

    def execute(self, handle: Any) -> Any:
        """Run a goal to its end; the action's result."""
        self._count(1)
        try:
            result = self._run(handle.request, handle)
            if result.done:
                handle.succeed()
            elif result.state == CANCELLED and handle.is_cancel_requested:
                handle.canceled()
            else:
                handle.abort()
            return self._kind.Result(state=result.state, why=result.why, elapsed=result.elapsed, ticks=result.ticks)
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        with self._counting:
            self._running, self._ended = self._running + step, time.monotonic()

    def _run(self, asked: Any, handle: Any) -> Result:
        with self._starting:  # the number is then that of this goal
            if self._ending():
                return Result(REFUSED, ENDING)
            answer, number = self._client.run(asked.instruction, asked.timeout, asked.until), self._client.number
        if not answer:
            return Result(REFUSED, answer.words)
        heard, why, fares = time.monotonic(), "", Feedback()
        while (result := self._client.result) is None and self._client.number == number:
            heard = time.monotonic() if self._listeners() else heard
            if why := self._unwanted(handle, time.monotonic() - heard):
                self._client.cancel()
                self._client.wait(PERIOD)
            else:
                fares = self._client.feedback
                handle.publish_feedback(self._feedback(fares))
                self._client.link.wait(lambda: self._client.is_done or self._unwanted(handle), PERIOD)
        if result is None or self._client.number != number:  # asked after the result, which may be of the next goal
            return Result(CANCELLED, "another goal took its place", fares.elapsed, fares.ticks)
        return replace(result, why=why) if why and result.state == CANCELLED else result

    def _unwanted(self, handle: Any, alone: float = 0.0) -> str:
        """Why a goal shall end; empty where it shall not. alone: seconds without a listener."""
        if handle.is_cancel_requested:
            return "the action's client asked for it"
        return ENDING if self._ending() else "no client of the action is left" if alone > GONE else ""

    def _feedback(self, fares: Feedback) -> Any:
        age, entropy = (math.nan if value is None else value for value in (fares.action_age, fares.entropy))
        return self._kind.Feedback(
            elapsed=fares.elapsed, ticks=fares.ticks, action_age=age, entropy=entropy,
            hold=fares.hold, motion=fares.motion, policy=fares.policy,
        )  # fmt: skip
