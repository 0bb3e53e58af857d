"""The benchmark: recordings, costs and agreement; no test here depends on how fast anything is."""

from __future__ import annotations

import json
import re
import shutil
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from vla_entropy_ros.bench import tables
from vla_entropy_ros.bench.configurations import BASELINE, PEER, configurations, search
from vla_entropy_ros.bench.measure import measure
from vla_entropy_ros.bench.recording import Recording, RecordingError, save
from vla_entropy_ros.bench.selection import selection_times
from vla_entropy_ros.cli import main
from vla_entropy_ros.engine import ActionError, Observation, Policy, Result
from vla_entropy_ros.engine.actions.drafts import SOURCES
from vla_entropy_ros.engine.reuse.selector import Selector
from vla_entropy_ros.engine.tunables import Tunables
from vla_entropy_ros.evaluation.configurations import preset


@pytest.fixture(scope="module")
def ran(recordings: list[Recording], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The command over both recordings, run once for all tests: what it printed as JSON, its output folder."""
    folder = tmp_path_factory.mktemp("bench")
    files = []
    for number, recording in enumerate(recordings):
        save(recording, folder / f"episode-{number}.npz")
        files += ["--episode", str(folder / f"episode-{number}.npz")]
    result = CliRunner().invoke(main, ["bench", "--quick", *files, "--output", str(folder / "out"), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), folder / "out"


@pytest.fixture(scope="module")
def records(ran: tuple[dict[str, Any], Path]) -> dict[str, dict[str, Any]]:
    """The command's figures by configuration."""
    return {record["name"]: record for record in ran[0]["configurations"]}


def test_every_configuration_is_compared_with_full_recomputation(
    policy: Policy, recordings: list[Recording], records: dict[str, dict[str, Any]]
) -> None:
    named = [c.name for c in configurations(policy.info.visual_tokens)]
    assert list(records) == [named[0], PEER, *named[1:]]
    base, ours = records[BASELINE], records["default"]
    assert (base["speedup"], base["equal_share"], base["fresh_share"], base["passes"]) == (1.0, 1.0, 1.0, 7.0)
    assert set(base["deviation"].values()) == {0.0}
    assert base["ticks"] == sum(map(len, recordings))
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
    assert ours["age_max"] <= 20
    assert ours["age_mean"] <= records["default, no row budget"]["age_mean"]
    assert ours["paper_gmacs"] < base["paper_gmacs"]
    assert ours["true_gflops"] < base["true_gflops"]


def test_ticks_without_an_action_are_left_out_of_all_runs(
    policy: Policy, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, calls = policy.infer, iter(range(99))

    def faulty(observation: Observation) -> Result:
        if next(calls) in (3, 12 + 5):  # the fourth tick of the first run, the sixth of the second
            raise ActionError("no action")
        return infer(observation)

    monkeypatch.setattr(policy, "infer", faulty)
    planned = configurations(policy.info.visual_tokens)[:2]
    turns: list[None] = []
    runs = measure(policy, recordings[:1], planned, progress=lambda: turns.append(None))
    assert len(turns) == 2
    assert [run.faults for run in runs] == [1, 1]
    # a tick without an action is not counted by the policy
    assert [sample.tick for sample in runs[0].samples] == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert [sample.tick for sample in runs[1].samples] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    calls = iter([3] * 12)
    with pytest.raises(ActionError, match="no tick has a valid action in every configuration"):
        measure(policy, recordings[:1], planned[:1])


def test_the_papers_figures_follow_from_the_episodes_own_reuse(records: dict[str, dict[str, Any]]) -> None:
    base, published, uncapped = records[BASELINE], records["paper: full method"], records["paper, no cap"]
    assert base["openvla_7b"]["paper_tmacs"] == pytest.approx(1.8638, abs=1e-4)
    assert uncapped["openvla_7b"]["paper_tmacs"] < published["openvla_7b"]["paper_tmacs"] < 1.4
    assert uncapped["openvla_7b"]["paper_tmacs"] <= 1.214
    assert base["openvla_7b"]["true_tflops"] == pytest.approx(0.405 + 3.734 + 0.080, rel=0.005)


def test_the_fate_of_drafts_is_summed_up(recordings: list[Recording], records: dict[str, dict[str, Any]]) -> None:
    plain, ours = (records[name]["draft_acceptance"] for name in (BASELINE, "default"))
    ticks = sum(map(len, recordings))
    assert plain["passes_histogram"] == {"7": ticks}
    assert (plain["accepted_per_tick"], set(plain["by_source"].values())) == (0.0, {None})
    passes = {int(count): ticks for count, ticks in ours["passes_histogram"].items()}
    assert sum(passes.values()) == ticks
    assert max(passes) < 7  # the first tick of an episode, too: it drafts the centre for what stands behind it
    assert set(ours["by_source"]) == set(SOURCES)
    assert 0 < ours["accepted_per_tick"] < ours["tried_per_tick"]
    mean = sum(count * ticks for count, ticks in passes.items()) / ticks
    assert mean < 2.2
    assert mean <= 7 - ours["accepted_per_tick"] + 1e-4  # each accepted draft saves its pass


def test_what_a_growing_set_computes_counts(records: dict[str, dict[str, Any]]) -> None:
    names = (BASELINE, "VLA-Cache's rule", "VLA-Cache, growing by layer")
    base, rule, growing = (records[name] for name in names)
    for figure in ("paper_tmacs", "true_tflops"):
        assert rule["openvla_7b"][figure] < growing["openvla_7b"][figure] <= base["openvla_7b"][figure]
    assert rule["true_gflops"] < growing["true_gflops"] <= base["true_gflops"]


def test_paper_yaml_is_the_paper_in_proportion() -> None:
    published = preset("paper", 256)
    assert (published.k1, published.k2, published.T, published.mode) == (40, 60, 100, "info_entropy")
    assert (published.drafts, published.static_reference, published.row_budget) == ("off", "previous", 0)
    small = preset("paper", 64)
    assert (small.k1, small.k2, small.static_top_k) == (10, 15, 38)
    assert published.static_top_k == 150


def test_vla_caches_values_are_those_of_its_code() -> None:
    cache = preset("vla_cache", 256)
    assert (cache.mode, cache.k1 + cache.k2, cache.static_top_k, cache.drafts) == ("vla_cache", 120, 130, "off")


def test_the_command_writes_json_and_picture(ran: tuple[dict[str, Any], Path]) -> None:
    content, folder = ran
    assert content == json.loads((folder / "bench.json").read_text())
    assert [len(episode["instructions"]) for episode in content["episodes"]] == [1, 1]
    assert set(content["draft_acceptance"]) >= {"passes_histogram", "accepted_per_tick", "by_source"}
    assert content["openvla_7b"]["largest_difference"] < 1e-6
    assert "prefill: default" in content["openvla_7b"]["counted_tflops"]
    assert content["selection_ms"]["in_default_ticks"]["p50"] > 0
    assert min(content["selection_ms"][name] for name in ("alone_256_tokens", "scores_256_tokens")) > 0
    rows = (folder / "bench.md").read_text().splitlines()
    assert sum(row.startswith("| default |") for row in rows) == 2  # cost, and tick by tick
    assert (folder / "bench.png").stat().st_size > 10_000


def test_the_front_holds_what_nothing_else_beats(tmp_path: Path) -> None:
    points = {
        "slow": (9, 0.9),
        "best": (9, 1.0),
        "fast": (2, 0.3),
        "worse": (3, 0.3),
        "middle": (5, 0.8),
        "bad": (6, 0.5),
    }
    records = [{"name": n, "tick_ms": {"p50": p50}, "equal_share": equal} for n, (p50, equal) in points.items()]
    assert [record["name"] for record in tables.front(records)] == ["fast", "middle", "best"]
    tables.plot(records, tmp_path / "plot.png", "six")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


@pytest.mark.parametrize("tokens", [16, 64, 256])
def test_the_search_stays_within_the_tokens_and_begins_with_the_baseline(tokens: int) -> None:
    searched = search(tokens)
    assert [c.name for c in searched[:3]] == [BASELINE, "full, exact drafts", "default"]
    assert len({c.name for c in searched}) == len(searched)
    for configuration in searched:
        configuration.tunables.check_budgets(tokens)


def test_the_command_searches_for_the_best_trade_offs(
    policy: Policy, recordings: list[Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = search(policy.info.visual_tokens)[:5]
    monkeypatch.setattr("vla_entropy_ros.bench.configurations.search", lambda tokens: some)
    save(recordings[0], tmp_path / "episode.npz")
    arguments = ["bench", "--tune", "--quick", "--episode", str(tmp_path / "episode.npz"), "--output", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "bench.json").read_text())
    assert [c["name"] for c in content["configurations"]] == [c.name for c in some]
    table = result.stdout.split("choosing among")[0]
    shown = [c.name for c in some if re.search(rf"│ {re.escape(c.name)} +│", table)]
    assert set(shown) == set(content["best_trade_offs"])
    equal = {c["name"]: c["equal_share"] for c in content["configurations"]}
    assert max(equal[name] for name in shown) == equal[BASELINE] == 1.0  # whatever is fastest of those ends the front


@pytest.mark.parametrize(("given", "count"), [([], 2), (["--quick"], 1), (["--episodes", "5", "--quick"], 5)])
def test_the_policy_acts_in_as_many_episodes_as_asked(
    given: list[str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(policy: Policy, episodes: int, *_: object) -> list[Recording]:
        raise RecordingError(f"{episodes} of each family")

    monkeypatch.setattr("vla_entropy_ros.bench.recording.record_finished", told)
    result = CliRunner().invoke(main, ["bench", *given, "--output", str(tmp_path)])
    assert result.output.splitlines()[-1] == f"Error: {count} of each family"


def test_recorded_episodes_have_no_number_to_choose(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "--episodes", "3", "--episode", str(tmp_path / "episode.npz")])
    assert result.exit_code == 2
    assert "give it without --episode" in result.output


def test_the_choice_is_timed_in_the_default_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Tunables] = []
    attended: list[Tunables] = []
    select, attend = Selector.select, Selector.attend

    def selecting(selector: Selector, frames: Any, embedded: Any, tunables: Tunables) -> Any:
        chosen.append(tunables)
        return select(selector, frames, embedded, tunables)

    def attending(selector: Selector, looked: Any, tunables: Tunables) -> None:
        attended.append(tunables)
        attend(selector, looked, tunables)
        time.sleep(0.1)

    monkeypatch.setattr(Selector, "select", selecting)
    monkeypatch.setattr(Selector, "attend", attending)
    took = selection_times(64, repeats=5)
    assert chosen == attended == [Tunables.default(64)] * 6
    assert 0 < took.alone < 100 <= took.scores


def test_the_command_names_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "episode.npz").write_bytes(b"PK")
    result = CliRunner().invoke(main, ["bench", "--episode", str(tmp_path / "episode.npz")])
    assert result.exit_code == 1
    assert "is cut short or no recording" in result.output.splitlines()[-1]


def test_a_checkpoint_of_several_cameras_is_refused_in_one_line(
    checkpoint: Path, recordings: list[Recording], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "two")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_images_in_input": 2}))
    save(recordings[0], tmp_path / "episode.npz")
    arguments = ["bench", "--episode", str(tmp_path / "episode.npz"), "--checkpoint", str(folder)]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == "Error: expected a tuple of 2 camera image(s), got 1 images"


def test_units_of_columns_are_no_styles_of_the_terminal() -> None:
    console = Console(width=80, file=StringIO(), record=True)
    console.print(tables.drawn("", ["configuration", "off [mm]", "took [s]"], [["default", "1", "2"]]))
    assert "off [mm] ┃ took [s]" in console.export_text()
