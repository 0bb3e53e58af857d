"""What a client is told in words: sets, nobody there, two policies of one name, one that has gone."""

from __future__ import annotations

import time
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray

from vla_entropy_ros.client import HELD, ClientError, VlaClient, find_policies
from vla_entropy_ros.nodes.common.facts import facts_message
from vla_entropy_ros.nodes.common.listen import LATCHED

from .robot import INSTRUCTION, Robot, until

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
        assert "no policy in namespace /left: there are" in refused.words
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


def test_a_policy_that_has_gone_is_an_end_in_words(stage: Any, acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION, heartbeat=0.0)
    stage.remove(acting.node, close=True)
    result = client.wait(SOON)
    assert result is not None
    assert result.state == HELD
