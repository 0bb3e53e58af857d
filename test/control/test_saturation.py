"""What the limits cut off is told action by action, as a share, and before anything moves by the statistics' range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.control import Commander, Limits, Pose, Rules, Saturation, excess
from vla_entropy_ros.control.saturation import cut_by
from vla_entropy_ros.settings import default_settings

from .test_commander import DOWN, START, chunk

STEP = 0.02  # seconds between two commands
RULES = Rules(stale_after=100.0, expired_after=100.0, period=STEP)
NOTHING: frozenset[str] = frozenset()


def clipped(actions: list[list[float]], start: Pose = START, limits: Limits | None = None, follows: bool = True,
            rules: Rules = RULES) -> list[frozenset[str]]:  # fmt: skip
    """By which limits each of the actions is cut; the arm follows its targets at once, or stands still."""
    arm = Commander(limits or Limits(), "base", rules)
    arm.anchor(start)
    arm.offer(chunk(*actions), now=10.0)
    names: list[frozenset[str]] = []
    measured = start
    for number in range(5 * len(actions)):
        command = arm.command(10.0 + STEP * number, measured)
        measured = command.pose if follows else measured
        names += command.clipped
    return names


def test_an_action_inside_the_limits_is_told_as_not_clipped() -> None:
    assert clipped([[0.02, 0.01, 0, 0, 0, 0.1, 1]] * 3) == [NOTHING] * 3
    assert clipped([[0.05, 0, 0, 0, 0, 0.2, 1]]) == [NOTHING]  # just as much as may be


@pytest.mark.parametrize(
    ("action", "change", "names"),
    [
        ([0.06, 0, 0, 0, 0, 0, 1], {}, {"limits.max_translation"}),
        ([0, 0, 0, 0.15, 0.15, 0, 1], {}, {"limits.max_rotation"}),
        ([0, 0, 0.04, 0, 0, 0, 1], {"workspace_high": (0.7, 0.4, 0.22)}, {"workspace"}),
        ([0.04, 0, 0, 0, 0, 0, 1], {"max_speed": 0.3}, {"limits.max_speed"}),
        ([0, 0, 0, 0.1, 0, 0, 1], {"max_turn_speed": 0.9}, {"limits.max_turn_speed"}),
        ([0.9, 0, 0, 0, 0, 0.5, 1], {}, {"limits.max_translation", "limits.max_rotation"}),
    ],
)
def test_each_limit_that_cuts_an_action_is_named(action: list[float], change: dict[str, Any], names: set[str]) -> None:
    assert clipped([action], limits=Limits(**change)) == [names]


def test_the_workspace_cuts_in_the_axes_of_the_fixed_frame_also_where_deltas_are_the_tools() -> None:
    low = Limits(workspace_low=(0.2, -0.4, 0.19))
    tool = Rules(100.0, 100.0, tool=True, period=STEP)
    assert clipped([[0, 0, 0.04, 0, 0, 0, 1]], limits=low, rules=tool) == [{"workspace"}]  # the tool points down
    assert clipped([[0, 0, -0.04, 0, 0, 0, 1]], limits=low, rules=tool) == [NOTHING]


def test_an_arm_that_does_not_follow_is_told_by_the_lead() -> None:
    names = clipped([[0.04, 0, 0, 0, 0, 0, 1]] * 8, follows=False)
    assert names[:2] == [NOTHING] * 2
    assert names[3:] == [{"limits.lead_translation"}] * 5
    turned = clipped([[0, 0, 0, 0, 0, 0.19, 1]] * 8, follows=False)
    assert turned[-1] == {"limits.lead_rotation"}


def test_what_is_caught_up_after_a_stall_counts_as_no_lead() -> None:
    arm = Commander(Limits(), "base", RULES)
    arm.anchor(START)
    arm.offer(chunk(*[[0.03, 0, 0, 0, 0, 0, 1]] * 8), now=10.0)
    names = list(arm.command(10.0, START).clipped)
    names += arm.command(10.55, START).clipped
    assert len(names) == 6
    assert names[:5] == [NOTHING] * 5


def test_chunks_of_dx_90_cm_are_clipped_altogether() -> None:
    arm, seen, measured = Commander(Limits(), "base", RULES), Saturation(), START
    arm.anchor(START)
    for tick in range(20):
        now = 10.0 + 0.1 * tick
        arm.offer(chunk([0.9, 0, 0, 0, 0, 0, 1], stamp=now), now)
        for number in range(5):
            command = arm.command(now + STEP * number, measured)
            seen.add(command.clipped, now + STEP * number)
            measured = command.pose
    assert seen.share == 1.0
    assert seen.by_limit["limits.max_translation"] == 1.0
    assert seen.by_limit["workspace"] > 0.5
    assert seen.text.startswith("100 % of actions clipped: limits.max_translation 100 %, workspace ")


def test_the_share_is_of_the_last_seconds_and_of_enough_actions() -> None:
    seen = Saturation(window=10.0, least=10)
    seen.add([frozenset({"limits.max_translation"})] * 9, 0.0)
    assert seen.share == 0.0
    seen.add([NOTHING], 1.0)
    assert (seen.share, seen.actions) == (0.9, 10)
    seen.add([frozenset({"workspace", "limits.max_translation"})] * 10, 9.0)
    assert seen.text == "95 % of actions clipped: limits.max_translation 95 %, workspace 50 %"
    seen.add([], 10.5)
    assert seen.actions == 11
    seen.add([], 20.0)
    assert (seen.share, seen.actions, seen.text) == (0.0, 0, "0 % of actions clipped")
    seen.add([NOTHING], 5.0)  # time went back
    assert seen.actions == 1


def test_from_which_share_on_it_is_reported_is_a_parameter() -> None:
    share = default_settings("command")["warn.clipped"]
    seen = Saturation()
    seen.add([frozenset({"workspace"})] * 3 + [NOTHING] * 7, 0.0)
    said = seen.problem(share) or ""
    assert said.startswith("30 % of actions clipped: workspace 30 %; do workspace.* and action_frame fit this robot")
    assert seen.problem(share + 0.01) is None
    assert Saturation().problem(0.0) is None


def test_columns_whose_range_exceeds_twice_the_limit_are_named_with_the_factor() -> None:
    names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    low, high = [-0.9, -0.05, np.nan, -0.3, 0.0, -0.1, 0.0], [0.9, 0.05, 0.1, 0.3, 0.0, np.inf, 100.0]
    found = excess(low, high, names, Limits())
    assert [(item.column, round(item.factor, 6)) for item in found] == [("x", 36.0), ("roll", 3.0), ("yaw", np.inf)]
    assert found[0].text == "x spans 1.8 m, 36 times limits.max_translation 0.05"
    assert found[1].text == "roll spans 0.6 rad, 3 times limits.max_rotation 0.2"
    assert excess(low, high, names, Limits(max_translation=0.9, max_rotation=1e300))[0].column == "yaw"


def test_an_arm_that_comes_back_from_outside_is_not_clipped() -> None:
    outside = Pose(np.array([0.9, 0.0, 0.2]), DOWN)
    assert clipped([[-0.03, 0, 0, 0, 0, 0, 1], [-0.01, 0.01, 0, 0, 0, 0, 1]], outside) == [NOTHING, NOTHING]
    assert clipped([[0.03, 0, 0, 0, 0, 0, 1]], outside) == [{"workspace"}]


@pytest.mark.parametrize("opening", [5.0, -3.0])
def test_a_gripper_that_is_asked_for_more_than_it_has_is_told(opening: float) -> None:
    assert cut_by(START, np.array([0.0] * 6 + [opening]), 0.1, Limits()) == {"the gripper's 0 to 1"}
    assert cut_by(START, np.array([0.0] * 6 + [1.004]), 0.1, Limits()) == frozenset()
