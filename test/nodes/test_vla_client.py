"""What a client is told in words: sets, nobody there, two policies of one name, one that has gone."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from vla_entropy_ros.client import CANCELLED, HELD, ClientError, VlaClient, find_policies
from vla_entropy_ros.nodes.common.facts import facts_message
from vla_entropy_ros.nodes.common.listen import LATCHED

from .robot import INSTRUCTION, Robot, until

ROOT = Path(__file__).parents[2]
SOON = 20.0  # seconds: a busy machine must not fail this


def test_sets_are_answered_in_words(acting: Robot, client: VlaClient) -> None:
    assert client.set(k1=1)
    assert acting.node.get_parameter("k1").value == 1
    refused = client.set(k1=1033)
    assert not refused
    assert "valid are 0 to 16" in refused.words
    assert "there is no parameter k9" in client.set(k9=1).words
    assert "is no value of a parameter" in client.set(k1=object()).words
    client.patience = 0.5
    assert "it is not there" in client.set({"k1": 1}, node="nobody").words


def test_nobody_there_is_said_in_time_and_in_words() -> None:
    began = time.monotonic()
    with VlaClient("left", patience=0.3) as client:
        refused = client.run(INSTRUCTION)
        assert not refused
        assert "no policy in namespace /left; namespaces with one: " in refused.words
        for answer in (client.cancel(), client.enable(), client.reset(), client.set(k1=2), client.instruct("a")):
            assert not answer
            assert "/left/" in answer.words
        assert client.is_done
    assert time.monotonic() - began < 6.0


def test_two_policies_of_one_name_take_no_goal(stage: Any, acting: Robot, client: VlaClient) -> None:
    second = stage.tester.create_publisher(DiagnosticArray, "/policy/goal/status", LATCHED)
    until(lambda: find_policies(client.node).get("/") == 2, "both")
    assert client.several is None  # one that was killed is in the graph for a while
    second.publish(facts_message("/policy: goal", acting.now(), {"goal": 0, "state": "idle"}))
    until(lambda: client.several is not None, "the second one's voice")
    second.publish(facts_message("/policy: goal", acting.now(), {"goal": 0, "state": "idle"}))
    refused = client.run(INSTRUCTION)
    assert "2 policies are named /policy" in refused.words
    stage.tester.destroy_publisher(second)


def test_a_name_that_no_node_can_have_is_refused_in_words() -> None:
    with pytest.raises(ClientError, match="namespace"):
        VlaClient("left arm")
    with pytest.raises(ClientError, match="the namespace is text, not 5"):
        VlaClient(5)  # type: ignore[arg-type]
    for patience in (-1.0, math.nan, math.inf, "x"):
        with pytest.raises(ClientError, match=f"patience is {patience!r}, expected seconds"):
            VlaClient(patience=patience)  # type: ignore[arg-type]


def test_a_second_policy_is_not_taken_for_the_first_that_was_started_anew(
    stage: Any, acting: Robot, client: VlaClient
) -> None:
    assert client.run(INSTRUCTION)
    second = stage.tester.create_publisher(DiagnosticArray, "/policy/goal/status", LATCHED)
    for _ in range(10):
        second.publish(facts_message("/policy: goal", acting.now(), {"goal": 0, "state": "idle"}))
        time.sleep(0.1)
    assert not client.is_done
    stage.tester.destroy_publisher(second)
    until(lambda: client.several is None, "one voice")
    assert client.cancel()
    until(lambda: client.is_done, "the end")
    assert client.result is not None
    assert client.result.why == "a client asked for it"


def test_a_service_of_another_type_is_refused_in_words_and_hinders_nothing(acting: Robot, client: VlaClient) -> None:
    for service in ("policy/set_parameters_atomically", "policy/goal/start", "policy/change_state"):
        answer = client.trigger(service)
        assert not answer
        assert "can't be asked as std_srvs/srv/Trigger" in answer.words
    assert "is no name of a service" in client.trigger(5).words  # type: ignore[arg-type]
    client.patience = 0.3
    assert not client.trigger("command/enable")  # nobody is there yet: of which type it will be is not known
    assert "/command/enable: it is not there" in client.disable().words
    client.patience = 20.0
    assert client.set(k1=2)
    assert client.trigger("policy/reset")


def test_a_policy_that_has_gone_is_an_end_in_words(stage: Any, acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION, heartbeat=0.0)
    stage.remove(acting.node, close=True)
    result = client.wait(SOON)
    assert result is not None
    assert result.state == HELD


def test_a_refused_goal_has_no_result_and_takes_none_from_the_one_before(acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION, until="time 0.2")
    result = client.wait(SOON)
    assert result is not None
    assert result.done
    assert not client.run("pick up the red cube " * 100)
    assert (client.is_done, client.result) == (True, None)
    assert client.run(INSTRUCTION)
    assert not client.run("push it")  # refused, and the first one goes on
    assert not client.is_done


def test_leaving_cancels_the_goal_and_what_is_closed_says_so(acting: Robot, client: VlaClient) -> None:
    with VlaClient(name="leaving", patience=SOON) as leaving:
        assert leaving.run(INSTRUCTION)
    until(lambda: client.feedback.state == CANCELLED, "the end of the goal")
    assert leaving.result is not None
    assert leaving.result.state == CANCELLED
    for answer in (
        leaving.run(INSTRUCTION), leaving.cancel(), leaving.enable(), leaving.set(k1=2), leaving.instruct("a"),
        leaving.emergency_stop(), leaving.bring_up(),
    ):  # fmt: skip
        assert (answer.ok, answer.words) == (False, "this client is closed: make another one")


def test_what_is_no_value_is_answered_in_words(acting: Robot, client: VlaClient) -> None:
    given: Any
    for given, words in (
        (client.run(INSTRUCTION, until=5), "until is 5, expected text"),  # type: ignore[arg-type]
        (client.run(INSTRUCTION, timeout=None), "timeout is None, expected a number"),  # type: ignore[arg-type]
        (client.run(INSTRUCTION, timeout="x"), "timeout is 'x', expected a number"),  # type: ignore[arg-type]
        (client.instruct(None), "an instruction is text, not None"),  # type: ignore[arg-type]
        (client.instruct("pick\0up"), "holds a sign that can't be sent"),
        (client.instruct("\ud800"), "holds a sign that can't be sent"),
        (client.set(row_budget=10**30), "is no value of a parameter: it takes over 64 bits"),
        (client.set({3: 4}), "3 is no name of a parameter"),  # type: ignore[dict-item]
        (client.set([1]), "expected values by name"),  # type: ignore[arg-type]
        (client.set({"k1": 1}, node="bad node"), "service name"),
    ):
        assert not given
        assert words in given.words


def test_a_client_that_nobody_closes_does_not_break_the_end_of_a_program() -> None:
    program = "from vla_entropy_ros.client import VlaClient; print(VlaClient(patience=0.3).cancel().words)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "/policy/goal/cancel: " in done.stdout) == (0, True), done.stderr
