"""The robot's state in bags: joints and pose by stamp, through the engine and through a node."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.bags.bag import Bag, BagError
from vla_entropy_ros.bags.record_simulation import POSES, STATES
from vla_entropy_ros.bags.replay_engine import replay_bag
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.control.pose import POSE_FIELDS
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.resources import SMALL_POLICY, default_checkpoint

from ..domains import APART
from .written import write_bag


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_each_image_has_the_joint_states_nearest_to_it(tmp_path: Path, delay: float) -> None:
    states = [(2.0, 1.0), (2.08, 2.0), (2.12, 3.0), (2.19, 4.0), (2.21, 5.0), (5.0, 6.0)]
    with Bag(write_bag(tmp_path / "bag", [2.0, 2.1, 2.2, 3.0], states, delay=delay)) as bag:
        positions = [float(one.values[0]) for frame in bag.frames() for one in frame.measured]
    assert positions[0] == 1.0
    assert positions[1] == 3.0  # of two as near, the newer
    assert positions[2] == 5.0
    assert positions[3] == 5.0  # far off, and the policy is told how far


def test_drivers_that_share_a_topic_make_one_state(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", [2.0, 2.1], [(1.99, 1.0, 0.4), (2.09, 2.0, 0.5), (2.105, 3.0)])
    with Bag(folder) as bag:
        made = [state for frame in bag.frames() if (state := frame.state(("joint1", "joint2"))) is not None]
    told = [dict(zip(state.names, state.values, strict=True)) for state in made]
    assert told == [{"joint1": 1.0, "joint2": 0.4}, {"joint1": 3.0, "joint2": 0.5}]
    assert [state.stamp for state in made] == pytest.approx([1.99, 2.09])


def test_joints_and_pose_make_one_state_as_old_as_its_farthest_part(tmp_path: Path) -> None:
    states, poses = [(2.0, 1.0), (2.1, 2.0), (2.2, 3.0)], [(1.97, 0.1), (2.11, 0.2), (2.16, 0.4)]
    with Bag(write_bag(tmp_path / "bag", [2.0, 2.1, 2.2], states, poses=poses)) as bag:
        assert (bag.state_topic, bag.pose_topic) == (STATES, POSES)
        frames = list(bag.frames())
    made = [state for frame in frames if (state := frame.state(("joint1", "yaw"))) is not None]
    assert {state.names for state in made} == {("joint1", *POSE_FIELDS)}
    np.testing.assert_allclose(
        [state.values[:4] for state in made], [[n, x, 0.2, 0.3] for n, x in ((1, 0.1), (2, 0.2), (3, 0.4))]
    )
    np.testing.assert_allclose([state.values[4:] for state in made], [[0.0, 0.0, 2 * np.arcsin(0.6)]] * 3, atol=1e-9)
    assert [state.stamp for state in made] == pytest.approx([1.97, 2.11, 2.16])
    alone = [state.stamp for frame in frames if (state := frame.state(("joint1",))) is not None]
    assert alone == pytest.approx([2.0, 2.1, 2.2])  # a pose that nobody needs makes nothing older


def test_a_policy_that_needs_the_pose_is_handed_it_or_told_what_lacks(tmp_path: Path) -> None:
    policy = Policy.load(default_checkpoint())
    policy.info = replace(policy.info, state_names=("joint1", "x", "yaw"))
    policy.warm_up = lambda ticks=2: None  # type: ignore[method-assign]  # noise has no state
    stamps = [2.0, 2.1, 2.2, 2.3]
    at = [(stamp, 0.1) for stamp in stamps]

    def refused(name: str, **more: Any) -> tuple[int, list[str]]:
        with Bag(write_bag(tmp_path / name, stamps, **more)) as bag:
            done = replay_bag(bag, policy, "pick up the red cube", 0.1)
        return len(done.steps), list(done.refused)

    assert refused("whole", states=at, poses=at) == (4, [])
    needs = "this policy needs joint1, x, yaw"
    assert refused("joints", states=at) == (0, [f"the state lacks x, yaw: {needs}; it has joint1"])
    assert refused("pose", states=[], poses=at) == (
        0,
        [f"the state lacks joint1: {needs}; it has {', '.join(POSE_FIELDS)}"],
    )
    assert refused("old", states=at, poses=[(1.5, 0.1)])[1][0].startswith("the state is 0.50 s older than the images")
    nowhere = refused("nowhere", states=at, poses=at, turn=(0.0, 0.0, 0.0, 0.0))
    assert nowhere == (0, ["the state is not a finite number in yaw"])


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


def test_a_node_hears_the_joint_states_and_the_pose_of_the_bag(tmp_path: Path) -> None:
    """A listener in the nodes' domain; the policy that ships does not listen."""
    from geometry_msgs.msg import PoseStamped
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from sensor_msgs.msg import JointState

    from vla_entropy_ros.bags.replay_node import replay_through_node

    context = Context()
    context.init(domain_id=APART)
    listener: Any = Node("listener", context=context)
    heard: list[Any] = []
    posed: list[Any] = []
    listener.create_subscription(JointState, "joint_states", heard.append, 10)
    listener.create_subscription(PoseStamped, "current_pose", posed.append, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    stamps = [2.0 + 0.1 * number for number in range(10)]
    at = [(stamp, stamp) for stamp in stamps]
    try:
        with Bag(write_bag(tmp_path / "bag", stamps, at, poses=at)) as bag:
            done = replay_through_node(
                bag, tmp_path / "logs", APART, {"checkpoint": SMALL_POLICY}, "pick up the red cube"
            )
    finally:
        executor.shutdown()
        thread.join()
        listener.destroy_node()
        context.try_shutdown()
    assert done.images == 10
    assert len(done.steps) > 2
    assert done.action_names == ACTION_NAMES
    assert [message.position[0] for message in heard] == pytest.approx(stamps)
    assert [message.pose.position.x for message in posed] == pytest.approx(stamps)
    assert {message.pose.orientation.w for message in posed} == {0.8}
