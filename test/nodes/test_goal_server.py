"""Goals over DDS: a client gives them to the policy node, and learns how they fare."""

from __future__ import annotations

import time
from threading import Timer
from typing import Any
from unittest import mock

import pytest
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.context import Context
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Bool, Float64, Int32, String

from vla_entropy_ros.client import (
    CANCELLED,
    DONE,
    HELD,
    RUNNING,
    TIMED_OUT,
    Until,
    VlaClient,
)
from vla_entropy_ros.client.link import parameter_messages
from vla_entropy_ros.client.starting import LATE
from vla_entropy_ros.nodes.common.goals import BEAT, START, unheard
from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.common.messages import is_stop

from .robot import INSTRUCTION, Robot, until

SOON = 20.0  # seconds: a busy machine must not fail this; the fault suite measures


def last_is_stop(robot: Robot) -> bool:
    return bool(robot.chunks) and is_stop(robot.chunks[-1])


def test_a_goal_runs_and_is_told_of_until_it_is_cancelled(acting: Robot, client: VlaClient) -> None:
    assert client.is_done
    assert client.result is None
    answer = client.run(INSTRUCTION)
    assert answer, answer.words
    until(lambda: client.feedback.ticks > 3, "ticks")
    seen = client.feedback
    assert (seen.state, seen.instruction, seen.policy) == (RUNNING, INSTRUCTION, "active")
    assert seen.action_age is not None
    assert seen.action_age < 1.0
    assert seen.entropy is not None
    assert not client.is_done
    assert acting.inference.instruction == INSTRUCTION
    assert client.cancel()
    until(lambda: client.is_done, "the end")
    assert client.result is not None
    assert (client.result.state, client.result.why, client.result.done) == (CANCELLED, "a client asked for it", False)
    assert client.result.ticks >= 3
    until(lambda: last_is_stop(acting), "the order to stop")
    assert acting.inference.instruction is None
    again = client.cancel()
    assert not again
    assert "no goal is running: goal 1" in again.words


def test_a_second_goal_is_refused_or_takes_the_place_of_the_first(acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION)
    with VlaClient(name="another", patience=SOON) as other:
        refused = other.run("push it")
        assert not refused
        assert "is running: cancel it" in refused.words
        assert acting.inference.instruction == INSTRUCTION
        assert client.set({"goal.preempt": True})
        assert other.run("push it")
        until(lambda: client.is_done, "the end of the first")
        assert client.result is not None
        assert (client.result.state, client.result.why) == (CANCELLED, "another goal took its place")
        assert acting.inference.instruction == "push it"
        assert not other.is_done


def test_a_goal_is_done_when_a_topic_says_so(acting: Robot, client: VlaClient) -> None:
    said = client.node.create_publisher(Bool, "done", 10)
    assert client.run(INSTRUCTION, until=Until.topic("done"))
    until(said.get_subscription_count, "a listener")
    said.publish(Bool(data=False))
    time.sleep(0.2)
    assert not client.is_done
    said.publish(Bool(data=True))
    result = client.wait(SOON)
    assert result is not None
    assert (result.state, result.done) == (DONE, True)
    until(lambda: last_is_stop(acting), "the order to stop")


def test_a_goal_is_done_when_the_arm_rests(acting: Robot, client: VlaClient) -> None:
    refused = client.run(INSTRUCTION, until=Until.still(0.3))
    assert "nobody publishes current_pose or joint_states" in refused.words
    poses = client.node.create_publisher(PoseStamped, "current_pose", 1)
    until(lambda: acting.node.count_publishers("current_pose"), "the pose")
    assert client.run(INSTRUCTION, until=Until.still(0.3))
    until(poses.get_subscription_count, "a listener")
    moving = time.monotonic() + 0.8
    while client.result is None and time.monotonic() < moving + SOON:
        pose = PoseStamped()
        pose.pose.position.x = 0.01 * (time.monotonic() % 1000) if time.monotonic() < moving else 1.0
        poses.publish(pose)
        time.sleep(0.02)
    assert client.result is not None
    assert client.result.state == DONE
    assert client.result.elapsed > 0.8


def test_a_goal_ends_by_its_time(acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION, until=Until.time(0.3))
    result = client.wait(SOON)
    assert result is not None
    assert result.state == DONE
    assert client.run(INSTRUCTION, timeout=0.3)
    result = client.wait(SOON)
    assert result is not None
    assert result.state == TIMED_OUT


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


