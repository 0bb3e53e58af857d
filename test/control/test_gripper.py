"""A gripper that flips is held on a side for a least time, if anyone asks for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.control import Commander, Limits, Rules
from vla_entropy_ros.control.gripper import GripperHold

from .test_commander import START, chunk

PERIOD = 0.1  # seconds an action lasts


def openings(hold_time: float, seconds: float = 4.0) -> list[float]:
    """Openings of commands at 50 Hz where every action flips the gripper, nine changes a second and more."""
    arm = Commander(Limits(), "base", Rules(gripper_hold=hold_time))
    arm.anchor(START)
    sent = []
    for tick in range(round(seconds / PERIOD)):
        now = 10.0 + tick * PERIOD
        arm.offer(chunk([0, 0, 0, 0, 0, 0, 0.9 if tick % 2 else 0.1], stamp=now), now)
        sent += [arm.command(now + 0.02 * number, START).opening for number in range(5)]
    assert None not in sent
    return [float(opening or 0.0) for opening in sent]


def changes(sent: list[float]) -> int:
    return int(np.count_nonzero(np.diff(np.array(sent) > 0.5)))


def test_without_a_hold_time_every_change_is_passed_on() -> None:
    assert changes(openings(0.0)) == 39


@pytest.mark.parametrize("hold_time", [0.25, 1.0])
def test_a_flipping_gripper_changes_at_most_once_in_the_hold_time(hold_time: float) -> None:
    sent = openings(hold_time)
    flips = np.flatnonzero(np.diff(np.array(sent) > 0.5)) * 0.02
    assert 2 <= len(flips) <= 4.0 / hold_time + 1
    assert np.diff(flips).min() >= hold_time - 0.021


def test_what_is_asked_for_counts_when_the_time_is_over_and_the_same_side_at_once() -> None:
    gripper = GripperHold()
    assert gripper.hold(None, 0.0, 1.0) is None
    assert gripper.hold(1.0, 0.0, 1.0) == 1.0
    assert gripper.hold(0.0, 0.1, 1.0) == 0.0  # the first change
    assert gripper.hold(0.4, 0.2, 1.0) == 0.4
    assert gripper.hold(0.9, 0.3, 1.0) == 0.4
    assert gripper.hold(0.9, 1.2, 1.0) == 0.9
    assert gripper.hold(0.1, 0.5, 1.0) == 0.9  # time went back
    assert gripper.hold(0.1, 1.5, 1.0) == 0.1


def test_a_change_that_waits_is_not_made_while_the_arm_is_held() -> None:
    arm = Commander(Limits(), "base", Rules(gripper_hold=1.0))
    arm.anchor(START)
    for tick, opening in enumerate((1.0, 0.0, 1.0)):
        now = 10.0 + tick * PERIOD
        arm.offer(chunk([0, 0, 0, 0, 0, 0, opening], stamp=now), now)
        arm.command(now, START)
    arm.stop("ordered")
    assert [arm.command(10.3 + second, START).opening for second in range(3)] == [0.0, 0.0, 0.0]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-1, 2)), max_size=30))
def test_off_it_passes_everything_as_it_is(asked: list[tuple[float, float]]) -> None:
    gripper = GripperHold()
    assert [gripper.hold(opening, now, 0.0) for opening, now in asked] == [opening for opening, _ in asked]
