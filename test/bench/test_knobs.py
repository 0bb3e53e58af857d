"""The default with one value turned at a time; no test here depends on how fast anything is."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from vla_entropy_ros.bench import knobs
from vla_entropy_ros.bench.configurations import BASELINE
from vla_entropy_ros.bench.recording import Recording, save
from vla_entropy_ros.cli import main
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.engine.tunables import Tunables

KNOBS = [knobs.TOGETHER, "k1", "k2", "T", "row_budget", "max_age"]


@pytest.mark.parametrize("tokens", [16, 64, 256, 729])
def test_one_knob_is_turned_at_a_time_around_the_default(tokens: int) -> None:
    ours, turns = Tunables.default(tokens), knobs.turns(tokens)
    assert list(dict.fromkeys(turn.knob for turn in turns)) == KNOBS
    for turn in turns:
        turn.tunables.check_budgets(tokens)
        changed = {name for name, value in asdict(turn.tunables).items() if value != getattr(ours, name)}
        assert changed <= ({"k1", "k2"} if turn.knob == knobs.TOGETHER else {turn.knob})
    for knob in KNOBS:
        values = [turn.tunables for turn in turns if turn.knob == knob]
        assert ours in values
        assert len(set(values)) == len(values)
        assert tokens < 256 or len(values) >= 5


def test_the_default_is_run_once() -> None:
    planned = knobs.planned(256)
    assert [configuration.name for configuration in planned[:2]] == [BASELINE, "default"]
    assert len({configuration.tunables for configuration in planned}) == len(planned)


@pytest.fixture(scope="module")
def few() -> list[knobs.Turn]:
    """Two values of two knobs, one of them the default's."""
    ours = Tunables.default()
    chosen = [turn for turn in knobs.turns(256) if turn.knob in ("k2", "row_budget")]
    first = [turn for turn in chosen if turn.tunables == ours]
    return first + [next(turn for turn in chosen if turn.knob == one.knob and turn not in first) for one in first]


def test_the_command_draws_what_each_value_costs(
    few: list[knobs.Turn], recordings: list[Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knobs, "turns", lambda tokens: few)
    files, episodes = [], [recordings[0].part(range(8)), recordings[1]]
    for number, recording in enumerate(episodes):
        save(recording, tmp_path / f"{number}.npz")
        files += ["--episode", str(tmp_path / f"{number}.npz")]
    result = CliRunner().invoke(main, ["bench", "--knobs", *files, "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "knobs.json").read_text(), parse_constant=pytest.fail)
    assert content["ticks"] == sum(map(len, episodes))
    assert content["full"]["equal_share"] == content["full"]["fresh_share"] == 1.0
    assert {knob: len(records) for knob, records in content["knobs"].items()} == {"k2": 2, "row_budget": 2}
    for records in content["knobs"].values():
        (default,) = [record for record in records if record["default"]]
        assert default == {**content["knobs"]["k2"][0], "value": default["value"]}  # measured once
        for record in records:
            low, high = record["equal_interval95"]
            assert low <= record["equal_share"] <= high
            assert 0 < record["prefill_ms"] < record["tick_ms"]
    budget = content["knobs"]["row_budget"]
    assert (budget[1]["value"], budget[1]["fresh_share"] < budget[0]["fresh_share"]) == ("0", True)
    assert f" {Tunables.default().row_budget} * │" in result.stdout
    for name in ("knobs.png", "knobs-episode.png"):
        assert (tmp_path / "out" / name).stat().st_size > 10_000
    assert content["course"]["episode"] == 1  # the longest
    assert {len(run["reason"]) for run in content["course"]["runs"]} == {len(recordings[1])}
    assert [run["T"] for run in content["course"]["runs"]] == sorted({5, 200, Tunables.default().T})


def test_a_course_counts_the_fresh_tokens_of_every_tick_by_reason(policy: Policy, recordings: list[Recording]) -> None:
    ours = Tunables.default(policy.info.visual_tokens)
    for run in knobs.course(policy, recordings[0]):
        fresh, length = run["fresh"], len(recordings[0])
        assert list(fresh) == list(knobs.FRESH_BECAUSE)
        totals = [sum(counts) for counts in zip(*fresh.values(), strict=True)]
        assert len(totals) == len(run["reason"]) == length
        assert (run["reason"][0], totals[0], run["k_attn"][0]) == ("new episode", policy.info.visual_tokens, None)
        assert set(run["reason"][1:]) == {None}
        assert max(totals[1:]) < policy.info.visual_tokens
        assert {sum(pair) for pair in zip(run["k_vis"][1:], run["k_attn"][1:], strict=True)} == {ours.k1 + ours.k2}


def test_the_course_of_the_schedule_follows_its_horizon(
    policy: Policy, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled = replace(Tunables.default(policy.info.visual_tokens), k1=30, k2=50)
    monkeypatch.setattr(Tunables, "default", lambda tokens: scheduled)
    short, *_, long = knobs.course(policy, recordings[0])
    low, high = sorted((scheduled.k1, scheduled.k2))
    assert (short["T"], long["T"]) == (5, 200)
    assert short["k_vis"][5:] == [low] * (len(recordings[0]) - 5)
    assert set(long["k_vis"][1:]) <= {high, high - 1}


@pytest.mark.parametrize("options", [["--knobs", "--tune"], ["--knobs", "--device", "cpu"]])
def test_knobs_are_a_measurement_of_their_own(options: list[str]) -> None:
    result = CliRunner().invoke(main, ["bench", *options])
    assert result.exit_code == 2
    assert "give it without --peers, without --tune and without --device" in result.output
