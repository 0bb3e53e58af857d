"""How a goal begins: asked for until it is known what became of it, under a number that its client says meanwhile."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from ..nodes.common import goals
from ..nodes.common.facts import count
from ..nodes.common.goals import RUNNING, Request
from .answers import Answer
from .following import Following
from .link import ClientError, Link, parameter_messages

BEAT = 0.1  # seconds between two signs of life
SOON = 0.02  # seconds between two requests for the same goal
LATE = 0.5  # seconds after which a refusal is of what was, as the answers of DDS to a new client may be
GIVEN_UP = 8  # requests without an answer that are remembered


def own_number() -> int:
    """A number for a request, told apart from those of others, also where `random` is seeded."""
    return 1 + secrets.randbelow(goals.HIGHEST)


class Starting:
    """Asks the policy for goals, one at a time.

    Each request has a number of its own, which the status of its goal tells: that may be heard before the answer. A
    goal that begins after all, though it was given up, is cancelled.
    """

    def __init__(self, link: Link, following: Following, policy: str) -> None:
        self._link, self._following, self._policy = link, following, policy
        self._asked = self._own = 0  # numbers that are said: of a request, and of the goal that runs
        self._given_up: deque[int] = deque(maxlen=GIVEN_UP)
        self._beats = link.node.create_publisher(Int32, f"{policy}/{goals.BEAT}", 10)
        self._timer = link.node.create_timer(BEAT, self._beat, clock=Clock(clock_type=ClockType.STEADY_TIME))
        link.prepare(SetParametersAtomically, f"policy/{goals.START}")
        self._cancel = link.prepare(Trigger, f"policy/{goals.CANCEL}")

    @property
    def beating(self) -> bool:
        """Whether a goal runs that ends when this client falls silent."""
        return bool(self._own) and self._following.goal is not None

    def start(self, request: Request, patience: float) -> Answer:
        """Ask for a goal, under a number of its own; ClientError where nobody answers within `patience` [s]."""
        due = time.monotonic() + patience
        if request.heartbeat and not self._link.wait(self._beats.get_subscription_count, patience):
            raise ClientError(f"{self._policy}/{goals.BEAT}: nobody listens{self._link.others()}")
        self._asked = request.client if request.heartbeat else 0  # its goal may run before its answer comes
        try:
            answer = self._ask(request, due)
            if answer.successful:
                self._following.begin(int(answer.reason))
                self._own = self._asked
        except BaseException:
            self._given_up.append(request.client)
            raise
        finally:
            self._asked = 0
        if not answer.successful:
            return Answer(False, answer.reason or f"{self._policy} refused the goal without a word: see its log")
        return Answer(True, f"goal {answer.reason} runs")

    def hear(self, told: Mapping[str, str]) -> None:
        """Take in what the status tells of a goal: one that was given up ends."""
        client = count(told, "client")
        if client not in self._given_up:
            return
        if told.get("state") == RUNNING:
            self._cancel.call_async(Trigger.Request())
        else:
            self._given_up.remove(client)

    def close(self, patience: float) -> None:
        """Say nothing any more; what was given up may still begin within `patience` [s]."""
        self._own = 0
        self._link.wait(lambda: not self._given_up, patience)
        if not self._link.owned:
            self._link.node.destroy_timer(self._timer)
            self._link.node.destroy_publisher(self._beats)

    def _ask(self, request: Request, due: float) -> Any:
        asked = SetParametersAtomically.Request(parameters=parameter_messages(request.values, {}))
        unheard = goals.unheard(request.client, self._policy)

        def told() -> Any:
            goal = self._following.number_of(request.client)
            if goal is None:
                return None
            result = SetParametersResult(successful=True, reason=str(goal))
            return SetParametersAtomically.Response(result=result)

        while True:
            began = time.monotonic()
            self._beat()
            left = max(due - began, SOON)
            answer = self._link.call(SetParametersAtomically, f"policy/{goals.START}", asked, left, other=told).result
            late = time.monotonic() - began > LATE
            if answer.successful or not (late or answer.reason == unheard) or time.monotonic() > due:
                return answer
            self._link.pause(SOON)

    def _beat(self) -> None:
        for client in {self._asked, self._own if self.beating else 0} - {0}:
            self._beats.publish(Int32(data=client))
