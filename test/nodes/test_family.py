"""A family of another kind through the node: a chunk of three regressed actions, asked for with the robot's state."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState

from vla_entropy_ros.control import Commander, Limits, Pose
from vla_entropy_ros.engine import ObservationError
from vla_entropy_ros.nodes.common.messages import chunk_from

from ..families.toy import CHUNK, STATE_NAMES
from .robot import PERIOD, Robot

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture
def robot(stage: Any, toy: Path) -> Robot:
    """A robot whose policy is of the toy family."""
    return Robot(stage, toy, taper_rows=0).activate()


def move(robot: Robot, *values: float) -> None:
    """Publish the joints as they are now, and wait until the node has heard of them."""
    message = JointState(name=list(STATE_NAMES), position=list(values))
    message.header.stamp = robot.now()
    joints = robot.stage.publisher(JointState, "joint_states")
    joints.publish(message)
    assert robot.node._inputs is not None
    sensed = robot.node._inputs.robot_state
    assert sensed is not None
    stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9

    def heard() -> bool:
        with contextlib.suppress(ObservationError):  # nothing came yet
            return abs(sensed.at(stamp).stamp - stamp) < 1e-6
        return False

    robot.stage.until(heard, "the joints")


def test_a_chunk_of_three_comes_out_and_can_be_executed(robot: Robot) -> None:
    move(robot, 0.1, -0.4, 0.9)
    chunk = chunk_from(robot.tick())
    assert chunk.actions.shape == (CHUNK, 7)
    assert chunk.period == pytest.approx(PERIOD)
    pose = Pose(np.array([0.45, 0.0, 0.2]), np.array([0.0, 0.0, 0.0, 1.0]))
    commander = Commander(Limits(), chunk.frame)
    commander.anchor(pose)
    commander.offer(chunk, chunk.stamp)
    times = [chunk.stamp + PERIOD * step / 2 for step in range(2 * CHUNK)]
    moved = [commander.command(time, pose).pose.position for time in times][1::2]  # in the middle of each action
    assert len({tuple(position) for position in moved}) == CHUNK


def test_the_state_decides_and_without_it_nothing_is_done(robot: Robot) -> None:
    robot.see()
    robot.quiet(lambda: robot.statistics.refused > 0, "a refusal")
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: observation", lambda status: status.level == DiagnosticStatus.ERROR)
    assert "shoulder" in status.message
    actions = []
    image = robot.image()
    for shoulder in (0.1, 0.9):
        move(robot, shoulder, -0.4, 0.9)
        image.header.stamp = robot.now()
        count = len(robot.chunks)
        robot.see(image)
        robot.stage.until(lambda count=count: len(robot.chunks) > count, "a chunk")
        actions.append(chunk_from(robot.chunks[-1]).actions)
    assert np.abs(actions[0] - actions[1]).max() > 1e-4


def test_diagnostics_tell_of_a_head_without_tokens(robot: Robot) -> None:
    for _ in range(3):
        move(robot, 0.1, -0.4, 0.9)
        robot.tick()
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: inference", lambda status: status.level == DiagnosticStatus.OK)
    keys = {value.key for value in status.values}
    assert not keys & {"drafts accepted", "certified tokens", "action entropy, largest"}


@pytest.mark.parametrize(("name", "value"), [("drafts", "off"), ("max_action_entropy", 0.5)])
def test_what_asks_for_tokens_has_no_effect(robot: Robot, name: str, value: Any) -> None:
    answer = robot.stage.set_parameter("policy", name, value)
    assert (answer.successful, answer.reason) == (True, f"{name} has no effect with a policy without action tokens")


def test_a_new_instruction_makes_everything_fresh(robot: Robot) -> None:
    move(robot, 0.1, -0.4, 0.9)
    robot.tick()
    robot.instruct("put it down")
    move(robot, 0.1, -0.4, 0.9)
    robot.tick()
    robot.stage.until(lambda: robot.statistics.ticks == 2, "the second answer to be counted")
    answer = robot.statistics.answer
    assert answer is not None
    assert answer.result.reuse.reason == "new instruction"
