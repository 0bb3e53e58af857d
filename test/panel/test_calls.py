"""Calls: one after the other, answered in words; the emergency stop before all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vla_entropy_ros.panel import calls as module
from vla_entropy_ros.panel.calls import Calls
from vla_entropy_ros.panel.snapshot import Said

from .policies import PretendedClient, pretended


class Called:
    """Calls with pretended clients, and their answers so far."""

    def __init__(self) -> None:
        self.clients: list[PretendedClient] = []
        self.calls = Calls(pretended(self.clients))
        self.said: list[Said] = []

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 5.0
        while not condition():
            assert time.monotonic() < end, (self.said, [one.calls for one in self.clients])
            time.sleep(0.005)
            self.said += self.calls.answers()

    def answer(self, number: int = 1) -> Said:
        self.until(lambda: len(self.said) >= number)
        return self.said[number - 1]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Iterator[Called]:
    monkeypatch.setattr(module, "REST", 0.05)
    one = Called()
    one.calls.choose("/left")
    one.until(lambda: one.clients)
    yield one
    one.calls.close()


def test_calls_go_to_the_chosen_namespace_and_are_answered(called: Called) -> None:
    called.calls.ask("run", "pick up the red cube", 12.0)
    assert called.answer() == Said("run", True, "run done")
    assert [one.namespace for one in called.clients] == ["/left"]
    called.calls.choose("/right")
    called.calls.ask("enable")
    assert called.answer(2) == Said("enable", True, "enable done")
    assert [one.namespace for one in called.clients] == ["/left", "/right"]
    assert called.clients[0].closed


def test_asking_waits_for_nothing(called: Called) -> None:
    called.clients[0].gate.clear()
    began = time.monotonic()
    for _ in range(100):
        called.calls.ask("enable")
        called.calls.set("k1", 5)
        called.calls.emergency_stop()
    assert time.monotonic() - began < 0.5
    called.clients[0].gate.set()


def test_the_emergency_stop_does_not_wait_for_a_call_that_hangs(called: Called) -> None:
    client = called.clients[0]
    client.gate.clear()
    called.calls.ask("enable")
    called.until(lambda: client.calls)
    called.calls.emergency_stop()
    assert called.answer() == Said("emergency_stop", True, "holding: emergency stop")
    client.gate.set()


def test_the_emergency_stop_works_before_any_policy_is_found() -> None:
    one = Called()
    one.calls.emergency_stop()
    assert one.answer().ok
    assert one.clients[0].namespace == "/"
    one.calls.close()


def test_of_several_values_that_wait_the_last_one_is_set(called: Called) -> None:
    client = called.clients[0]
    client.gate.clear()
    called.calls.ask("enable")
    called.until(lambda: client.calls)
    for value in range(20):
        called.calls.set("k1", value)
        called.calls.set("k2", value)
    client.gate.set()
    assert called.answer(3) == Said("set", True, "set", "k2", 19)
    assert client.calls[1:] == [("set", {"k1": 19}), ("set", {"k2": 19})]


def test_stop_cancels_the_goal_or_else_takes_the_instruction_back(called: Called) -> None:
    client = called.clients[0]
    client.running = True
    called.calls.ask("stop")
    assert called.answer() == Said("stop", True, "cancelled")
    assert client.calls == [("cancel",)]
    client.running = False
    called.calls.ask("stop")
    assert called.answer(2) == Said("stop", True, "no goal is running; the instruction is taken back")
    assert client.calls[1:] == [("cancel",), ("instruct", "")]


def test_what_goes_wrong_is_one_line(called: Called) -> None:
    called.calls.ask("reset")
    assert called.answer() == Said("reset", False, "two lines")


def test_closing_does_not_wait_for_a_call_that_hangs(called: Called) -> None:
    client = called.clients[0]
    client.gate.clear()
    called.calls.ask("enable")
    called.until(lambda: client.calls)
    began = time.monotonic()
    called.calls.close()
    assert time.monotonic() - began < 1.0
    assert client.closed


def test_a_hidden_panel_leaves_the_graph_unless_its_goal_runs(called: Called) -> None:
    client = called.clients[0]
    client.is_done = False
    called.calls.rest()
    time.sleep(0.3)
    assert not client.closed
    client.is_done = True
    called.until(lambda: client.closed)
    called.calls.choose("/left")
    called.until(lambda: len(called.clients) == 2)
