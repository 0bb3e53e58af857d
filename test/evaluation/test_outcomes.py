"""What is summed up of many episodes: rates with their intervals, pairs, times, reuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.construct import construct
from vla_entropy_ros.evaluation import report
from vla_entropy_ros.evaluation.outcomes import Outcome, line, outcome, summary
from vla_entropy_ros.evaluation.records import EpisodeRecord, Move
from vla_entropy_ros.evaluation.statistics import jerk, mcnemar, paired_difference, percentiles, ranked, wilson
from vla_entropy_ros.sim import family_tasks

PERIOD = 0.1
LONG = (family_tasks("long")[0], family_tasks("long3")[0])
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
    paired = figures["default"]["against_full"]["all"]
    assert {name: paired[name] for name in ("pairs", "won", "lost", "p", "points")} == {
        "pairs": 4, "won": 1, "lost": 1, "p": 1.0, "points": 0.0,
    }  # fmt: skip
    assert paired["interval95"] == pytest.approx([-56.58, 56.58], abs=0.01)
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


@pytest.mark.parametrize(("number", "token", "after"), [(1, 1, 0), (1, 2, 0), (1, 0, None)])
def test_a_moved_target_is_seen_when_the_token_that_shows_it_is_computed(
    episode: Make, number: int, token: int, after: int | None
) -> None:
    made = episode(True)
    made.disturbance, made.moved = "moved=0.1", Move(made.ticks[number].stamp, token)
    told = outcome(made, PERIOD)
    assert (told.moved, told.seen_after) == (True, after)
    for late in made.ticks[number : number + 3]:
        late.selection.flat[token] = 0
    assert outcome(made, PERIOD).seen_after == (None if after is None else 3)


def test_what_is_kept_of_an_episode_reads_back_and_says_no_more_than_needed(episode: Make) -> None:
    calm = outcome(episode(True), PERIOD)
    disturbed = replace(calm, disturbance="moved=0.1", moved=True, seen_after=0)
    assert set(line(disturbed)) - set(line(calm)) == {"disturbance", "moved", "seen_after"}
    assert [construct(Outcome, line(o), "here") for o in (calm, disturbed)] == [calm, disturbed]


def test_a_paired_difference_against_worked_out_values() -> None:
    """Agresti and Min (2005): (b - c) / (n + 2) either side, with half a pair more in each cell."""
    points, low, high = paired_difference(4, 3, 200)
    n, b, c = 202, 4.5, 3.5
    half = 1.959964 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    assert (points, low, high) == pytest.approx((0.005, (b - c) / n - half, (b - c) / n + half))
    assert paired_difference(0, 0, 100)[1:] == pytest.approx((-0.0192, 0.0192), abs=1e-4)  # not nothing
    assert paired_difference(0, 0, 0) == (0.0, -1.0, 1.0)
    assert paired_difference(3, 0, 3)[2] <= 1.0


def test_what_came_about_is_paired_by_itself(episode: Make) -> None:
    def some(name: str, happened: int, wins: int) -> list[Outcome]:
        made = replace(outcome(episode(True, name), PERIOD), disturbance="hidden=0.1", stale=1, refused=0)
        return [replace(made, seed=n, happened=n < happened, success=n < wins) for n in range(10)]

    ours = summary([*some("full", 8, 10), *some("default", 6, 4)])["disturbances"]["hidden=0.1"]["default"]
    assert (ours["happened"], ours["stale"], ours["refused"]) == (6, 0.2, 0.0)
    assert (ours["against_full"]["all"]["pairs"], ours["against_full"]["all"]["lost"]) == (10, 6)
    told = ours["against_full_happened"]["all"]
    assert (told["pairs"], told["lost"]) == (6, 2)


def test_the_ranks_of_what_may_never_come() -> None:
    assert [ranked([0, 1, 5, math.inf], percent) for percent in (50, 75, 99)] == [1, 5, None]
    assert ranked([], 50) is None


def test_disturbed_episodes_are_set_beside_full_under_the_same_disturbance(episode: Make) -> None:
    def some(name: str, disturbance: str | None, wins: int) -> list[Outcome]:
        made = outcome(episode(True, name), PERIOD)
        return [replace(made, seed=n, success=n < wins, disturbance=disturbance) for n in range(10)]

    noise = [*some("full", "noise=6", 4), *some("default", "noise=6", 2)]
    late = [
        replace(o, moved=n < 4, seen_after=(0, 2, 3, None)[n] if n < 4 else None)
        for n, o in enumerate(some("default", "moved=0.1", 10))
    ]
    calm = [*some("full", None, 10), *some("default", None, 9)]
    figures = summary([*calm, *noise, *some("full", "moved=0.1", 10), *late])
    assert figures["configurations"]["default"]["against_full"]["all"] | {"p": 1, "interval95": []} == {
        "pairs": 10, "won": 0, "lost": 1, "p": 1, "points": -10.0, "interval95": [],
    }  # fmt: skip
    ours = figures["disturbances"]["noise=6"]["default"]
    assert (ours["success_rate"], ours["against_full"]["all"]["lost"], ours["fresh_p95"]) == (0.2, 2, 0.5)
    assert "moved" not in ours
    moved = figures["disturbances"]["moved=0.1"]["default"]["moved"]
    assert moved == {"episodes": 4, "never": 1, "p50": 2, "p99": None, "soon": 0.5}
    assert [e["disturbance"] for e in figures["episodes"] if "disturbance" in e].count("noise=6") == 20
    lines = report.markdown(figures, PERIOD).splitlines()
    assert [row.split("|")[1:3] for row in lines[2:]] == [
        [f" {name} ", f" {label} "] for label in ("none", "noise=6", "moved=0.1") for name in ("full", "default")
    ]
    assert lines[-1].endswith("| 50% | 2 / never (of 4) | 50% |")
    assert len({row.count("|") for row in lines}) == 1


def test_without_disturbances_nothing_is_added(episode: Make) -> None:
    figures = summary([outcome(episode(True), PERIOD)])
    assert set(figures) == {"configurations", "episodes"}
    assert not {"fresh_p95", "moved"} & set(figures["configurations"]["full"])
    assert not {"disturbance", "moved", "seen_after", "fresh"} & set(figures["episodes"][0])
    assert "disturbance" not in report.columns(figures)


def test_a_live_round_is_set_beside_full_and_beside_its_own_lock_step(episode: Make) -> None:
    def some(name: str, live: str | None, wins: int, took: float = 0.0) -> list[Outcome]:
        made = replace(outcome(episode(True, name), PERIOD), task="put_red")
        more: dict[str, Any] = {
            "live": live,
            "lasting": 0.1,
            "took": [took] * 5,
            "ages": [took + 20, took + 40],
            "stale": 2,
            "refused": 1,
        }
        return [replace(made, seed=n, success=n < wins, **(more if live else {})) for n in range(10)]

    slow = "live 250 ms, 10 Hz, actions of 0.1 s"
    calm = [*some("full", None, 10), *some("default", None, 9)]
    figures = summary([*calm, *some("full", slow, 4, 250.0), *some("default", slow, 8, 50.0)])
    assert set(figures) == {"configurations", "live", "episodes"}
    full, ours = figures["live"][slow]["full"], figures["live"][slow]["default"]
    assert (full["success_rate"], ours["success_rate"]) == (0.4, 0.8)
    assert ours["against_full"]["all"]["won"] == 4
    paired = full["late"]["against_lock_step"]["all"]
    assert {name: paired[name] for name in ("pairs", "won", "lost", "points")} == {
        "pairs": 10, "won": 0, "lost": 6, "points": -60.0,
    }  # fmt: skip
    assert ours["late"]["answer_ms"] == {"p50": 50.0, "p95": 50.0, "max": 50.0}
    assert ours["late"]["action_age_ms"]["p50"] == 80.0
    assert (ours["late"]["stale"], ours["late"]["refused"]) == (0.4, 0.2)
    assert {e["live"] for e in figures["episodes"] if "live" in e} == {slow}
    lock_step, live = report.sections(figures, PERIOD)
    assert [row[:2] for row in live.rows] == [["full", slow], ["default", slow]]
    cells = dict(zip(live.columns, live.rows[0], strict=True))
    assert cells["against lock-step"] == "-60.0 [-82.7, -17.3] (0 / 6, p 0.031)"
    assert (cells["answer p50 / p95 [ms]"], cells["age of the action p50 / p95 [ms]"]) == ("250 / 250", "280 / 290")
    assert (cells["stale"], cells["refused"]) == ("40%", "20%")
    assert len(lock_step.rows) == 2


def test_what_a_clock_measured_is_not_in_the_exact_tables(episode: Make) -> None:
    made = outcome(episode(True), PERIOD)
    own = replace(made, live="live own, 10 Hz, actions of 0.1 s", lasting=0.1, took=[1.0], ages=[20.0])
    drawn = replace(own, live="live 250 ms, 10 Hz, actions of 0.1 s")
    slower = replace(made, latency={stage: [9.0] * 5 for stage in made.latency})
    one, other = (report.exact(summary([calm, own, drawn]), PERIOD) for calm in (made, slower))
    assert one == other
    assert "live own" not in one
    assert "live 250 ms" in one
    assert "live own" in report.markdown(summary([made, own]), PERIOD)


def test_tasks_of_several_goals_are_told_step_by_step(episode: Make) -> None:
    made = outcome(episode(True), PERIOD)
    names = {task: [replace(made, task=task, seed=n, reached=r) for n, r in enumerate((0, 1, 1, 3))] for task in LONG}
    figures = summary([o for some in names.values() for o in some])
    steps = figures["configurations"]["full"]["steps"]
    assert steps["long3"] == [{"began": 4, "done": 3}, {"began": 3, "done": 1}, {"began": 1, "done": 1}]
    assert steps["long"][:2] == [{"began": 4, "done": 3}, {"began": 3, "done": 1}]
    _, told = report.sections(figures, PERIOD)
    assert told.columns == ["configuration", "round", "family", "step 1", "step 2", "step 3"]
    assert told.rows == [
        ["full", "none", "long", "3 / 4", "1 / 3", "-"], ["full", "none", "long3", "3 / 4", "1 / 3", "1 / 1"],
    ]  # fmt: skip
