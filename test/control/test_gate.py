"""The gate lets nothing pass that is not finite, within the limits and true to the hold, and says why."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_entropy_ros.control import Gate, GateError, Limits, Pose
from vla_entropy_ros.control.pose import AT_REST, Velocity
from vla_entropy_ros.sim.arm import HOME as JOINTS_HOME

from .test_kinematics import ARM

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
HOME = Pose(np.array([0.45, 0.0, 0.2]), DOWN)
LIMITS = Limits()
PERIOD = 0.02


def gate() -> Gate:
    return Gate(LIMITS, PERIOD)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0, start: Pose = HOME) -> Pose:
    rotation = Rotation.from_rotvec([0.0, 0.0, turn]) * start.rotation
    return Pose(start.position + np.array([x, y, z]), rotation.as_quat())


def refused(check: Callable[..., None], *arguments: Any) -> str:
    with pytest.raises(GateError) as refusal:
        check(*arguments)
    said = str(refusal.value)
    assert said.startswith("not sent: ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("pose", "said"),
    [
        (Pose(np.array([np.nan, 0.0, 0.2]), DOWN), "expected 3 finite numbers"),
        (Pose(np.array([0.45, 0.0]), DOWN), "expected 3 finite numbers"),
        (Pose(HOME.position, np.array([np.inf, 0.0, 0.0, 0.0])), "expected 4 finite numbers"),
        (Pose(HOME.position, DOWN * 0.9), "a quaternion of length 0.9, expected 1"),
        (Pose(HOME.position, DOWN * 0.0), "a quaternion of length 0, expected 1"),
        (moved(0.013), "a step of 0.013 m from one command to the next, valid is up to 0.012 (limits.max_speed, rate)"),
        (moved(turn=0.051), "a step of 0.051 rad from one command to the next, valid is up to 0.05 (limits.max_turn"),
        (moved(0.061), "0.061 m ahead of where the arm is measured, valid is up to 0.06 (limits.lead_translation)"),
        (moved(turn=-0.31), "0.31 rad ahead of where the arm is measured, valid is up to 0.3 (limits.lead_rotation)"),
        (moved(0.31), "x at 0.7600 m, valid is 0.2 to 0.75 (workspace.x.low, workspace.x.high)"),
    ],
)
def test_a_target_outside_its_limits_does_not_pass(pose: Pose, said: str) -> None:
    assert said in refused(gate().pose, pose, True, HOME)


def test_targets_pass_step_by_step_and_the_lead_counts_from_the_measured_pose() -> None:
    last = gate()
    for number in range(5):
        last.pose(moved(0.0119 * (number + 1), turn=0.049 * (number + 1)), True, HOME)
    assert "ahead of where the arm is measured" in refused(last.pose, moved(0.0714, turn=0.245), True, HOME)
    last.pose(moved(0.0714, turn=0.245), True, moved(0.02))
    assert "a step of" in refused(last.pose, moved(0.0), True, moved(0.02))  # a refused one counts for nothing


def test_after_forgetting_motion_starts_from_where_the_arm_is_measured() -> None:
    last = gate()
    last.pose(HOME, True, HOME)
    elsewhere = moved(0.1)
    assert "a step of" in refused(last.pose, elsewhere, True, elsewhere)
    last.forget()
    last.pose(elsewhere, True, elsewhere)


def test_an_arm_outside_the_workspace_may_come_back_and_not_go_farther_out() -> None:
    last, outside = gate(), moved(0.4)
    last.pose(outside, True, outside)
    last.pose(moved(-0.01, start=outside), True, outside)
    assert "x at 0.8510 m" in refused(last.pose, moved(0.001, start=outside), True, outside)
    assert "-0.4 to 0.4" in refused(gate().pose, moved(y=-0.405), True, moved(0.0, -0.395))


def test_nothing_moves_without_a_measured_pose_and_the_last_target_may_be_repeated() -> None:
    last = gate()
    assert "measured nowhere" in refused(last.pose, HOME, True, None)
    assert "measured nowhere" in refused(last.pose, HOME, False, None)
    last.pose(moved(0.01), True, HOME)
    last.pose(moved(0.01), False, None)
    assert "measured nowhere" in refused(last.pose, HOME, False, None)
    assert "measured nowhere" in refused(last.velocity, Velocity(np.ones(3) * 0.01, np.zeros(3)), True, None)
    assert "measured nowhere" in refused(last.joints, ARM.names, JOINTS_HOME, True, None, ARM)


def test_a_hold_is_where_the_arm_is_measured_or_what_passed_last_and_never_creeps_away() -> None:
    last = gate()
    for number in range(4):
        last.pose(moved(0.01 * (number + 1)), True, HOME)
    last.pose(moved(0.03), False, moved(0.01))  # as far as it goes: an arm at rest does not jump
    last.pose(moved(0.03), False, moved(0.1))  # held where it is, and pushed
    assert "a hold 0.01 m and 0 rad from where it began" in refused(last.pose, moved(0.04), False, moved(0.1))
    assert "a hold 0.07 m from where" in refused(gate().pose, moved(0.07), False, HOME)
    assert "a hold turned by 0.31 rad" in refused(gate().pose, moved(turn=0.31), False, HOME)


def test_while_held_nothing_that_moves_passes() -> None:
    last = gate()
    last.opening(0.5, 0.0, 1.0)
    last.hold()
    assert last.held
    small = np.array([[0.001, 0, 0, 0, 0, 0, 1.0]])
    for check, arguments in (
        (last.pose, (HOME, True, HOME)),
        (last.velocity, (AT_REST, True, HOME)),
        (last.joints, (ARM.names, JOINTS_HOME, True, JOINTS_HOME, ARM)),
        (last.actions, (small, True)),
        (last.opening, (0.6, 0.0, 1.0)),
        (gate_that_holds().opening, (0.6, 0.0, 1.0)),
    ):
        assert "against the hold" in refused(check, *arguments)
    last.pose(HOME, False, HOME)
    last.velocity(AT_REST, False, HOME)
    last.joints(ARM.names, JOINTS_HOME, False, JOINTS_HOME, ARM)
    last.actions(small * [0, 0, 0, 0, 0, 0, 1], False)
    last.opening(50.0, 0.0, 100.0)  # the same share of another unit
    last.free()
    last.pose(HOME, True, HOME)
    last.opening(0.6, 0.0, 1.0)


def gate_that_holds() -> Gate:
    result = gate()
    result.hold()
    return result


@pytest.mark.parametrize(
    ("linear", "angular", "moving", "said"),
    [
        ([0.0, 1e-9, 0.0], [0.0] * 3, False, "a velocity that is not zero from an arm at rest"),
        ([0.0, 0.0, 0.0], [0.0, 0.0, np.nan], False, "turning [0.0, 0.0, nan], expected 3 finite numbers"),
        ([0.5, 0.5, 0.0], [0.0] * 3, True, "a speed of 0.7071 m/s, valid is up to 0.6 (limits.max_speed)"),
        ([0.0] * 3, [0.0, 2.6, 0.0], True, "turning at 2.6 rad/s, valid is up to 2.5 (limits.max_turn_speed)"),
        ([0.0, 0.0, -0.1], [0.0] * 3, True, "-0.1 m/s along z from 0.0050 m, where the workspace ends"),
    ],
)
def test_a_velocity_outside_its_limits_does_not_pass(linear: Any, angular: Any, moving: bool, said: str) -> None:
    at_the_floor = Pose(np.array([0.45, 0.0, 0.005]), DOWN)
    command = Velocity(np.array(linear), np.array(angular))
    assert said in refused(gate().velocity, command, moving, at_the_floor)
    gate().velocity(Velocity(np.array([0.3, 0.5, 0.0]), np.zeros(3)), True, at_the_floor)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ("a", "b")}, "joints a, b, which are not those of the robot description"),
        ({"offset": np.nan}, "expected 7 finite numbers"),
        ({"offset": 0.031}, "a step of 0.031 of joint 'joint1', valid is up to 0.03 (limits.max_joint_speed, rate"),
        ({"offset": 1e6}, "joint 'joint1' at 1000000.0000, its range is "),
        (
            {"moving": False, "offset": 0.31},
            "a hold of joint 'joint1' 0.31 from where it is measured, valid is up to 0.3",
        ),
        ({"kinematics": None}, "not those of the robot description"),
    ],
)
def test_joints_outside_their_limits_do_not_pass(change: dict[str, Any], said: str) -> None:
    joints = JOINTS_HOME.copy()
    joints[0] += change.get("offset", 0.0)
    names, kinematics = change.get("names", ARM.names), change.get("kinematics", ARM)
    said = said.replace("joint1", ARM.names[0]).replace("7", str(len(ARM.names)))
    assert said in refused(gate().joints, names, joints, change.get("moving", True), JOINTS_HOME, kinematics)


def test_joints_move_step_by_step_and_one_outside_its_range_only_inwards() -> None:
    last, joints = gate(), JOINTS_HOME.copy()
    for _ in range(5):
        joints = joints + 0.029
        last.joints(ARM.names, joints, True, JOINTS_HOME, ARM)
    last.joints(ARM.names, JOINTS_HOME, False, JOINTS_HOME, ARM)
    last.forget()
    joints[0] = ARM.high[0] + 0.02
    last.joints(ARM.names, joints, True, joints, ARM)
    farther = joints + np.array([0.001, *[0.0] * (len(joints) - 1)])
    assert "its range is" in refused(last.joints, ARM.names, farther, True, joints, ARM)


@pytest.mark.parametrize(
    ("action", "moving", "said"),
    [
        ([np.nan, 0, 0, 0, 0, 0, 1], True, "expected finite [H >= 1, 7]"),
        ([0.04, 0.04, 0, 0, 0, 0, 1], True, "an action of 0.05657 m, valid is up to 0.05 (limits.max_translation)"),
        ([0, 0, 0, 0.15, 0.15, 0, 1], True, "rad, valid is up to 0.2 (limits.max_rotation)"),
        ([0, 0, 0, 0, 0, 0, 1.1], True, "a gripper's opening outside 0 to 1"),
        ([0, 0, 0, 0, 0, 1e-9, 1], False, "actions that move from an arm at rest"),
    ],
)
def test_actions_outside_their_limits_do_not_pass(action: list[float], moving: bool, said: str) -> None:
    assert said in refused(gate().actions, np.array([[0.0] * 7, action]), moving)
    for shape in ((0, 7), (1, 6), (7,)):
        assert "expected finite [H >= 1, 7]" in refused(gate().actions, np.zeros(shape), moving)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 0.09])
def test_a_gripper_command_lies_between_its_ends(value: float) -> None:
    assert "valid is 0 to 0.08" in refused(gate().opening, value, 0.08, 0.0)
    gate().opening(0.03, 0.08, 0.0)
    gate().opening(0.3, 0.3, 0.3)


def test_the_gate_costs_next_to_nothing() -> None:
    last, joints, target = gate(), JOINTS_HOME, moved(0.001)
    chunk = np.full((8, 7), 0.01)
    checks: list[Callable[[], None]] = [
        lambda: last.pose(target, True, HOME),
        lambda: last.velocity(AT_REST, True, HOME),
        lambda: last.joints(ARM.names, joints, True, joints, ARM),
        lambda: last.actions(chunk, True),
        lambda: last.opening(0.5, 0.0, 1.0),
    ]
    for check in checks:
        best = min(timeit.repeat(check, number=200, repeat=10)) / 200
        assert best < 100e-6  # seconds; at most 35e-6 on a machine that does nothing else