def test_a_client_that_is_gone_stops_the_arm_where_that_is_asked_for(acting: Robot, client: VlaClient) -> None:
    other = VlaClient(name="another", patience=SOON)
    assert other.run(INSTRUCTION, heartbeat=0.5)
    time.sleep(1.8)
    assert acting.inference.instruction == INSTRUCTION  # it says that it is there
    other._starting._own = 0  # as if it hung, or were cut off
    until(lambda: client.feedback.state == HELD, "the end of the goal")
    assert "the client is lost" in client.feedback.why
    until(lambda: last_is_stop(acting), "the order to stop")
    other.close()
    other = VlaClient(name="third", patience=SOON)
    assert other.run(INSTRUCTION, heartbeat=0.0)
    other.close()
    time.sleep(1.5)
    assert client.feedback.state == RUNNING


def test_the_topic_overrules_a_goal(acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION)
    acting.instruct(INSTRUCTION)
    time.sleep(0.2)
    assert not client.is_done  # the same words
    acting.instruct("push it")
    result = client.wait(SOON)
    assert result is not None
    assert (result.state, result.why) == (CANCELLED, "the topic 'instruction' says 'push it'")
    assert acting.inference.instruction == "push it"
    assert client.run(INSTRUCTION)
    assert client.instruct("")
    result = client.wait(SOON)
    assert result is not None
    assert "empty instruction" in result.why


def test_an_emergency_stop_ends_a_goal_with_its_words(acting: Robot, client: VlaClient) -> None:
    states = client.node.create_publisher(String, "command/state", LATCHED)
    assert client.run(INSTRUCTION)
    states.publish(String(data="holding: emergency stop: call ~/release, then ~/enable"))
    result = client.wait(SOON)
    assert result is not None
    assert (result.state, client.feedback.motion) == (HELD, "holding")
    assert "emergency stop" in result.why


def test_how_long_an_arm_may_be_held_is_a_parameter(acting: Robot, client: VlaClient) -> None:
    states = client.node.create_publisher(String, "command/state", LATCHED)
    assert client.set({"goal.patience": 0.5})
    assert client.run(INSTRUCTION)
    states.publish(String(data="disabled"))
    result = client.wait(SOON)
    assert result is not None
    assert (result.state, result.why) == (HELD, "the arm is disabled: call command/enable")


def test_a_policy_that_is_deactivated_ends_the_goal_and_takes_no_other(acting: Robot, client: VlaClient) -> None:
    assert client.run(INSTRUCTION)
    assert acting.change(Transition.TRANSITION_DEACTIVATE)
    result = client.wait(SOON)
    assert result is not None
    assert result.state == HELD
    refused = client.run(INSTRUCTION)
    assert refused.words == "the policy is inactive: ros2 lifecycle set /policy activate"
    assert acting.change(Transition.TRANSITION_CLEANUP)
    assert client.run(INSTRUCTION).words == "the policy is unconfigured: ros2 lifecycle set /policy configure"
    assert client.bring_up()
    assert client.run(INSTRUCTION)


def test_an_instruction_that_the_policy_cannot_read_is_refused(acting: Robot, client: VlaClient) -> None:
    refused = client.run("pick up the red cube " * 100)
    assert not refused
    assert "tokens: at most 128 are possible" in refused.words
    assert len(refused.words) < 200
    assert acting.inference.instruction is None
    assert not client.run("")
    assert "valid are 'topic <name>'" in client.run(INSTRUCTION, until="whenever").words
    assert "until 'topic 4u'" in client.run(INSTRUCTION, until="topic 4u").words


def test_who_says_that_it_is_done_must_be_understood(acting: Robot, client: VlaClient) -> None:
    apart = Context()  # one participant has one type for a topic
    apart.init(args=[])
    stranger = Node("stranger", context=apart)
    stranger.create_publisher(Float64, "done", 10)
    until(lambda: acting.node.count_publishers("done"), "the publisher")
    refused = client.run(INSTRUCTION, until=Until.topic("done"))
    stranger.destroy_node()
    apart.try_shutdown()
    assert "std_msgs/msg/Float64, which can't be heard; expected std_msgs/msg/Bool" in refused.words
