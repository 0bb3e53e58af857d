"""How a goal begins over DDS: when its client is heard, and what became of the request is known."""

from __future__ import annotations

import time
from threading import Timer
from typing import Any
from unittest import mock

import pytest
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.qos import ReliabilityPolicy
from rclpy.task import Future
from std_msgs.msg import Int32

from vla_entropy_ros.client import (
    CANCELLED,
    RUNNING,
    VlaClient,
)
from vla_entropy_ros.client.link import parameter_messages
from vla_entropy_ros.client.starting import LATE
from vla_entropy_ros.nodes.common.goals import BEAT, START, unheard

from .robot import INSTRUCTION, Robot, until

SOON = 20.0  # seconds: a busy machine must not fail this; the fault suite measures


def test_a_goal_does_not_begin_before_its_client_is_heard(acting: Robot, client: VlaClient) -> None:
    values = {"instruction": "push it", "heartbeat": 0.5, "client": 7}
    asked = SetParametersAtomically.Request(parameters=parameter_messages(values, {}))

    def answer() -> str:
        return str(client.link.call(SetParametersAtomically, f"policy/{START}", asked, SOON).result.reason)

    before = acting.inference.instruction
    assert answer() == unheard(7, "/policy")
    assert (acting.inference.instruction, client.feedback.state) == (before, "idle")
    word = client.node.create_publisher(Int32, f"/policy/{BEAT}", 10)

    def taken() -> bool:
        word.publish(Int32(data=7))
        return answer() == "1"

    until(taken, "a goal that is taken")
    assert acting.inference.instruction == "push it"


def test_a_heartbeat_is_heard_at_once_or_not_at_all(acting: Robot, client: VlaClient) -> None:
    topic = f"/policy/{BEAT}"
    until(lambda: client.node.count_subscribers(topic) > 0, "the policy's ear")
    (ear,) = client.node.get_subscriptions_info_by_topic(topic)
    assert ear.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT  # what was lost does not hold up what follows


def test_a_client_that_never_comes_through_is_told_so(acting: Robot, client: VlaClient) -> None:
    client.patience = 0.5
    client._starting._beats = client.node.create_publisher(Int32, "elsewhere", 10)
    client.node.create_subscription(Int32, "elsewhere", lambda _: None, 10)
    answer = client.run(INSTRUCTION)
    assert not answer
    assert "is not heard yet: say that number on /policy/goal/heartbeat" in answer.words


def test_a_client_is_heard_also_while_it_waits_for_the_answer(
    acting: Robot, client: VlaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = client.link.call

    def late(*asked: Any, **more: Any) -> Any:
        answer = call(*asked, **more)
        time.sleep(1.5)  # as DDS may hold it back from a client that is new
        return answer

    monkeypatch.setattr(client.link, "call", late)
    assert client.run(INSTRUCTION, heartbeat=0.5)
    assert client.feedback.state == RUNNING, client.feedback.why
    assert acting.inference.instruction == INSTRUCTION


def test_a_request_that_can_not_be_read_is_answered_in_words(acting: Robot, client: VlaClient) -> None:
    for changes, words in (
        (parameter_messages({"instruction": "push it"}, {}), "instruction is given twice"),
        ([Parameter(name="until", value=ParameterValue(type=77))], "unexpected parameter type 77"),
    ):
        asked = SetParametersAtomically.Request(parameters=parameter_messages({"instruction": "a"}, {}) + changes)
        answer = client.link.call(SetParametersAtomically, f"policy/{START}", asked, SOON).result
        assert (answer.successful, answer.reason) == (False, words)


def test_what_a_status_tells_counts_where_the_answer_is_lost(acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION)  # the status is heard by now
    assert client.set({"goal.preempt": True})
    ask = client.link.prepare(SetParametersAtomically, f"policy/{START}")
    with mock.patch.object(ask, "call_async", lambda request: (type(ask).call_async(ask, request), Future())[1]):
        assert client.run("push it", heartbeat=0.0)
    assert (client.number, client.is_done, acting.inference.instruction) == (2, False, "push it")


def test_a_refusal_that_comes_late_is_asked_about_again(
    acting: Robot, client: VlaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, answers = client.link.call, []
    with VlaClient(name="another", patience=SOON) as other:
        assert other.run("push it")

        def late(*asked: Any, **more: Any) -> Any:
            answers.append(call(*asked, **more).result)
            if len(answers) == 1:
                assert other.cancel()
                time.sleep(LATE + 0.1)
            return SetParametersAtomically.Response(result=answers[-1])

        monkeypatch.setattr(client.link, "call", late)
        assert client.run(INSTRUCTION)
    assert [answer.successful for answer in answers] == [False, True]
    assert "is running" in answers[0].reason


def test_a_goal_that_begins_after_it_was_given_up_ends(acting: Robot, client: VlaClient) -> None:
    until(lambda: client.silent < 1.0, "the policy's word")
    client.patience = 0.1
    ask = client.link.prepare(SetParametersAtomically, f"policy/{START}")
    send = ask.call_async

    def late(request: Any) -> Future[Any]:
        Timer(0.3, send, [request]).start()
        return Future()

    with mock.patch.object(ask, "call_async", late):
        answer = client.run(INSTRUCTION, heartbeat=0.0)
    assert not answer
    assert "no answer" in answer.words
    assert client.is_done
    until(lambda: client.feedback.state == CANCELLED, "the end of a goal that nobody knows of")
    assert acting.inference.instruction is None
