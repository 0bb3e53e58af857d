"""Goals of an action become goals of a policy, end as those do, and never outlive whoever wants them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.action import GoalResponse

from vla_entropy_ros.client import CANCELLED, DONE, HELD, TIMED_OUT, Answer, Feedback, Result, action

from .definition import sections, stand_in

KIND = stand_in()
RUNS = Answer(True, "goal 1 runs")
GOAL = KIND.Goal(instruction="pick up the red cube", until="topic simulator/success")


class Client:
    """Stands in for VlaClient; `course` is asked at each wait what has become of the goal."""

    def __init__(self, answer: Answer = RUNS, course: Callable[[int], Result | None] = lambda _: None) -> None:
        self.answer, self.course = answer, course
        self.number, self.waits, self.cancels = 0, 0, 0
        self.asked: tuple[Any, ...] = ()
        self.patience: list[float] = []
        self.result: Result | None = None
        self.cancelled = Result(CANCELLED, "a client asked for it", 1.5, 7)
        self.feedback = Feedback(ticks=1, motion="tracking", policy="active")
        self.link = SimpleNamespace(wait=self._wait)

    def run(self, *asked: Any) -> Answer:
        self.asked = asked
        self.number += 1 if self.answer else 0
        return self.answer

    @property
    def is_done(self) -> bool:
        return self.result is not None

    def cancel(self) -> Answer:
        self.cancels += 1
        self.result = self.result or self.cancelled
        return Answer(True)

    def wait(self, patience: float) -> Result | None:
        self._wait(lambda: self.is_done, patience)
        return self.result

    def _wait(self, condition: Callable[[], object], patience: float) -> None:
        self.patience.append(patience)
        self.waits += 1
        assert self.waits < 10_000, "the goal does not end"
        if not condition():
            self.result = self.result or self.course(self.waits)


class Handle:
    """Stands in for rclpy's handle of a goal."""

    def __init__(self, request: Any = GOAL) -> None:
        self.request, self.is_cancel_requested = request, False
        self.ends: list[str] = []
        self.feedback: list[Any] = []

    def publish_feedback(self, feedback: Any) -> None:
        self.feedback.append(feedback)

    def succeed(self) -> None:
        self.ends.append("succeeded")

    def abort(self) -> None:
        self.ends.append("aborted")

    def canceled(self) -> None:
        assert self.is_cancel_requested, "an action can be cancelled only when a client has asked for it"
        self.ends.append("canceled")


def adapter(client: Any, listeners: int = 1, ending: bool = False) -> action.Adapter:
    return action.Adapter(KIND, client, lambda: listeners, lambda: ending)


def test_a_goal_is_asked_for_as_it_came_and_ends_with_the_words_of_the_policy() -> None:
    client, handle = Client(course=lambda waits: Result(DONE, "it is true", 3.2, 31) if waits == 4 else None), Handle()
    result = adapter(client).execute(handle)
    assert client.asked == ("pick up the red cube", 60.0, "topic simulator/success")
    assert handle.ends == ["succeeded"]
    assert (result.state, result.why, result.elapsed, result.ticks) == (DONE, "it is true", 3.2, 31)
    assert client.cancels == 0


def test_feedback_comes_five_times_a_second_and_says_what_is_not_known_yet() -> None:
    client, handle = Client(course=lambda waits: Result(DONE, "") if waits == 3 else None), Handle()
    adapter(client).execute(handle)
    assert client.patience == [0.2] * 3
    first = handle.feedback[0]
    assert len(handle.feedback) == 3
    assert math.isnan(first.action_age)
    assert math.isnan(first.entropy)
    client, handle = Client(course=client.course), Handle()
    client.feedback = Feedback("running", "", "push", 2.0, 18, 0.1, 0.4, "a hold", "holding", "active")
    adapter(client).execute(handle)
    told = handle.feedback[0]
    assert (told.elapsed, told.ticks, told.action_age, told.entropy) == (2.0, 18, 0.1, 0.4)
    assert (told.hold, told.motion, told.policy) == ("a hold", "holding", "active")


@pytest.mark.parametrize("part", ["Result", "Feedback"])
def test_every_field_of_the_definition_is_filled(part: str) -> None:
    client, handle = Client(course=lambda _: Result(DONE, "")), Handle()
    made = {"Result": adapter(client).execute(handle), "Feedback": handle.feedback[0]}
    assert made[part].given == set(sections()[part])


def test_a_refusal_is_told_in_words() -> None:
    client, handle = Client(Answer(False, "the policy is inactive")), Handle()
    result = adapter(client).execute(handle)
    assert handle.ends == ["aborted"]
    assert (result.state, result.why) == ("refused", "the policy is inactive")
    assert not handle.feedback


