"""One rule says whether something measured or seen can be used, and every cause has its own words."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_entropy_ros.control.times import FUTURE, stamp_problem

NOW = 1.8e9  # wall time, seconds


@pytest.mark.parametrize("age", [0.0, 0.49, -0.19])
@pytest.mark.parametrize("now", [NOW, 12.0])
def test_what_is_recent_or_a_little_ahead_can_be_used(age: float, now: float) -> None:
    assert stamp_problem("image", now - age, now, 0.5) is None


@pytest.mark.parametrize(
    ("stamp", "now", "said"),
    [
        (NOW - 0.83, NOW, "image is 0.83 s old, valid is up to 0.5: "),
        (NOW + 0.7, NOW, "image is 0.70 s ahead of this node's clock, valid is up to 0.2: synchronise the clocks"),
        (NOW, 0.0, "use_sim_time is true and nothing has come on /clock: "),
        (0.0, 0.0, "use_sim_time is true and nothing has come on /clock: "),
        (0.0, NOW, "image has no time, its stamp is zero: "),
        (0.0, 0.1, "image has no time, its stamp is zero: "),
        (-3.0, NOW, "image has no time, its stamp is -3: "),
        (float("nan"), NOW, "image has no time, its stamp is nan: "),
        (
            500.0,
            NOW,
            "image is stamped by another clock: its stamp 500.00 looks like simulated time or time since boot",
        ),
        (NOW, 500.0, "its stamp 1800000000.00 looks like wall time, this node has simulated time (500.00)"),
        (NOW - 86400, NOW, "its stamp is of 2027-01-14 08:00 UTC, this node's clock says 2027-01-15 08:00 UTC"),
        (9e8, 20.0, "looks like the time of another simulation, this node has simulated time (20.00)"),
        (float("inf"), NOW, "image is stamped by another clock"),
    ],
)
def test_every_cause_has_its_own_words(stamp: float, now: float, said: str) -> None:
    assert said in (stamp_problem("image", stamp, now, 0.5) or "")


@pytest.mark.parametrize("now", [NOW, 1e-3])
def test_a_stamp_of_the_monotonic_clock_is_named(now: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 40000.0)
    said = stamp_problem("current_pose", 40000.5, now, 0.5) or ""
    assert "its stamp 40000.50 looks like time since boot (the monotonic clock)" in said


@given(st.floats(), st.floats(), st.floats(0.01, 100.0))
def test_whatever_the_numbers_only_what_is_recent_passes_and_the_line_is_one(
    stamp: float, now: float, oldest: float
) -> None:
    problem = stamp_problem("image", stamp, now, oldest)
    assert (problem is None) == (now > 0 and stamp > 0 and -FUTURE <= now - stamp <= oldest)
    assert problem is None or "\n" not in problem
