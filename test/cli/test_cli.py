"""The command line as a person uses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from vla_entropy_ros.cli import COMMANDS, main
from vla_entropy_ros.resources import default_checkpoint


def call(*arguments: str) -> Result:
    """Run `vla-entropy` with these arguments."""
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    "command",
    [*([c] for c in COMMANDS if c != "inspect"), ["inspect", "checkpoint"], ["inspect", "episode"], ["inspect", "bag"]],
    ids=" ".join,
)
def test_every_command_explains_itself_and_offers_json(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frolic"], f"no command 'frolic': valid are {', '.join(COMMANDS)}"),
        (["evaluate", "--mode", "quick"], "valid are plain, full, place_entropy, info_entropy, vla_cache"),
        (["evaluate", "--task", "pick_pink"], "valid are pick_red, pick_green"),
        (["evaluate", "--episodes", "0"], "0 is not in the range"),
        (["evaluate", "--disturbance", "fog"], "unknown disturbance 'fog': valid are noise=0.01 to 50, exposure="),
        (["evaluate", "--disturbance", "jpeg=0"], "disturbance jpeg: 0 is out of range; valid are 1 to 100"),
        (["evaluate", "--disturbance", "jpeg", "--ros"], "leave --ros away"),
        (["evaluate", "--live", "--ros"], "leave --ros away"),
        (["evaluate", "--video", "--ros"], "leave --ros away"),
        (["evaluate", "--domain-id", "3"], "only with --ros"),
        (["evaluate", "--limit", "nan"], "nan is not in the range"),
        (["evaluate", "--live", "--period", "nan"], "nan is not in the range"),
        (["evaluate", "--live", "--camera-rate", "nan"], "nan is not in the range"),
        (["evaluate", "--live", "--transport", "nan"], "nan is not in the range"),
        (["evaluate", "--live", "--transport", "1000", "--limit", "0.3"], "1000 ms is longer than an episode"),
        (["evaluate", "--latency", "250"], "say how the world goes on: add --live"),
        (["evaluate", "--period", "0.3"], "say how the world goes on: add --live"),
        (
            ["evaluate", "--live", "--latency", "-3"],
            "latency profile '-3': -3 is no time; valid are own, rtx4090, h100",
        ),
        (["evaluate", "--live", "--latency", "8000"], "8000 ms is longer than an episode; valid are own"),
        (["evaluate", "--live", "--latency", "600", "--limit", "0.5"], "milliseconds from 0 to 500 such as"),
        (["evaluate", "--live", "--latency", "gpu"], "latency profile 'gpu': no number, no device, no file; valid are"),
        (["evaluate", "--suite", "long5"], "'long5': valid are pick, put, push, long, all, long3, long4"),
        (["demo", "--mode", "quick"], "valid are plain, full, place_entropy"),
        (["demo", "--client", __file__, "--episodes", "3"], "'--episodes': does nothing with --client"),
        (["demo", "--client", "README.md"], "README.md is no Python program: "),
        (["demo", "--client", __file__, "--json"], "'--json': does nothing with --client"),
        (["train", "--device", "abacus"], "device 'abacus' is not available: available are auto, cpu"),
        (["inspect", "checkpoint", "nowhere"], "no checkpoint folder nowhere here: expected its path, or org/name"),
        (["inspect", "checkpoint", __file__], "is a file: name the folder that it is in"),
        (["inspect", "checkpoint", "~nobody-at-all/x"], "no folder ~nobody-at-all/x"),
        (["inspect", "checkpoint", "x" * 300], "File name too long"),
        (["inspect", "episode", "nowhere"], "no recording at nowhere"),
        (["inspect", "episode", "--mode", "quick"], "valid are plain, full"),
        (["replay", "nowhere"], "no bag at nowhere"),
        (["replay", "--topic", "/wrist"], "no image topic '/wrist' in the bag: valid are /image/compressed"),
        (["inspect", "bag", "nowhere"], "no bag at nowhere"),
        (["inspect", "bag", __file__], "is no bag: "),
        (
            ["inspect", "bag", "bags/pick_red"],
            "bag tells nothing of a policy's run: its topics are /image/compressed",
        ),
        (["inspect", "bag", "bags/pick_red", "--policy", "/p"], "no policy '/p' in the bag: valid are none"),
        (["record", "there"], "give one of --topic, --run and --simulate"),
        (["record", "there", "--run", "--simulate"], "give one of --topic, --run and --simulate"),
        (["record", "bags/pick_red", "--run"], "no bag can be written to bags/pick_red: it exists already"),
        (["record", "there", "--simulate", "--seconds", "nan"], "nan is not in the range"),
        (["record", "/proc/there/bag", "--simulate"], "no bag can be written to /proc/there/bag"),
        (["record", "there", "--simulate", "--task", "pick_pink"], "valid are pick_red, pick_green"),
    ],
)
def test_a_wrong_argument_is_answered_with_the_valid_ones(arguments: list[str], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code != 0
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("row_budget=17", "row_budget 17 is above the visual tokens of this policy: valid are 0 to 16"),
        ("k2=17", "k1 + k2 17 is above the visual tokens of this policy: valid are 0 to 16"),
        ("max_age=-1", "max_age: -1 is out of range; valid are 0 to 1000"),
        ("T=0", "T: 0 is out of range; valid are 1 to 1000"),
        ("k1=-2", "k1: -2 is out of range; valid are 0 to 2048"),
    ],
)
def test_values_that_can_not_be_are_refused_in_one_line(checkpoint: Path, vary: str, said: str) -> None:
    result = call("sweep", "--checkpoint", str(checkpoint), "--vary", f"k1=0,{vary[3:]}" if vary[:2] == "k1" else vary)
    assert result.exit_code == 1
    assert result.output.splitlines() == [f"Error: {said}"]


def test_inspect_tells_what_the_shipped_policy_is() -> None:
    result = call("inspect", "checkpoint", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.output)
    assert (facts["vision_backbone"], facts["visual_tokens"]) == ("vla-entropy-vit", (224 // 14) ** 2)
    assert facts["stored_mb"] <= 16 < 4 * facts["memory_mb"]["float32"]
    assert facts["actions"]["tabletop"]["range"]["x"] == pytest.approx([-0.03, 0.03])
    assert (facts["refused"], facts["looks_at_the_image"]) == ([], None)


def test_inspect_compares_actions_with_the_limits_of_the_command_node(tmp_path: Path) -> None:
    folder = shutil.copytree(default_checkpoint(), tmp_path / "policy")
    action = {"q01": [-0.5] * 7, "q99": [0.5] * 7}
    (folder / "dataset_statistics.json").write_text(json.dumps({"millimetres?": {"action": action}}))
    result = call("inspect", "checkpoint", str(folder))
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert "  x                    -0.5000 to    0.5000 m" in lines
    assert "  yaw                  -0.5000 to    0.5000 rad" in lines
    assert any(line.startswith("  beyond the command node's default limits: x spans 1 m") for line in lines)


def test_inspect_loads_the_weights_if_asked_to(tmp_path: Path) -> None:
    folder = shutil.copytree(default_checkpoint(), tmp_path / "policy")
    assert "a black and a white image give different outputs" in call("inspect", "checkpoint", "--load").output
    tensors = load_file(folder / "model.safetensors")
    tensors["projector.fc2.bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    unread = call("inspect", "checkpoint", str(folder))
    assert (unread.exit_code, "the weights themselves were not read: --load does" in unread.output) == (0, True)
    result = call("inspect", "checkpoint", str(folder), "--load")
    assert result.exit_code == 1
    assert "projector.fc2.bias: 1 of its 128 values are not finite" in result.output


def incomplete(folder: Path) -> str:
    """What is said of an empty folder."""
    return (
        f"Error: config.json is missing in {folder}: expected all files of a checkpoint, as they were downloaded; name "
        "the folder that has them, or download them again (hf download ORG/NAME --local-dir "
        f"{folder})"
    )


def test_inspect_refuses_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    result = call("inspect", "checkpoint", str(tmp_path))
    assert (result.exit_code, result.output) == (1, f"{incomplete(tmp_path)}\n")


def test_evaluate_measures_in_closed_loop_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    modes = ("--mode", "full", "--mode", "default", "--suite", "pick", "--suite", "long", "--output", str(tmp_path))
    figures = {}
    for episodes in (1, 2):
        result = call("evaluate", *modes, "--processes", "1", "--episodes", str(episodes), "--limit", "0.5", "--json")
        figures = json.loads(result.stdout)
        assert figures == json.loads((tmp_path / "evaluate.json").read_text())
        assert set(figures["configurations"]) == {"full", "default"}
        for record in figures["configurations"].values():
            assert set(record["families"]) == {"pick", "long"}
            assert (record["episodes"], record["ticks"]) == (2 * episodes, 10 * episodes)
    full, ours = figures["configurations"]["full"], figures["configurations"]["default"]
    assert full["fresh_share"] == 1.0 > ours["fresh_share"]
    assert ours["against_full"]["all"]["pairs"] == 4
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 8
    assert (tmp_path / "evaluate.png").stat().st_size > 10_000
    other = call("evaluate", *modes, "--episodes", "1", "--limit", "0.6")
    assert "holds a run with other limit: choose another --output" in other.output


def test_evaluate_sets_each_disturbance_beside_full(checkpoint: Path, tmp_path: Path) -> None:
    asked = ("--disturbance", "noise=6", "--disturbance", "moved", "--mode", "full", "--mode", "default", "--json")
    few = ("--suite", "pick", "--episodes", "1", "--limit", "0.9", "--processes", "1", "--output", str(tmp_path))
    result = call("evaluate", "--checkpoint", str(checkpoint), *asked, *few)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert list(figures["disturbances"]) == ["noise=6", "moved=0.1"]
    for made in (figures["configurations"], *figures["disturbances"].values()):
        assert made["default"]["against_full"]["all"]["pairs"] == 1
        assert made["full"]["fresh_p95"] == 1.0
    moved = figures["disturbances"]["moved=0.1"]["full"]["moved"]
    assert (moved["episodes"], moved["p50"], moved["soon"]) == (1, 0, 1.0)
    table = (tmp_path / "evaluate.md").read_text().splitlines()
    assert [row.split("|")[2].strip() for row in table[2:]] == 2 * ["none"] + 2 * ["noise=6"] + 2 * ["moved=0.1"]
    assert (tmp_path / "evaluate.png").stat().st_size > 10_000


def test_evaluate_lets_the_world_go_on_and_films_it(checkpoint: Path, tmp_path: Path) -> None:
    asked = (
        "--live", "--latency", "30", "--latency", "300", "--latency", "30ms", "--period", "0.1", "--period", "0.4",
        "--period", "0.10", "--mode", "full",
    )  # fmt: skip
    few = ("--suite", "pick", "--episodes", "1", "--limit", "0.9", "--processes", "1", "--output", str(tmp_path))
    result = call("evaluate", "--checkpoint", str(checkpoint), *asked, *few, "--video", "--json")
    assert result.exit_code == 0, result.output
    late = {label: made["full"]["late"] for label, made in json.loads(result.stdout)["live"].items()}
    assert list(late) == [
        f"live {latency} ms, 10 Hz, actions of {period} s" for period in ("0.1", "0.4") for latency in (30, 300)
    ]
    assert [one["refused"] for one in late.values()] == [0.0, 1.0, 0.0, 0.0]
    assert late["live 300 ms, 10 Hz, actions of 0.4 s"]["action_age_ms"]["p50"] >= 300.0
    assert (tmp_path / "evaluate.png").stat().st_size > 10_000
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "evaluate.mp4"))
    assert frames >= 9 + 3 + 4 * 8
    assert imageio.imread(tmp_path / "film.png").shape == (3 * 544, 4 * 448, 3)


def test_sweep_runs_every_combination(checkpoint: Path, tmp_path: Path) -> None:
    vary = ("--vary", "max_age=3,7", "--vary", "static.similarity=0.9", "--checkpoint", str(checkpoint))
    few = ("--suite", "pick", "--episodes", "1", "--limit", "0.3", "--processes", "1", "--output", str(tmp_path))
    figures = json.loads(call("sweep", *vary, *few, "--json").stdout)
    names = {"full", "default", "max_age=3 static.similarity=0.9", "max_age=7 static.similarity=0.9"}
    assert set(figures["configurations"]) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k1", "'k1': expected NAME=VALUE[,VALUE...]"),
        ("k9=1", "unknown parameter 'k9': valid are mode, k1"),
        ("k1=9999", "k1: 9999 is out of range; valid are 0 to"),
        ("row_budget=300", "row_budget 300 is above the visual tokens of this policy"),
    ],
)
def test_sweep_names_what_it_can_not_vary(text: str, said: str) -> None:
    result = call("sweep", "--vary", text)
    assert result.exit_code != 0
    assert said in result.output


def test_inspect_draws_every_tick_of_an_episode(tmp_path: Path) -> None:
    facts = json.loads(call("inspect", "episode", "--output", str(tmp_path), "--json").stdout)
    frames, _ = imageio_ffmpeg.count_frames_and_secs(facts["video"])
    assert frames == len(facts["ticks"]) > 10
    assert facts["ticks"][0]["reason"] == "new episode"
    assert facts["ticks"][5]["instruction"] == facts["instructions"][0]
    assert min(facts["ticks"][5][kind] for kind in ("fresh", "reused")) > 0
    picture = imageio.imread(facts["picture"])
    assert picture.shape == (6 * (448 + 60), 4 * 448, 3)
    assert picture.std() > 10


def test_evaluate_prints_a_table(checkpoint: Path, tmp_path: Path) -> None:
    few = ("--suite", "pick", "--episodes", "1", "--limit", "0.2", "--processes", "1", "--output", str(tmp_path))
    result = call("evaluate", "--checkpoint", str(checkpoint), *few)
    assert result.exit_code == 0, result.output
    assert "configuration" in result.stdout
    assert "plain" in result.stdout


def test_evaluate_names_a_broken_checkpoint(tmp_path: Path) -> None:
    result = call("evaluate", "--checkpoint", str(tmp_path), "--episodes", "1")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == incomplete(tmp_path)
