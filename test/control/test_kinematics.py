"""Chains out of robot descriptions, and joint positions for poses, compared with MuJoCo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.control import DescriptionError, Kinematics, Pose, UnreachableError, read_chain
from vla_entropy_ros.control.kinematics import slow_joints
from vla_entropy_ros.control.pose import turn_angle
from vla_entropy_ros.sim import Environment
from vla_entropy_ros.sim.arm import HOME, JOINTS, tool_pose

# isort: split
import mujoco  # after the simulator, which chooses the GL library

from .robot import BASE, TOOL, description

ENVIRONMENT = Environment()
URDF = description(ENVIRONMENT.model)
ARM = Kinematics(read_chain(URDF, BASE, TOOL))
PORTAL = (
    '<robot name="portal"><link name="a"/><link name="b"/><link name="c"/><link name="loose"/>'
    '<joint name="slide" type="prismatic"><parent link="a"/><child link="b"/><axis xyz="0 0 2"/>'
    '<limit lower="0" upper="0.5" velocity="0.1" effort="1"/></joint>'
    '<joint name="turn" type="continuous"><parent link="b"/><child link="c"/><origin xyz="1 0 0"/>'
    '<axis xyz="0 0 1"/></joint></robot>'
)


@given(st.lists(st.floats(-0.6, 0.6), min_size=JOINTS, max_size=JOINTS))
@settings(max_examples=30, deadline=None)
def test_forward_kinematics_are_those_of_mujoco(offsets: list[float]) -> None:
    model, data = ENVIRONMENT.model, mujoco.MjData(ENVIRONMENT.model)
    joints = HOME + np.array(offsets)
    data.qpos[:JOINTS] = joints
    mujoco.mj_kinematics(model, data)
    expected, pose = tool_pose(data, model.site("tool").id), ARM.forward(joints)
    np.testing.assert_allclose(pose.position, expected.position, atol=1e-9)
    assert turn_angle(pose, expected) < 1e-6


@given(
    st.lists(st.floats(-0.06, 0.06), min_size=3, max_size=3), st.lists(st.floats(-0.15, 0.15), min_size=3, max_size=3)
)
@settings(max_examples=30, deadline=None)
def test_inverse_kinematics_reach_a_pose_nearby(step: list[float], turn: list[float]) -> None:
    from vla_entropy_ros.control import Limits, integrate

    start = ARM.forward(HOME)
    target = integrate(start, np.array([*step, *turn]), Limits(max_translation=0.2, max_rotation=0.5))
    joints = ARM.solve(target, HOME)
    reached = ARM.forward(joints)
    assert np.linalg.norm(reached.position - target.position) < 2e-3
    assert turn_angle(reached, target) < 5e-3
    assert np.abs(joints - HOME).max() < 0.6


def test_a_pose_out_of_reach_is_refused() -> None:
    with pytest.raises(UnreachableError, match="can't reach the target within"):
        ARM.solve(Pose(np.array([3.0, 0.0, 0.2]), ARM.forward(HOME).quaternion), HOME)


def test_other_kinds_of_joints() -> None:
    portal = Kinematics(read_chain(PORTAL, "a", "c"))
    assert portal.names == ("slide", "turn")
    pose = portal.forward(np.array([0.2, np.pi / 2]))
    np.testing.assert_allclose(pose.position, [1, 0, 0.2], atol=1e-12)
    np.testing.assert_allclose(pose.rotation.apply([1, 0, 0]), [0, 1, 0], atol=1e-12)
    target = Pose(np.array([1.0, 0.0, 0.4]), pose.quaternion)
    np.testing.assert_allclose(portal.solve(target, np.array([0.1, 1.0])), [0.4, np.pi / 2], atol=1e-3)
    assert portal.speed.tolist() == [0.1, np.inf]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "can't be read"),
        ("<robot", "can't be read"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><robot/>", "declares a document type"),
        ("<robot/>", "no link 'a' in the robot description"),
        (PORTAL.replace('child link="c"', 'child link="loose"'), "no chain from link 'a' to link 'c'"),
        (PORTAL.replace("continuous", "floating"), "type 'floating': valid are revolute, continuous, prismatic, fixed"),
        (PORTAL.replace("continuous", "fixed").replace("prismatic", "fixed"), "nothing moves between"),
        (PORTAL.replace("1 0 0", "1 0"), 'xyz="1 0" is not three numbers'),
        (PORTAL.replace("1 0 0", "1 0 nan"), "is not three numbers"),
        (PORTAL.replace("0 0 2", "0 0 0"), "has no direction"),
        (PORTAL.replace('parent link="a"', 'parent link="c"'), "no chain"),
        (PORTAL.replace('upper="0.5"', 'upper="much"'), "can't be read"),
    ],
)
def test_a_useless_description_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(DescriptionError) as refusal:
        read_chain(text, "a", "c")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_joints_slow_down_together() -> None:
    last, target = np.zeros(2), np.array([0.2, -0.4])
    np.testing.assert_allclose(slow_joints(last, target, 0.1, np.array([1.0, 1.0])), [0.05, -0.1])
    np.testing.assert_allclose(slow_joints(last, target, 1.0, np.array([1.0, np.inf])), target)
    np.testing.assert_allclose(slow_joints(last, target, 0.0, np.array([1.0, 1.0])), last, atol=1e-9)


def at_the_end(excess: float) -> np.ndarray:
    """The arm at home, one joint `excess` beyond the upper end of its range."""
    joints = HOME.copy()
    joints[3] = ARM.high[3] + excess
    return joints


@pytest.mark.parametrize("inwards", [-0.05, -0.02, 0.0])
def test_a_joint_slightly_outside_its_range_may_stay_or_move_inwards(inwards: float) -> None:
    start, goal = at_the_end(0.02), at_the_end(0.02 + inwards)
    assert ARM.outside(start) is None
    joints = ARM.solve(ARM.forward(goal), start)
    np.testing.assert_allclose(joints, goal, atol=0.01)
    assert joints[3] <= start[3]


def test_a_joint_slightly_outside_its_range_moves_no_further_out() -> None:
    start = at_the_end(0.02)
    assert ARM.solve(ARM.forward(at_the_end(0.025)), start)[3] <= start[3]
    with pytest.raises(UnreachableError, match=f"at the end of its range: .*{ARM.names[3]}.*; narrow workspace"):
        ARM.solve(ARM.forward(at_the_end(0.5)), start)


def test_a_joint_far_outside_its_range_is_named_with_its_value_and_range() -> None:
    said = ARM.outside(at_the_end(0.12)) or ""
    assert said.startswith(f"joint '{ARM.names[3]}' is at {ARM.high[3] + 0.12:.3f}, more than 0.1 outside its range ")
    assert f"{ARM.low[3]:g} to {ARM.high[3]:g}" in said
    assert ARM.outside(HOME) is None
    assert "is at nan" in (ARM.outside(HOME * np.nan) or "")


def test_a_target_that_is_no_number_is_no_solution() -> None:
    with pytest.raises(UnreachableError):
        ARM.solve(Pose(np.full(3, np.nan), ARM.forward(HOME).quaternion), HOME)


def test_a_late_command_moves_joints_no_farther_than_one_in_time() -> None:
    last, target = np.zeros(2), np.array([0.2, -0.4])
    np.testing.assert_allclose(slow_joints(last, target, 1.0, np.array([1.0, 1.0]), 0.02), [0.01, -0.02])
    np.testing.assert_allclose(slow_joints(last, target, 0.0, np.array([1.0, np.inf]), 0.02), last, atol=1e-9)
