"""Which images become ticks, and which observation continues the one before."""

from __future__ import annotations

import numpy as np
import pytest

from vla_entropy_ros.engine.observation import LATE, Pacer, Verdict, View, interruption, is_late

PERIOD = 0.1


def ticks(stamps: np.ndarray) -> list[float]:
    """Stamps of the images that become ticks."""
    pacer = Pacer()
    return [stamp for stamp in stamps if pacer.judge(stamp, PERIOD) is Verdict.TICK]


@pytest.mark.parametrize("seed", range(5))
def test_a_camera_at_the_control_rate_gives_a_tick_per_image(seed: int) -> None:
    stamps = 1e9 + np.arange(100) * PERIOD + np.random.default_rng(seed).uniform(-0.01, 0.01, 100)
    assert len(ticks(stamps)) == 100


@pytest.mark.parametrize("seed", range(5))
def test_a_camera_three_times_as_fast_gives_ten_ticks_a_second(seed: int) -> None:
    stamps = 1e9 + np.arange(301) / 30 + np.random.default_rng(seed).uniform(-0.003, 0.003, 301)
    chosen = ticks(stamps)
    assert len(chosen) == 101
    assert np.diff(chosen) == pytest.approx(PERIOD, abs=0.007)


@pytest.mark.parametrize(("rate", "period"), [(10.0, 1.0), (30.0, 0.5), (50.0, 0.1), (24.0, 0.1)])
def test_a_faster_camera_gives_ticks_at_the_control_rate(rate: float, period: float) -> None:
    stamps = 1e9 + np.arange(2000) / rate + np.random.default_rng(0).uniform(-0.001, 0.001, 2000)
    pacer = Pacer()
    chosen = [stamp for stamp in stamps if pacer.judge(stamp, period) is Verdict.TICK]
    assert np.diff(chosen) == pytest.approx(period, abs=0.5 / rate + 0.003)


def test_a_slow_camera_gives_a_tick_per_image() -> None:
    assert len(ticks(np.arange(10) * 0.5)) == 10


def test_late_images_are_left_out_and_one_of_a_time_that_has_gone_back_is_due() -> None:
    pacer = Pacer()
    assert pacer.judge(100.0, PERIOD) is Verdict.TICK
    assert pacer.judge(99.95, PERIOD) is Verdict.LATE
    assert pacer.judge(100.05, PERIOD) is Verdict.EARLY
    assert pacer.judge(100.0, PERIOD) is Verdict.EARLY  # the same image, compressed
    assert pacer.judge(50.0, PERIOD) is Verdict.TICK
    assert pacer.judge(50.05, PERIOD) is Verdict.EARLY
    assert pacer.judge(50.1, PERIOD) is Verdict.TICK


def test_after_forgetting_any_image_is_due() -> None:
    pacer = Pacer()
    pacer.judge(100.0, PERIOD)
    pacer.forget()
    assert pacer.judge(99.99, PERIOD) is Verdict.TICK


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (View(10.1, ((3, 4),), ("front",)), None),
        (View(10.0, ((3, 4),), ("front",)), None),
        (View(9.9, ((3, 4),), ("front",)), "time went backwards"),
        (View(12.1, ((3, 4),), ("front",)), "time jumped"),
        (View(10.1, ((3, 5),), ("front",)), "image size changed"),
        (View(10.1, ((3, 4),), ("wrist",)), "the camera changed from 'front' to 'wrist'"),
    ],
)
def test_what_does_not_continue_what_was_seen(now: View, said: str | None) -> None:
    assert interruption(View(10.0, ((3, 4),), ("front",)), now, max_gap=2.0) == said


def test_one_bound_tells_what_only_comes_late() -> None:
    assert [is_late(10.0, stamp) for stamp in (10.0, 9.99, 10.0 - LATE + 0.01, 10.0 - LATE, 0.0, 11.0)] == [
        False, True, True, False, False, False
    ]  # fmt: skip