@pytest.mark.parametrize("state", [TIMED_OUT, HELD, CANCELLED])
def test_what_was_not_done_is_aborted(state: str) -> None:
    handle = Handle()
    result = adapter(Client(course=lambda _: Result(state, "so it is"))).execute(handle)
    assert handle.ends == ["aborted"]
    assert (result.state, result.why) == (state, "so it is")


def test_the_client_of_the_action_can_cancel() -> None:
    handle = Handle()
    client = Client(course=lambda waits: setattr(handle, "is_cancel_requested", waits >= 2))
    result = adapter(client).execute(handle)
    assert client.cancels == 1
    assert handle.ends == ["canceled"]
    assert (result.state, result.why, result.ticks) == (CANCELLED, "the action's client asked for it", 7)


def test_what_was_done_before_the_cancellation_arrives_is_done() -> None:
    handle = Handle()
    client = Client(course=lambda waits: setattr(handle, "is_cancel_requested", True))
    client.cancelled = Result(DONE, "it is true")
    assert adapter(client).execute(handle).state == DONE
    assert handle.ends == ["succeeded"]


def test_a_cancellation_that_the_policy_did_not_hear_is_repeated() -> None:
    client, handle, refused = Client(), Handle(), Answer(False, "no answer after 3 s")
    once, cancel = [refused], client.cancel
    client.cancel = lambda: once.pop() if once else cancel()  # type: ignore[method-assign]
    handle.is_cancel_requested = True
    assert adapter(client).execute(handle).state == CANCELLED
    assert client.cancels == 1


def test_a_goal_that_nobody_listens_to_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "GONE", 0.05)
    client, handle, begun = Client(course=lambda _: time.sleep(0.01)), Handle(), time.monotonic()
    result = adapter(client, listeners=0).execute(handle)
    assert time.monotonic() - begun > 0.05
    assert client.cancels == 1
    assert handle.ends == ["aborted"]
    assert result.why == "no client of the action is left"


def test_a_listener_may_be_found_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "GONE", 0.2)

    def course(waits: int) -> Result | None:
        time.sleep(0.01)
        return Result(DONE, "") if waits == 40 else None

    client = Client(course=course)
    one = action.Adapter(KIND, client, lambda: client.waits % 10 == 9, lambda: False)  # type: ignore[arg-type]
    assert one.execute(Handle()).state == DONE
    assert client.cancels == 0


def test_a_server_that_ends_takes_its_goal_along() -> None:
    ending: list[bool] = []
    client, handle = Client(course=lambda waits: ending.append(True) if waits == 2 else None), Handle()
    one = action.Adapter(KIND, client, lambda: 1, lambda: bool(ending))  # type: ignore[arg-type]
    result = one.execute(handle)
    assert client.cancels == 1
    assert handle.ends == ["aborted"]
    assert (result.state, result.why) == (CANCELLED, "the action server ends")
    late = one.execute(Handle())
    assert (late.state, late.why) == ("refused", "the action server ends")
    assert client.number == 1


def test_a_goal_whose_place_was_taken_does_not_end_as_the_next_one_does() -> None:
    def course(waits: int) -> Result | None:
        if waits == 3:
            client.number, client.result = 2, Result(DONE, "of the next goal")
        return None

    client, handle = Client(course=course), Handle()
    client.feedback = Feedback(elapsed=0.4, ticks=5)
    result = adapter(client).execute(handle)
    assert handle.ends == ["aborted"]
    assert (result.state, result.why, result.ticks) == (CANCELLED, "another goal took its place", 5)


def test_goals_beyond_a_few_are_rejected_until_one_has_ended() -> None:
    going = threading.Event()
    client = Client(course=lambda _: Result(DONE, "") if going.wait(0.01) else None)
    one = adapter(client)
    assert one.settled
    goals = [threading.Thread(target=one.execute, args=(Handle(),)) for _ in range(action.MOST)]
    for index, thread in enumerate(goals):
        assert one.take(GOAL) == GoalResponse.ACCEPT, index
        thread.start()
        while one._running <= index:
            time.sleep(0.001)
    assert one.take(GOAL) == GoalResponse.REJECT
    assert not one.settled
    going.set()
    for thread in goals:
        thread.join(10.0)
    assert one.take(GOAL) == GoalResponse.ACCEPT
    assert not one.settled, "the last result may not be sent yet"
    time.sleep(action.SENT + 0.05)
    assert one.settled
