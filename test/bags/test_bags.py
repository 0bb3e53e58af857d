"""Bags: the one that ships, recording, replay through the engine and through the node."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from vla_entropy_ros.bags.bag import COMPRESSED, JOINT_STATE, STRING, Bag, BagError, Recorder
from vla_entropy_ros.bags.record_simulation import IMAGES, STATES, record_simulated
from vla_entropy_ros.bags.replay_engine import replay_bag
from vla_entropy_ros.cli import main
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.images import encode_jpeg
from vla_entropy_ros.resources import default_checkpoint, share_path

SHIPPED = share_path("bags/pick_red")


def test_the_shipped_bag_is_small_and_shows_the_arm_at_work() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 1_000_000
    with Bag(SHIPPED) as bag:
        assert (bag.topic, bag.kind, bag.instruction) == (IMAGES, COMPRESSED, "pick up the red cube")
        frames = list(bag.frames())
        assert frames[0].pixels().shape == (224, 224, 3)
        assert 3.0 < frames[-1].stamp - frames[0].stamp < 5.0
        assert [frame.recorded for frame in frames] == [round(frame.stamp * 1e9) for frame in frames]


def test_a_replay_answers_each_due_image_and_says_what_it_cost() -> None:
    result = CliRunner().invoke(main, ["replay", str(SHIPPED), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output)
    assert (figures["images"], figures["ticks"], figures["refused"]) == (40, 40, {})
    assert 0 < figures["latency_ms"]["total"]["p50"] <= figures["latency_ms"]["total"]["max"]
    assert all(np.isfinite(step["actions"]).all() and len(step["actions"][0]) == 7 for step in figures["steps"])
    assert any(step["reused"] for step in figures["steps"])
    shown = CliRunner().invoke(main, ["replay", str(SHIPPED)])
    assert "40 images, 40 ticks, 'pick up the red cube'" in shown.output


def test_a_replay_through_the_node_gives_the_same_actions() -> None:
    with CliRunner().isolated_filesystem():
        runs = {
            way: CliRunner().invoke(main, ["replay", str(SHIPPED), "--json", *way], catch_exceptions=False)
            for way in ((), ("--node",))
        }
        engine, node = ({round(s["stamp"], 3): s for s in json.loads(run.output)["steps"]} for run in runs.values())
    assert len(node) > 20  # a busy machine may skip some
    first = min(node)
    np.testing.assert_allclose(node[first]["actions"], engine[first]["actions"], atol=1e-5)
    assert set(node) <= set(engine)
    assert node[first]["latency"]["capture_age"] >= 0


def test_the_arm_can_be_recorded_without_ros_but_never_over_another_bag(tmp_path: Path) -> None:
    policy = Policy.load(default_checkpoint())
    count = record_simulated(tmp_path / "bag", policy, "pick_blue", seed=7, seconds=0.5)
    with Bag(tmp_path / "bag" / "bag.mcap") as bag:
        assert (bag.instruction, bag.state_topic) == ("pick up the blue cube", STATES)
        frames = list(bag.frames())
        assert len(frames) == count == 5
        joints = [frame.joints for frame in frames if frame.joints is not None]
        assert [one.stamp for one in joints] == [frame.stamp for frame in frames]
        assert {one.names for one in joints} == {(*(f"joint{n}" for n in range(1, 8)), "finger_left", "finger_right")}
        assert len({one.positions.tobytes() for one in joints}) == 5  # it moves
    with pytest.raises(BagError, match="no bag can be written to"):
        record_simulated(tmp_path / "bag", policy, "pick_blue", seed=7, seconds=0.5)


def write_bag(
    folder: Path, images: Sequence[float], states: Sequence[tuple[float, float]], *topics: str, delay: float = 0.0
) -> Path:
    """A bag of images at these times [s], recorded `delay` later, and of joints at times, each at a position."""
    data = np.frombuffer(encode_jpeg(np.full((56, 56, 3), 99, np.uint8)), np.uint8)
    names = topics or (STATES,)
    with Recorder(folder, [(IMAGES, COMPRESSED), *((name, JOINT_STATE) for name in names)]) as bag:
        types = bag.types.types

        def header(stamp: float) -> Any:
            return types["std_msgs/msg/Header"](
                types["builtin_interfaces/msg/Time"](*divmod(round(stamp * 1e9), 10**9)), ""
            )

        for stamp in images:
            bag.add(IMAGES, round((stamp + delay) * 1e9), types[COMPRESSED](header(stamp), "jpeg", data))
        for stamp, position in states:
            message = types[JOINT_STATE](header(stamp), ["joint1"], np.array([position]), np.zeros(0), np.zeros(0))
            for name in names:
                bag.add(name, round(stamp * 1e9), message)
    return folder


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_each_image_has_the_joint_states_nearest_to_it(tmp_path: Path, delay: float) -> None:
    states = [(2.0, 1.0), (2.08, 2.0), (2.12, 3.0), (2.19, 4.0), (2.21, 5.0), (5.0, 6.0)]
    with Bag(write_bag(tmp_path / "bag", [2.0, 2.1, 2.2, 3.0], states, delay=delay)) as bag:
        positions = [None if f.joints is None else float(f.joints.positions[0]) for f in bag.frames()]
    assert positions[0] == 1.0
    assert positions[1] == 3.0  # of two as near, the newer
    assert positions[2] == 5.0
    assert positions[3] == 5.0  # far off, and the policy is told how far


def test_of_several_joint_states_those_of_the_whole_robot_are_read(tmp_path: Path) -> None:
    topics = ("/gripper/joint_states", "/joint_states", "/wanted")
    folder = write_bag(tmp_path / "bag", [2.0], [(2.0, 1.0)], *topics)
    with Bag(folder) as bag, Bag(folder, state_topic="/wanted") as other:
        assert (bag.state_topic, other.state_topic) == ("/joint_states", "/wanted")
    with pytest.raises(BagError, match="no joint states '/arm' in the bag: valid are /gripper/joint_states, /joint_"):
        Bag(folder, state_topic="/arm")


def test_a_policy_with_a_state_is_handed_it_or_refuses(tmp_path: Path) -> None:
    policy = Policy.load(default_checkpoint())
    policy.info = replace(policy.info, state_names=("joint1",))
    policy.warm_up = lambda ticks=2: None  # type: ignore[method-assign]  # noise has no state
    stamps = [2.0, 2.1, 2.2, 2.3]
    with Bag(write_bag(tmp_path / "whole", stamps, [(stamp, 0.1) for stamp in stamps])) as bag:
        done = replay_bag(bag, policy, "pick up the red cube", 0.1)
    assert (len(done.steps), done.refused) == (4, {})
    with Bag(write_bag(tmp_path / "none", stamps, [])) as bag:
        done = replay_bag(bag, policy, "pick up the red cube", 0.1)
    assert (len(done.steps), done.refused) == (0, {"the observation has no state: this policy needs joint1": 4})
    policy.info = replace(policy.info, state_names=("joint1", "joint2"))
    with Bag(tmp_path / "whole") as bag:
        done = replay_bag(bag, policy, "pick up the red cube", 0.1)
    ((reason, count),) = done.refused.items()
    assert (count, reason.startswith("the state lacks joint2: this policy needs joint1, joint2")) == (4, True)


def test_broken_images_in_a_bag_are_counted_by_reason(tmp_path: Path) -> None:
    good = encode_jpeg(np.full((56, 56, 3), 99, np.uint8))
    with Recorder(tmp_path / "bag", [("/camera/compressed", COMPRESSED), ("/instruction", STRING)]) as bag:
        types = bag.types.types
        for number in range(6):
            stamp = 10**9 + number * 10**8
            time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
            data = np.frombuffer(good if number % 2 else good[:9], np.uint8)
            header = types["std_msgs/msg/Header"](time, "")
            bag.add("/camera/compressed", stamp, types[COMPRESSED](header, "jpeg", data))
    with Bag(tmp_path / "bag") as opened:
        assert opened.instruction is None
        done = replay_bag(opened, Policy.load(default_checkpoint()), "pick up the red cube", 0.1)
    assert (done.images, len(done.steps)) == (6, 3)
    assert list(done.refused.values()) == [3]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no bag at"), ("", "is no bag"), ("rosbag2_bagfile_information: {}", "is no bag"), ("[", "is no bag")],
)
def test_what_is_no_bag_is_said_in_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "metadata.yaml").write_text(content)
    with pytest.raises(BagError, match=said) as refusal:
        Bag(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_node_hears_the_joint_states_of_the_bag(tmp_path: Path) -> None:
    """A listener in the nodes' domain; the policy that ships does not listen."""
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from sensor_msgs.msg import JointState

    from vla_entropy_ros.bags.replay_node import replay_through_node

    domain = int(os.environ["ROS_DOMAIN_ID"]) % 100 + 1
    context = Context()
    context.init(domain_id=domain)
    listener: Any = Node("listener", context=context)
    heard: list[Any] = []
    listener.create_subscription(JointState, "joint_states", heard.append, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    stamps = [2.0 + 0.1 * number for number in range(10)]
    try:
        with Bag(write_bag(tmp_path / "bag", stamps, [(s, s) for s in stamps])) as bag:
            done = replay_through_node(bag, tmp_path / "logs", domain, {}, "pick up the red cube")
    finally:
        executor.shutdown()
        thread.join()
        listener.destroy_node()
        context.try_shutdown()
    assert done.images == 10
    assert len(done.steps) > 2
    assert [message.position[0] for message in heard] == pytest.approx(stamps)


def test_a_bag_without_a_camera_lists_what_it_has(tmp_path: Path) -> None:
    with Recorder(tmp_path / "bag", [("/instruction", STRING)]) as bag:
        bag.add("/instruction", 1, bag.types.types[STRING](data="wait"))
    with pytest.raises(BagError, match="0 image topics: choose one with --topic; valid are none"):
        Bag(tmp_path / "bag")


def test_topics_of_a_running_robot_are_recorded_as_they_are(tmp_path: Path) -> None:
    """A publisher in a context of its own; the recorder has the default one."""
    from rclpy.context import Context
    from rclpy.node import Node
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import String

    from vla_entropy_ros.bags.record_topics import record_live

    context = Context()
    context.init()
    node: Any = Node("robot", context=context)
    images, texts = node.create_publisher(CompressedImage, IMAGES, 1), node.create_publisher(String, "instruction", 1)
    message = CompressedImage(format="jpeg", data=encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(0.05):
            message.header.stamp = node.get_clock().now().to_msg()
            images.publish(message)
            texts.publish(String(data="pick up the red cube"))

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        began = time.time()
        counts = record_live(tmp_path / "bag", [IMAGES, "instruction"], seconds=2.0)
    finally:
        ended.set()
        thread.join()
        node.destroy_node()
        context.try_shutdown()
    assert min(counts.values()) > 5
    with Bag(tmp_path / "bag") as bag:
        frames = list(bag.frames())
        assert (bag.instruction, len(frames)) == ("pick up the red cube", counts[IMAGES])
    assert began - 1 < frames[0].stamp < time.time()
    assert frames[0].pixels().shape == (16, 16, 3)
