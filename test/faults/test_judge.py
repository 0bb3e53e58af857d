"""What the fault suite judges by: limits of targets, words that name a cause, bounds of a long run, cost of a tick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.faults.judge import Bounds, Sending, Target
from tools.faults.peers import AT_HOME, HOME, JointedArm
from tools.faults.scenarios.lies import UNSOUND, unsound
from tools.faults.soak import soak_failures
from tools.faults.words import Words
from vla_entropy_ros.control import Kinematics, Limits, Pose, read_chain

PERIOD = 0.02
KINEMATICS = Kinematics(read_chain(JointedArm.description, "base_link", "tool"))


def target(
    x: float = 0.45, number: int = 1, sent: float = 0.0, publisher: bytes = b"one", turn: float = 0.0, **more: Any
) -> Target:
    quaternion = np.array([np.cos(turn / 2), np.sin(turn / 2), 0.0, 0.0])
    return Target(Sending(sent, number, publisher), Pose(np.array([x, 0.0, 0.2]), quaternion), **more)


def jointed(number: int, still: bool = False, **moved: float) -> Target:
    joints = np.array(AT_HOME)
    for name, by in moved.items():
        joints[KINEMATICS.names.index(name)] += by
    return Target(Sending(number * PERIOD, number, b"one"), KINEMATICS.forward(joints), joints, still)


def broken(last: Target | None, this: Target, kinematics: Kinematics | None = None) -> str:
    return "; ".join(Bounds(Limits(), PERIOD, kinematics).broken(last, this))


def test_a_step_of_speed_times_period_passes() -> None:
    assert broken(target(), target(0.45 + 0.6 * PERIOD, 2)) == ""
    assert broken(target(), target(turn=2.5 * PERIOD, number=2)) == ""


def test_a_longer_step_is_told_however_long_ago_the_last_one_was() -> None:
    assert "leaps by 0.0130, valid is 0.0120, 3.000 s later" in broken(target(), target(0.463, 2, sent=3.0))
    assert "the turn leaps by 0.0600" in broken(target(), target(turn=0.06, number=2, sent=3.0))


def test_a_target_that_was_lost_on_its_way_lets_the_next_one_be_twice_as_far() -> None:
    assert broken(target(), target(0.473, 3)) == ""
    assert "leaps" in broken(target(), target(0.475, 3))


def test_a_hold_may_give_back_the_lead_and_no_more() -> None:
    assert broken(target(), target(0.39, 2, still=True)) == ""
    assert "valid is 0.0600" in broken(target(), target(0.38, 2, still=True))


def test_another_command_node_begins_anew_but_inside_the_workspace() -> None:
    assert broken(target(), target(0.7, 1, publisher=b"two")) == ""
    assert "outside the workspace" in broken(target(), target(0.76, 1, publisher=b"two"))


def test_joints_are_judged_by_their_own_speeds_and_ranges() -> None:
    assert broken(jointed(1), jointed(2, y=0.03, turn_x=0.03), KINEMATICS) == ""
    assert "joint 'y' leaps by 0.0310" in broken(jointed(1), jointed(2, y=0.031), KINEMATICS)
    assert "joint 'turn_z' at 1.6000, valid is -1.5 to 1.5" in broken(None, jointed(1, turn_z=1.6), KINEMATICS)


def test_a_gantry_at_zero_is_outside_the_workspace_and_its_home_is_home() -> None:
    assert KINEMATICS.forward(np.zeros(6)).position[0] < Limits().workspace_low[0]
    assert KINEMATICS.forward(np.array(AT_HOME)).position == pytest.approx(HOME.position)


@pytest.mark.parametrize("spoilt", UNSOUND, ids=str)
def test_a_spoilt_description_differs_in_the_limits_of_one_joint(
    spoilt: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.faults.scenarios.lies.random.choice", lambda choices: spoilt)
    text = unsound(JointedArm.description, "turn_y")
    for name, value in spoilt.items():
        assert text.count(f'{name}="{value}"') == 1


def test_a_cause_is_named_when_a_speaker_first_says_it_after_the_fault() -> None:
    words = Words()
    for heard, speaker, line in (
        (1.0, "state", "tracking"),
        (1.0, "task", "a jump"),  # said already before
        (2.5, "task", "a jump"),
        (2.6, "state", "holding: a jump"),
        (2.7, "state", "holding: a jump"),
    ):
        words.add(heard, speaker, line)
    assert words.naming("jump", 2.0) == 2.6
    assert words.naming("stop", 2.0) is None
    assert words.naming("jump", 0.5) == 1.0
    assert words.said("state", 2.0) == ["tracking", "holding: a jump", "holding: a jump"]
    assert words.spoke("state", 2.0) == 2.6
    assert words.told(2.0) == "task: a jump; state: holding: a jump"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"tick_p99_over_p50": 2.0}, ["p99 / p50 of the tick is 2.0"]),
        ({"nodes": {"command": {"memory_growth_mb": 5.0, "thread_growth": 0}}}, ["command grew by 5.0 MB"]),
        ({"nodes": {"policy": {"memory_growth_mb": 0.0, "thread_growth": 1}}}, ["policy gained 1 threads"]),
        ({"ticks_missed": 3}, ["3 ticks missed"]),
        ({"violations": ["a leap"]}, ["a leap"]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_long_run_has_bounds(changed: dict[str, Any], told: list[str]) -> None:
    sound = {"nodes": {"policy": {"memory_growth_mb": 4.9, "thread_growth": 0}}, "ticks_missed": 0}
    assert soak_failures({**sound, "tick_p99_over_p50": 1.9, "violations": [], **changed}) == told


def test_the_cost_of_a_tick_is_measured_while_the_arm_moves() -> None:
    code = "from tools.faults.cost import command_cost; print(command_cost('pose_stamped', 50))"
    root = Path(__file__).parents[2]
    told = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    figures = ast.literal_eval(told)
    assert set(figures) == {"tick_p50_ms", "tick_p99_ms", "processor_p50_ms", "all_ms"}
    assert 0.0 < figures["processor_p50_ms"] <= figures["all_ms"] * 2
