"""Time that stands still is told, a node that was held up is not."""

from __future__ import annotations

import pytest

from vla_entropy_ros.nodes.common import sim_clock
from vla_entropy_ros.nodes.common.sim_clock import Standstill


class Watched:
    """A Standstill with both of its clocks [s] in the test's hands."""

    def __init__(self, patch: pytest.MonkeyPatch, now: float) -> None:
        self.now, self.steady = now, 500.0
        patch.setattr(sim_clock.time, "monotonic", lambda: self.steady)
        self.one = Standstill(lambda: self.now)

    def looks(self, count: int, going_on: float = 0.0, every: float = 0.5) -> str | None:
        """Let time pass, look now and then, and return what is said."""
        for _ in range(count):
            self.now += going_on
            self.steady += every
            self.one.look()
        return self.one.problem()


def test_time_that_goes_on_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 0.0)
    assert watched.one.problem() is None
    assert watched.looks(10, going_on=0.01) is None


def test_time_that_stands_still_is_told_until_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 10.0)
    watched.looks(5, going_on=0.5)
    assert watched.looks(2) is None
    assert watched.looks(4) == (
        "/clock stands still at 12.50 s for 3.0 s: is the simulator paused or gone (ros2 topic info -v /clock)? "
        "Let it go on, or set use_sim_time:=false"
    )
    assert watched.looks(1, going_on=0.5) is None


def test_time_that_never_begins_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 0.0)
    assert (watched.looks(4) or "").startswith("use_sim_time is true and nothing has come on /clock: start")


def test_a_node_that_was_held_up_blames_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 10.0)
    watched.looks(2)
    assert watched.looks(1, every=7.0) is None
    assert watched.looks(3) == watched.one.problem() is not None
