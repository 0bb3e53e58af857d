"""What is summed up of many episodes: rates with their intervals, pairs, times, reuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vla_entropy_ros.evaluation import report
from vla_entropy_ros.evaluation.outcomes import outcome, summary
from vla_entropy_ros.evaluation.records import EpisodeRecord
from vla_entropy_ros.evaluation.statistics import jerk, mcnemar, percentiles, wilson

PERIOD = 0.1
Make = Callable[..., EpisodeRecord]


def test_wilson_interval_against_published_values() -> None:
    assert wilson(89, 100) == pytest.approx((0.8137, 0.9375), abs=1e-3)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_mcnemar_counts_the_pairs_that_differ() -> None:
    ours = [True] * 12 + [False] * 2 + [True] * 30
    theirs = [False] * 12 + [True] * 2 + [True] * 30
    won, lost, p = mcnemar(ours, theirs)
    assert (won, lost) == (12, 2)
    exact = 2 * sum(math.comb(14, k) for k in range(3)) / 2**14
    assert p == pytest.approx(exact)
    assert mcnemar([True], [True]) == (0, 0, 1.0)


def test_jerk_of_a_cubic_motion_is_its_third_derivative() -> None:
    time = np.arange(6) * PERIOD
    positions = np.stack((0.5 * time**3, np.zeros(6), time), axis=1)
    assert jerk(positions, PERIOD) == pytest.approx(3.0)
    assert jerk(positions[:3], PERIOD) is None


def test_an_outcome_keeps_the_times_of_every_tick_and_sums_up_the_rest(episode: Make) -> None:
    made = outcome(episode(True), PERIOD)
    assert made.latency["total"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert made.passes == [2, 3, 2, 3, 2]
    assert (made.fresh_share, made.age_mean, made.age_max) == (0.5, 1.0, 4)  # two of four are never computed
    assert made.jerk == pytest.approx(60.0)
    assert made.target_reused == 0.2
    assert (made.family, made.scene) == ("pick", ("pick_red", 7))


def test_an_episode_without_ticks_has_no_figures(episode: Make) -> None:
    made = outcome(episode(False, ticks=0), PERIOD)
    assert (made.fresh_share, made.age_max, made.jerk, made.ticks) == (None, None, None, 0)
    assert percentiles([]) is None


def test_summary_sets_every_configuration_beside_full_on_the_same_scenes(episode: Make) -> None:
    full = [replace(outcome(episode(n > 0), PERIOD), seed=n) for n in range(4)]
    ours = [replace(outcome(episode(n < 3, "default"), PERIOD), seed=n, task="pick_red") for n in range(5)]
    figures = summary([*full, *ours])["configurations"]
    assert (figures["full"]["successes"], figures["default"]["episodes"]) == (3, 5)
    assert figures["default"]["families"]["pick"]["success_rate"] == 0.6
    assert figures["default"]["against_full"]["all"] == {"pairs": 4, "won": 1, "lost": 1, "p": 1.0}
    assert figures["full"]["latency_ms"]["total"] == {"p50": 3.0, "p95": 5.0, "max": 5.0}
    assert figures["full"]["passes"] == 2.4


def test_the_table_has_a_row_per_configuration(episode: Make) -> None:
    figures = summary([outcome(episode(True), PERIOD), outcome(episode(False, "default"), PERIOD)])
    lines = report.markdown(figures, PERIOD).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["full", "default"]
    assert "1 / 1 (21% to 100%)" in lines[2]
    assert len({line.count("|") for line in lines}) == 1


def test_a_chance_too_small_to_print_is_not_printed_as_none(episode: Make) -> None:
    full = [replace(outcome(episode(True), PERIOD), seed=n) for n in range(20)]
    ours = [replace(outcome(episode(False, "default"), PERIOD), seed=n) for n in range(20)]
    figures = summary([*full, *ours])
    assert 0.0 < figures["configurations"]["default"]["against_full"]["pick"]["p"] < 1e-5
    assert "p < 0.001" in report.markdown(figures, PERIOD).splitlines()[3]
