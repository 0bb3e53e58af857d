"""The simulator node over DDS: what it shows, and that it obeys."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger

from vla_entropy_ros.control import Pose
from vla_entropy_ros.images import decode
from vla_entropy_ros.nodes.common.messages import pose_from, pose_message, seconds
from vla_entropy_ros.nodes.simulator.node import SimulatorNode

SIZE = 64


def simulator(stage: Any, **overrides: Any) -> SimulatorNode:
    """A simulator on the stage."""
    values = {"camera.size": SIZE, **overrides}
    node: SimulatorNode = stage.add(
        SimulatorNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    )
    return node


def nanoseconds(stamp: Any) -> int:
    return int(stamp.sec * 10**9 + stamp.nanosec)


def test_it_shows_camera_joints_pose_and_success(stage: Any) -> None:
    node = simulator(stage, **{"camera.rate": 20.0})
    images = stage.listen(Image, "image", reliable=False)
    jpegs = stage.listen(CompressedImage, "image/compressed")
    joints, poses = stage.listen(JointState, "joint_states"), stage.listen(PoseStamped, "current_pose")
    success = stage.listen(Bool, "/simulator/success")
    stage.until(lambda: all(len(m) > 5 for m in (images, jpegs, joints, poses, success)), "all topics", 20.0)
    assert (images[0].width, images[0].height, images[0].encoding) == (SIZE, SIZE, "rgb8")
    assert images[0].header.frame_id == "camera_link"
    assert 0 <= seconds(node.get_clock().now().to_msg()) - seconds(images[-1].header.stamp) < 5.0
    twin = next(j for j in jpegs for i in images if i.header.stamp == j.header.stamp)
    raw = next(i for i in images if i.header.stamp == twin.header.stamp)
    assert np.abs(decode(raw).astype(int) - decode(twin)).mean() < 6
    assert (len(joints[0].name), len(joints[0].position), len(joints[0].velocity)) == (9, 9, 9)
    assert poses[0].header.frame_id == "base_link"
    assert not success[0].data
    instructions: list[String] = []
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    stage.tester.create_subscription(String, "/simulator/instruction", instructions.append, kept)
    stage.until(lambda: len(instructions) == 1, "the instruction")
    assert instructions[0].data == "pick up the red cube"


def test_a_task_service_begins_its_episode_and_the_seed_decides_it(stage: Any) -> None:
    node = simulator(stage)
    instructions = stage.listen(String, "/simulator/instruction")
    answer = stage.call(Trigger, "/simulator/task/pick_blue")
    assert (answer.success, answer.message) == (True, "pick_blue, seed 0")
    stage.until(lambda: any(m.data == "pick up the blue cube" for m in instructions), "the instruction")
    assert node.get_parameter("task").value == "pick_blue"

    def cube() -> list[float]:
        return node._worker.call(lambda: node._environment.cube_position("blue").round(3).tolist(), 5.0)

    first = cube()
    assert stage.set_parameter("simulator", "seed", 5).successful
    assert cube() == first  # a reset makes it so
    assert stage.call(Trigger, "/simulator/reset").message == "pick_blue, seed 5"
    assert cube() != first
    assert stage.set_parameter("simulator", "seed", 0).successful
    assert stage.call(Trigger, "/simulator/reset").success
    assert cube() == pytest.approx(first, abs=2e-3)
    refusal = stage.set_parameter("simulator", "task", "pick_purple")
    assert not refusal.successful
    assert "valid are pick_red, pick_green, pick_blue, pick_yellow" in refusal.reason


def test_the_arm_follows_its_commands(stage: Any) -> None:
    node = simulator(stage)
    poses = stage.listen(PoseStamped, "current_pose")
    targets, openings = stage.publisher(PoseStamped, "target_pose"), stage.publisher(Float64, "gripper_command")
    stage.until(lambda: len(poses) > 0, "a pose")
    start = pose_from(poses[-1])
    goal = Pose(start.position + np.array((0.03, 0.02, -0.02)), start.quaternion)
    targets.publish(pose_message(goal, node.get_clock().now().to_msg(), "base_link"))
    openings.publish(Float64(data=0.0))

    def there() -> bool:
        return float(np.linalg.norm(pose_from(poses[-1]).position - goal.position)) < 0.005

    stage.until(there, "the arm at its target", 20.0)
    stage.until(lambda: node._environment.opening < 0.1, "a closed gripper")


@pytest.mark.parametrize("fault", ["frame", "nan", "past"])
def test_a_faulty_target_does_not_move_the_arm(stage: Any, fault: str) -> None:
    node = simulator(stage)
    poses = stage.listen(PoseStamped, "current_pose")
    targets, openings = stage.publisher(PoseStamped, "target_pose"), stage.publisher(Float64, "gripper_command")
    stage.until(lambda: len(poses) > 25, "a resting arm", 20.0)
    start = pose_from(poses[-1])
    target = pose_message(Pose(start.position + 0.05, start.quaternion), node.get_clock().now().to_msg(), "base_link")
    if fault == "frame":
        target.header.frame_id = "elsewhere"
    elif fault == "nan":
        target.pose.position.x = float("nan")
        openings.publish(Float64(data=float("nan")))
    else:
        target.header.stamp.sec -= 60  # meant for an episode before this one
    targets.publish(target)
    count = len(poses)
    stage.until(lambda: len(poses) > count + 25, "half a second", 20.0)
    assert np.linalg.norm(pose_from(poses[-1]).position - start.position) < 0.003


def test_a_slow_machine_loses_time_and_does_not_spiral(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = simulator(stage)
    advance = node._environment.advance

    def slow(seconds: float) -> None:
        time.sleep(0.06)
        advance(seconds)

    monkeypatch.setattr(node._environment, "advance", slow)
    stage.until(lambda: node._lost > 0.3, "lost time", 20.0)
    assert stage.set_parameter("simulator", "seed", 1).successful  # callbacks are still served
    assert time.monotonic() - node._due < 0.5
    status = stage.diagnostic("simulator: simulation", lambda status: status.level == b"\x01")
    assert "slower than real time" in status.message


def test_a_simulation_that_breaks_ends_the_process(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = simulator(stage)

    def broken(seconds: float) -> None:
        raise FloatingPointError("the physics is unstable")

    monkeypatch.setattr(node._environment, "advance", broken)
    stage.until(lambda: node._stop.requested, "the end")
    assert node._stop.status == 1
    answer = stage.call(Trigger, "/simulator/reset")
    assert (answer.success, answer.message) == (False, "no new episode: the simulator thread has stopped")


def test_simulated_time_is_told_by_the_simulator_and_the_arm_moves_in_it(stage: Any) -> None:
    """Nobody else would: without /clock every node that uses simulated time stands still."""
    times, joints = stage.listen(Clock, "/clock"), stage.listen(JointState, "joint_states")
    poses, images = stage.listen(PoseStamped, "current_pose"), stage.listen(Image, "image", reliable=False)
    node = simulator(stage, use_sim_time=True)
    stage.until(lambda: len(times) > 20 and len(joints) > 20 and len(images) > 2, "time", 20.0)
    told = [nanoseconds(message.clock) for message in times]
    assert {later - before for before, later in itertools.pairwise(told)} == {20_000_000}  # one per step of physics
    assert abs(told[0] * 1e-9 - time.time()) < 60.0
    stage.until(lambda: nanoseconds(joints[20].header.stamp) <= nanoseconds(times[-1].clock), "its time", 20.0)
    known = {nanoseconds(message.clock) for message in times}
    for message in (joints[20], images[2]):
        assert nanoseconds(message.header.stamp) in known
    start = pose_from(poses[-1])
    targets = stage.publisher(PoseStamped, "target_pose")
    goal = Pose(start.position + np.array((0.03, 0.02, -0.02)), start.quaternion)
    stage.until(lambda: node.get_clock().now().nanoseconds in known | {nanoseconds(m.clock) for m in times}, "a clock")
    targets.publish(pose_message(goal, node.get_clock().now().to_msg(), "base_link"))
    stage.until(lambda: np.linalg.norm(pose_from(poses[-1]).position - goal.position) < 0.005, "the goal", 20.0)


def test_no_time_is_told_where_nobody_asked_for_it(stage: Any) -> None:
    simulator(stage)
    joints = stage.listen(JointState, "joint_states")
    stage.until(lambda: len(joints) > 5, "joint states", 20.0)
    assert stage.tester.count_publishers("/clock") == 0
