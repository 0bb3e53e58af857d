"""A configuration against another over the same ticks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vla_entropy_ros.bench import paired, tables, ticks
from vla_entropy_ros.bench.configurations import configurations
from vla_entropy_ros.bench.measure import CostShape, Run, measure, summarise
from vla_entropy_ros.bench.recording import Recording
from vla_entropy_ros.bench.ticks import Sample
from vla_entropy_ros.engine import ActionError, Observation, Policy, Result
from vla_entropy_ros.engine.result import Timings
from vla_entropy_ros.engine.tunables import Tunables
from vla_entropy_ros.evaluation.configurations import FORMER, Configuration


@pytest.fixture(scope="module")
def runs(policy: Policy, recordings: list[Recording]) -> list[Run]:
    """Full recomputation, the default, and one as bad as can be that is called the former default."""
    base = configurations(policy.info.visual_tokens)[0]
    ours = Tunables.default(policy.info.visual_tokens)
    careless = replace(ours, k1=0, k2=0, row_budget=0, max_age=1000, static_difference=0.0, static_similarity=0.5)
    planned = [base, Configuration("default", ours), Configuration(FORMER, careless)]
    return measure(policy, recordings, planned)


def made(sample: Sample, fresh: list[int], total: list[float]) -> list[Sample]:
    """Ticks alike but for their fresh tokens and their time [s]."""
    timings = [Timings(0.0, 0.0, 0.0, 0.0, 0.0, seconds) for seconds in total]
    return [replace(sample, fresh=count, timings=timing) for count, timing in zip(fresh, timings, strict=True)]


def test_the_interval_draws_whole_episodes() -> None:
    episodes = [number for number in range(20) for _ in range(30)]
    by_episode = np.repeat(np.random.default_rng(1).normal(0, 1, 20), 30)
    low, high = paired.interval(by_episode, episodes) or (0.0, 0.0)
    deviation = float(np.std(by_episode[::30]))
    assert low < by_episode.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * deviation / np.sqrt(20), rel=0.15)
    as_ticks = paired.interval(by_episode, range(600)) or (0.0, 0.0)  # thirty times as many that look independent
    assert (high - low) / (as_ticks[1] - as_ticks[0]) == pytest.approx(np.sqrt(30), rel=0.15)
    assert paired.interval(by_episode, episodes) == (low, high)  # the seed is fixed


def test_episodes_count_by_their_ticks() -> None:
    values, episodes = np.array([1.0, 1.0, 1.0, 0.0]), [7, 7, 7, 9]
    assert paired.interval(values, episodes) == (0.0, 1.0)  # each of both can be drawn twice
    assert paired.interval(values[:3], episodes[:3]) is None


def test_samples_are_of_the_recording_that_they_were_made_of(
    policy: Policy, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, calls = policy.infer, iter(range(99))

    def faulty(observation: Observation) -> Result:
        if next(calls) in (0, 1):
            raise ActionError("no action")
        return infer(observation)

    monkeypatch.setattr(policy, "infer", faulty)
    run = measure(policy, recordings, configurations(policy.info.visual_tokens)[:1])[0]
    assert run.episodes == [0] * (len(recordings[0]) - 2) + [1] * len(recordings[1])
    assert len(run.samples) == len(run.episodes)


def test_a_run_is_paired_with_the_former_default_and_with_full_recomputation(policy: Policy, runs: list[Run]) -> None:
    records = {record["name"]: record for record in summarise(runs, CostShape.of(policy))}
    shares = {name: record["equal_share"] for name, record in records.items()}
    assert shares["default"] > shares["former"]
    told = records["default"]["against"]["former"]
    count = len(runs[0].samples)
    assert told["difference_points"] == pytest.approx(100 * (shares["default"] - shares["former"]), abs=0.02)
    assert told["won"] - told["lost"] == round((shares["default"] - shares["former"]) * count)
    assert told["interval95"][0] <= told["difference_points"] <= told["interval95"][1]
    fresh = {name: record["fresh_share"] for name, record in records.items()}
    assert told["fresh_points"] == pytest.approx(100 * (fresh["default"] - fresh["former"]), abs=0.02)
    against_full = records["former"]["against"]["full"]
    assert (against_full["won"], against_full["lost"]) == (0, round((1 - shares["former"]) * count))
    assert against_full["p"] < 0.05
    itself = records["former"]["against"]["former"]
    assert (itself["difference_points"], itself["won"], itself["lost"], itself["p"]) == (0.0, 0, 0, 1.0)


def test_without_a_former_default_full_recomputation_is_the_other(policy: Policy, runs: list[Run]) -> None:
    records = summarise(runs[:2], CostShape.of(policy))
    assert [record["against"]["former"] for record in records] == [None, None]
    assert "against full recomputation" in str(tables.paired_table(records).title)
    assert "against former" in str(tables.paired_table(summarise(runs, CostShape.of(policy))).title)


def test_ticks_that_compute_everything_are_apart(runs: list[Run]) -> None:
    one, visual = runs[1].samples[0], runs[1].samples[0].visual
    fresh = [visual, *range(1, 101), visual]
    some = made(one, fresh, [0.3, *[0.04] * 50, *[0.05] * 50, 0.3])
    assert ticks.fresh_rows(some) == {"p50": 50.5, "p95": 95.0, "p99": 99.0, "max": 100}
    assert ticks.jitter(some) == {"reusing": pytest.approx(0.05 / 0.045, abs=1e-3), "all": 1.0}
    assert ticks.fresh_rows(runs[0].samples) is None
    whole = ticks.jitter(runs[0].samples)
    assert whole["reusing"] is None
    assert (whole["all"] or 0.0) >= 1.0


def test_the_tables_show_intervals_rows_and_jitter(policy: Policy, runs: list[Run]) -> None:
    records = summarise(runs, CostShape.of(policy))
    text = tables.markdown(records)
    first, second = text.split("Tick by tick against former:")
    assert first.count("\n") == len(records) + 3  # head, rule, and an empty line behind the rows
    row = next(line for line in second.splitlines() if line.startswith("| default |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    told, rows = records[1]["against"]["former"], records[1]["rows"]
    assert cells[2] == f"{told['difference_points']:+.1f}"
    assert cells[4] == f"{told['won']} / {told['lost']}"
    assert cells[7].endswith(f"/ {rows['max']}")
    assert cells[8] == " / ".join(f"{records[1]['jitter'][name]:.2f}" for name in ("reusing", "all"))
