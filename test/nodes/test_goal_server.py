"""Goals over DDS: a client gives them to the policy node, and learns how they fare."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from std_msgs.msg import Bool, Float64, String

from vla_entropy_ros.client import (
    CANCELLED,
    DONE,
    HELD,
    RUNNING,
    TIMED_OUT,
    ClientError,
    Until,
    VlaClient,
    find_policies,
)
from vla_entropy_ros.nodes.common.facts import facts, facts_message
from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.common.messages import is_stop

from .robot import INSTRUCTION, Robot

SOON = 20.0  # seconds: a busy machine must not fail this; the fault suite measures


@pytest.fixture
def acting(stage: Any, checkpoint: Path) -> Iterator[Robot]:
    """A robot without an instruction, whose camera shows something all the time."""
    robot = Robot(stage, checkpoint).activate("")
    stage.until(lambda: robot.images.get_subscription_count() > 0, "a listener of the camera")
    ending = threading.Event()

    def show() -> None:
        while not ending.wait(0.03):
            robot.images.publish(robot.image())

    camera = threading.Thread(target=show)
    camera.start()
    yield robot
    ending.set()
    camera.join()


@pytest.fixture
def client() -> Iterator[VlaClient]:
    with VlaClient(patience=SOON) as one:
        yield one


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


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


def test_a_client_that_is_gone_stops_the_arm_where_that_is_asked_for(acting: Robot, client: VlaClient) -> None:
    other = VlaClient(name="another", patience=SOON)
    assert other.run(INSTRUCTION, heartbeat=0.5)
    time.sleep(1.8)
    assert acting.inference.instruction == INSTRUCTION  # it says that it is there
    other.close()
    until(lambda: client.feedback.state == HELD, "the end of the goal")
    assert "the client is lost" in client.feedback.why
    until(lambda: last_is_stop(acting), "the order to stop")
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
    client.node.create_publisher(Float64, "done", 10)
    until(lambda: acting.node.count_publishers("done"), "the publisher")
    refused = client.run(INSTRUCTION, until=Until.topic("done"))
    assert "std_msgs/msg/Float64, which can't be heard; expected std_msgs/msg/Bool" in refused.words


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


def test_every_tick_is_told_in_one_message_with_the_stamp_of_its_image(stage: Any, checkpoint: Path) -> None:
    robot = Robot(stage, checkpoint, k1=2, k2=5, T=2, row_budget=9, mode="info_entropy").activate()
    told = stage.listen(DiagnosticArray, "/policy/status")
    totals = stage.listen(Float64, "/policy/latency/total")
    stamps = [robot.tick().header.stamp for _ in range(3)]
    stage.until(lambda: len(told) == len(totals) == 3, "the status")
    assert [message.header.stamp for message in told] == stamps
    values = [facts(message) for message in told]
    assert [(one["episode"], one["tick"], one["schedule/t"]) for one in values] == [
        ("1", "0", "0"), ("1", "1", "1"), ("1", "2", "2")
    ]  # fmt: skip
    assert [float(one["latency/total"]) for one in values] == pytest.approx([one.data for one in totals], rel=1e-4)
    assert (values[0]["instruction"], values[0]["mode"]) == (INSTRUCTION, "info_entropy")
    assert (values[0]["tokens/fresh"], values[0]["reason"], told[0].status[0].name) == (
        "16",
        "new episode",
        "/policy: tick",
    )
    assert int(values[2]["tokens/fresh"]) + int(values[2]["tokens/reused"]) == 16
    assert (values[2]["hold"], told[2].status[0].message) == ("", values[2]["reason"])
