"""What the policy node hears over DDS, who speaks there, and what it says when nothing comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String

from vla_entropy_ros.nodes.common.diagnostics import ERROR, OK, STALE, WARN
from vla_entropy_ros.nodes.common.messages import is_stop
from vla_entropy_ros.nodes.policy.node import PolicyNode

from .robot import INSTRUCTION, Robot
from .test_robot_state import Sensed

OFFERS = [
    (reliability, durability)
    for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
    for durability in (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)
]
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def foreigner() -> Iterator[Callable[..., Node]]:
    """Makes nodes of another process, as far as DDS can tell: within one, a topic has one type."""
    contexts: list[Context] = []

    def make(name: str) -> Node:
        contexts.append(Context())
        contexts[-1].init()
        return Node(name, context=contexts[-1])

    yield make
    for context in contexts:
        context.try_shutdown()


def ready(stage: Any, checkpoint: Path, **overrides: Any) -> Robot:
    """An active robot that nobody has instructed."""
    robot = Robot(stage, checkpoint, **overrides)
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    return robot


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: "-".join(policy.name for policy in offer).lower())
def test_an_instruction_of_any_offer_is_heard_and_an_empty_one_stops(
    stage: Any, checkpoint: Path, offer: tuple[ReliabilityPolicy, DurabilityPolicy]
) -> None:
    robot = ready(stage, checkpoint)
    profile = QoSProfile(depth=1, reliability=offer[0], durability=offer[1])
    publisher = stage.add(Node("person")).create_publisher(String, "instruction", profile)
    stage.until(lambda: publisher.get_subscription_count() > 0, "a listener")
    for text in (INSTRUCTION, ""):

        def heard(text: str = text) -> bool:
            publisher.publish(String(data=text))  # a best-effort message may get lost
            time.sleep(0.05)
            return robot.inference.instruction == (text or None)

        stage.until(heard, f"'{text}'")
    stage.until(lambda: bool(robot.chunks) and is_stop(robot.chunks[-1]), "the order to stop")


@pytest.mark.parametrize("text", [INSTRUCTION, ""])
def test_an_instruction_that_was_latched_before_the_start_is_heard(stage: Any, checkpoint: Path, text: str) -> None:
    stage.add(Node("person")).create_publisher(String, "instruction", LATCHED).publish(String(data=text))
    robot = ready(stage, checkpoint, default_instruction="put it down")
    stage.until(lambda: robot.inference.instruction == (text or None), "the latched one")


def test_an_instruction_of_another_type_holds_the_arm_until_its_publisher_is_gone(
    robot: Robot, foreigner: Callable[..., Node]
) -> None:
    robot.tick()
    person = foreigner("person")
    person.create_publisher(Bool, "instruction", 10)
    robot.stage.until(lambda: is_stop(robot.chunks[-1]), "the order to stop")
    said = (
        "holding: /instruction: /person publishes std_msgs/msg/Bool, which can't be heard; expected std_msgs/msg/String"
    )
    robot.stage.diagnostic(
        "policy: inference", lambda status: status.level == ERROR and status.message.startswith(said)
    )
    received = robot.statistics.received
    robot.see()
    robot.quiet(lambda: robot.statistics.received > received, "an image")
    person.destroy_node()
    robot.stage.until(lambda: robot.inference.blocked is None, "its end")
    robot.tick()


def test_a_wrong_topic_is_told_with_those_that_have_images(stage: Any, checkpoint: Path) -> None:
    driver = stage.add(Node("driver", namespace="/camera"))
    driver.create_publisher(Image, "color/image_raw", 1)
    ready(stage, checkpoint)
    said = (
        "no image yet on /image or /image/compressed: nobody publishes there; "
        "images are on /camera/color/image_raw: start with image:=/camera/color/image_raw"
    )
    status = stage.diagnostic("policy: observation", lambda status: said in status.message)
    assert status.level == STALE


def test_a_publisher_that_can_not_be_heard_is_told(stage: Any, checkpoint: Path) -> None:
    driver = stage.add(Node("driver"))
    driver.create_publisher(Image, "image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    ready(stage, checkpoint, **{"observation.reliability": "reliable"})
    said = "no image yet on /image: /driver publishes there best effort, observation.reliability asks for reliable"
    assert stage.diagnostic("policy: observation", lambda status: said in status.message).level == STALE


def test_a_publisher_of_another_type_is_told(stage: Any, checkpoint: Path, foreigner: Callable[..., Node]) -> None:
    driver = foreigner("driver")
    driver.create_publisher(Bool, "image", 1)
    ready(stage, checkpoint)
    said = "no image yet on /image: /driver publishes std_msgs/msg/Bool there, expected sensor_msgs/msg/Image"
    stage.diagnostic("policy: observation", lambda status: said in status.message)


def test_what_to_type_stands_in_the_diagnostics(stage: Any, checkpoint: Path) -> None:
    robot = Robot(stage, checkpoint)

    def said(text: str, level: bytes) -> None:
        stage.diagnostic("policy: inference", lambda status: text in status.message and status.level == level)

    said("unconfigured, nothing is loaded: ros2 lifecycle set /policy configure", STALE)
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    said("inactive, nothing is published: ros2 lifecycle set /policy activate", STALE)
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    typed = "ros2 topic pub --once /instruction std_msgs/msg/String \"{data: 'pick up the red cube'}\""
    said(f"no instruction: publish one (std_msgs/String, not empty) on '/instruction': {typed} (nobody publishes", WARN)
    assert robot.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    said("shut down for good: start the node again", STALE)


def test_an_empty_instruction_is_told_as_received(robot: Robot) -> None:
    robot.instruct("")
    said = (
        "no instruction: an empty one was received, which stops the arm: publish one that is not, on '/instruction': "
        "ros2 topic pub --once /instruction std_msgs/msg/String \"{data: 'pick up the red cube'}\""
    )
    assert robot.stage.diagnostic("policy: inference", lambda status: status.message == said).level == WARN


def test_an_instruction_that_deactivate_has_forgotten_is_asked_for_again(robot: Robot) -> None:
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    said = "(/tester publishes there (reliable) and has sent none since configure or deactivate)"
    robot.stage.diagnostic("policy: inference", lambda status: status.message.endswith(said))


def test_simulated_time_that_has_not_begun_or_stands_still_is_told(stage: Any, checkpoint: Path) -> None:
    ready(stage, checkpoint, use_sim_time=True, default_instruction=INSTRUCTION)

    def both(text: str) -> None:
        for task in ("inference", "observation"):
            stage.diagnostic(f"policy: {task}", lambda status: text in status.message and status.level == STALE)

    both("use_sim_time is true and nothing has come on /clock")
    clock = stage.publisher(Clock, "/clock")
    message, began = Clock(), time.monotonic_ns()

    def going_on() -> bool:
        message.clock.sec, message.clock.nanosec = divmod(12 * 10**9 + time.monotonic_ns() - began, 10**9)
        clock.publish(message)
        return "no image yet" in stage.status["policy: observation"].message

    stage.until(going_on, "what else is missing")
    both(f"/clock stands still at {message.clock.sec + message.clock.nanosec / 1e9:.2f} s")
    assert "is the simulator paused or gone" in stage.status["policy: inference"].message


def test_two_cameras_on_one_topic_are_named(robot: Robot) -> None:
    others = [robot.stage.add(Node(name)).create_publisher(Image, "image", 10) for name in ("left", "right")]
    for other in others:
        robot.stage.until(lambda other=other: other.get_subscription_count() > 0, "the policy")
    said = "several publishers send images on /image (/left, /right), one camera is expected"

    def told() -> bool:
        for publisher in others:
            publisher.publish(robot.image())
        status = robot.stage.status.get("policy: observation")
        return status is not None and said in status.message and status.level == WARN

    robot.stage.until(told, "both names")


def test_two_who_tell_one_joint_are_named(stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Sensed(stage, checkpoint, ("shoulder", "elbow"), monkeypatch).begin(**{"warn.silence": 60.0})
    names = {"left": ["shoulder", "elbow"], "right": ["shoulder", "wrist"]}
    nodes = {name: stage.add(Node(name)).create_publisher(JointState, "joint_states", 10) for name in names}

    def told() -> bool:
        image = one.robot.image()
        for name, publisher in nodes.items():
            message = JointState(name=names[name], position=[0.1, 0.2])
            message.header.stamp = image.header.stamp
            publisher.publish(message)
        one.robot.see(image)
        status = stage.status.get("policy: observation")
        return status is not None and status.message.startswith(said) and status.level == WARN

    said = "several publishers tell shoulder on /joint_states (/left, /right), one is expected"
    stage.until(told, "both names")


def test_joints_with_a_prefix_are_told_with_the_parameter_to_set(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Sensed(stage, checkpoint, ("joint1", "joint2"), monkeypatch).begin()
    one.joints(one.robot.now(), left_joint1=0.1)
    one.joints(one.robot.now(), left_joint2=0.2)
    one.refused("the names differ by a prefix (left_): start with state.names:=left_joint1,left_joint2")


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        (0.0, "the state's shoulder on /joint_states has no time, its stamp is zero"),
        (1000.0, "the state's shoulder on /joint_states is stamped by another clock"),
    ],
)
def test_joints_of_another_clock_are_told(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, stamp: float, said: str
) -> None:
    from builtin_interfaces.msg import Time

    one = Sensed(stage, checkpoint, ("shoulder",), monkeypatch).begin()
    one.joints(Time(sec=int(stamp)), shoulder=0.1)
    one.refused(said)


def test_all_is_well_without_a_word(robot: Robot) -> None:
    image = robot.image()

    def fine() -> bool:
        image.header.stamp = robot.now()
        robot.see(image)
        tasks = [robot.stage.status.get(f"policy: {task}") for task in ("inference", "observation", "cache")]
        return all(status is not None and status.level == OK for status in tasks)

    robot.stage.until(fine, "three times OK")


def test_a_second_node_of_the_name_is_told_also_while_nothing_is_loaded(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = Robot(stage, checkpoint)
    monkeypatch.setattr(type(robot.node._diagnostics.twins), "problem", "two nodes are called /policy")
    status = stage.diagnostic("policy: inference", lambda status: status.message == "two nodes are called /policy")
    assert status.level == WARN


def test_a_callback_that_fails_orders_a_stop_and_the_node_goes_on(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.tick()

    def broken() -> str | None:
        raise RuntimeError("no graph")

    inputs = robot.node._inputs
    assert inputs is not None
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "match", broken)
        robot.stage.until(lambda: is_stop(robot.chunks[-1]), "the order to stop")
        said = "match failed: RuntimeError: no graph"
        robot.stage.diagnostic("policy: inference", lambda status: status.message.startswith(said))
    robot.tick()


def test_names_and_commands_are_those_of_the_namespace(stage: Any, checkpoint: Path) -> None:
    values = [Parameter(name, value=value) for name, value in {"checkpoint": str(checkpoint)}.items()]
    stage.add(PolicyNode(namespace="/left", parameter_overrides=values))
    said = "unconfigured, nothing is loaded: ros2 lifecycle set /left/policy configure"
    stage.diagnostic("left/policy: inference", lambda status: status.message == said)
