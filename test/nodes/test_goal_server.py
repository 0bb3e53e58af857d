"""Goals over DDS: a client gives them to the policy node, and learns how they fare."""

from __future__ import annotations

import time

from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Bool, Float64, String

from vla_entropy_ros.client import (
    CANCELLED,
    DONE,
    HELD,
    RUNNING,
    TIMED_OUT,
    Until,
    VlaClient,
)
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
