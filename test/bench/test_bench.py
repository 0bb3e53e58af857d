"""The benchmark: recordings, costs and agreement; no test here depends on how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from vla_entropy_ros.bench.configurations import BASELINE, configurations, paper
from vla_entropy_ros.bench.measure import Shape, draft_acceptance, measure, summarise
from vla_entropy_ros.bench.recording import Recording, RecordingError, load, record, save
from vla_entropy_ros.cli import main
from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.engine import Policy
from vla_entropy_ros.resources import default_checkpoint
from vla_entropy_ros.runner.plan import Silent


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load(default_checkpoint())


@pytest.fixture(scope="module")
def recordings(policy: Policy) -> list[Recording]:
    """Two short episodes of the shipped policy."""
    return record(policy, [FRESH_SEED, FRESH_SEED + 1], 1.2, Silent())


def test_a_recording_moves_and_survives_its_file(recordings: list[Recording], tmp_path: Path) -> None:
    one = recordings[0]
    assert len(one) == 12
    assert all((before != after).any() for before, after in zip(one.images, one.images[1:], strict=False))
    save(one, tmp_path / "episode.npz")
    read = load(tmp_path / "episode.npz")
    np.testing.assert_array_equal(read.images, one.images)
    np.testing.assert_array_equal(read.stamps, one.stamps)
    assert read.instruction == one.instruction == "pick up the red cube"


def test_an_unusable_file_is_refused_in_one_line(recordings: list[Recording], tmp_path: Path) -> None:
    path = tmp_path / "episode.npz"
    save(recordings[0], path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-30], b"", b"something else"):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match="cut short") as caught:
            load(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(RecordingError, match="no recording at"):
        load(tmp_path / "nowhere.npz")
    np.savez(path, images=recordings[0].images)
    with pytest.raises(RecordingError, match="no stamps, instruction"):
        load(path)
    np.savez(path, images=recordings[0].images, stamps=recordings[0].stamps[::-1], instruction="go")
    with pytest.raises(RecordingError, match="ascending"):
        load(path)


def test_every_configuration_is_compared_with_full_recomputation(policy: Policy, recordings: list[Recording]) -> None:
    planned = configurations(policy.info.visual_tokens)
    turns: list[None] = []
    runs = measure(policy, recordings, planned, repeats=2, progress=lambda: turns.append(None))
    assert len(turns) == 2 * 2 * len(planned)
    records = {r["name"]: r for r in summarise(runs, Shape(policy.llama, policy.towers))}
    base, ours = records[BASELINE], records["default"]
    assert (base["speedup"], base["equal_share"], base["fresh_share"], base["passes"]) == (1.0, 1.0, 1.0, 7.0)
    assert set(base["deviation"].values()) == {0.0}
    assert base["ticks"] == 2 * sum(map(len, recordings))
    for name in (BASELINE, "default", "paper: full method"):  # drafts change the passes and nothing else
        pair = {
            BASELINE: "full, exact drafts",
            "default": "default, no drafts",
            "paper: full method": "paper, exact drafts",
        }[name]
        assert records[name]["equal_share"] == records[pair]["equal_share"]
        assert records[name]["fresh_share"] == records[pair]["fresh_share"]
        assert records[name]["deviation"] == records[pair]["deviation"]
    assert ours["passes"] < 7.0 == records["default, no drafts"]["passes"]
    assert ours["age_max"] <= 10
    assert ours["age_mean"] <= records["default, no row budget"]["age_mean"]
    assert ours["paper_gmacs"] < base["paper_gmacs"]
    assert ours["true_gflops"] < base["true_gflops"]


def test_the_papers_figures_follow_from_the_episodes_own_reuse(policy: Policy, recordings: list[Recording]) -> None:
    planned = [c for c in configurations(policy.info.visual_tokens) if c.name in (BASELINE, "paper: full method")]
    base, published = summarise(measure(policy, recordings, planned, 1), Shape(policy.llama, policy.towers))
    assert base["openvla_7b"]["paper_tmacs"] == pytest.approx(1.8638, abs=1e-4)
    assert published["openvla_7b"]["paper_tmacs"] <= 1.214
    assert base["openvla_7b"]["true_tflops"] == pytest.approx(0.405 + 3.734 + 0.080, rel=0.005)


def test_the_fate_of_drafts_is_summed_up(policy: Policy, recordings: list[Recording]) -> None:
    planned = [c for c in configurations(policy.info.visual_tokens) if c.name in (BASELINE, "default")]
    plain, ours = (draft_acceptance(run.results) for run in measure(policy, recordings, planned, 1))
    ticks = sum(map(len, recordings))
    assert plain["passes_histogram"] == {"7": ticks}
    assert (plain["accepted_per_tick"], set(plain["by_source"].values())) == (0.0, {None})
    passes = {int(count): ticks for count, ticks in ours["passes_histogram"].items()}
    assert (sum(passes.values()), max(passes)) == (ticks, 7)  # the first tick of an episode has nothing to go by
    assert set(ours["by_source"]) == {"previous", "extrapolated", "guessed"}
    assert 0 < ours["accepted_per_tick"] < ours["tried_per_tick"]
    mean = sum(count * ticks for count, ticks in passes.items()) / ticks
    assert mean <= 7 - ours["accepted_per_tick"] + 1e-4  # each accepted draft saves its pass


def test_what_a_growing_set_computes_counts(policy: Policy, recordings: list[Recording]) -> None:
    names = (BASELINE, "VLA-Cache's rule", "VLA-Cache, growing by layer")
    planned = [c for c in configurations(policy.info.visual_tokens) if c.name in names]
    base, rule, growing = summarise(measure(policy, recordings, planned, 1), Shape(policy.llama, policy.towers))
    for figure in ("paper_tmacs", "true_tflops"):
        assert rule["openvla_7b"][figure] < growing["openvla_7b"][figure] <= base["openvla_7b"][figure]
    assert rule["true_gflops"] < growing["true_gflops"] <= base["true_gflops"]


def test_paper_yaml_is_the_paper_in_proportion() -> None:
    published = paper(256)
    assert (published.k1, published.k2, published.T, published.mode) == (40, 60, 100, "info_entropy")
    assert (published.drafts, published.static_reference, published.row_budget) == ("off", "previous", 0)
    assert (paper(64).k1, paper(64).k2) == (10, 15)


def test_the_command_writes_table_json_and_picture(recordings: list[Recording], tmp_path: Path) -> None:
    save(recordings[0], tmp_path / "episode.npz")
    arguments = ["bench", "--quick", "--episode", str(tmp_path / "episode.npz"), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content == json.loads((tmp_path / "out" / "bench.json").read_text())
    assert len(content["configurations"]) == len(configurations(64))
    assert (tmp_path / "out" / "bench.png").stat().st_size > 10_000
    assert "equal ticks" in CliRunner().invoke(main, arguments).stdout


def test_the_command_names_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "episode.npz").write_bytes(b"PK")
    result = CliRunner().invoke(main, ["bench", "--episode", str(tmp_path / "episode.npz")])
    assert result.exit_code == 1
    assert "is cut short or no recording" in result.output.splitlines()[-1]
