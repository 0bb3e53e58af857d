"""What a callback raises is said and brings the arm to rest; the node lives on."""

from __future__ import annotations

from typing import Any

import pytest
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_entropy_ros.nodes.common.diagnostics import ERROR, OK, Diagnostics, Report
from vla_entropy_ros.nodes.common.guarded import GuardedNode


class Clumsy(GuardedNode):
    """A node every callback of which raises."""

    def __init__(self) -> None:
        super().__init__("clumsy")
        self.turns = 0
        self.rested: list[str] = []
        self.create_timer(0.05, self._turn)
        self.create_subscription(Bool, "heard", self._raise, 10)
        self.create_service(Trigger, "~/ask", lambda request, response: self._raise(request))
        self.diagnostics = Diagnostics(self, "clumsy", {"task": lambda: Report(OK, "fine")})

    def _turn(self) -> None:
        self.turns += 1
        raise ValueError("no luck\nat all")

    def _raise(self, message: Any) -> None:
        raise KeyError("nothing there")

    def rest(self, reason: str) -> None:
        self.rested.append(reason)
        raise RuntimeError("can't rest either")


def test_what_a_callback_raises_ends_neither_the_node_nor_its_timers(stage: Any) -> None:
    clumsy = stage.add(Clumsy())
    stage.until(lambda: clumsy.turns > 3, "more turns of the timer")
    stage.publisher(Bool, "heard").publish(Bool(data=True))
    stage.until(
        lambda: any("raise failed: KeyError" in line for line in clumsy.rested), "the fault of the subscription"
    )
    answer = stage.call(Trigger, "/clumsy/ask")
    assert (answer.success, answer.message) == (False, "")
    assert any("turn failed: ValueError: no luck; at all" in line for line in clumsy.rested)
    stage.diagnostic("clumsy: task", lambda status: status.level == ERROR and "failed: " in status.message)


def test_a_failure_is_forgotten_once_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_entropy_ros.nodes.common.guarded.TOLD", 0.0)
    node = GuardedNode("forgetful")
    node._guard_callback(lambda: 1 / 0)()
    assert node.failure is None
    node.destroy_node()
