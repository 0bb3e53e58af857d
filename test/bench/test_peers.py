"""A CPU's tick beside peers: in turn, on the same images; what cannot be had is a line. None here depends on speed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from rich.console import Console

from vla_entropy_ros.bench.configurations import BASELINE
from vla_entropy_ros.bench.generate import Generate
from vla_entropy_ros.bench.peers import kinds, ours, picture, replay, report
from vla_entropy_ros.bench.peers.stepwise import flushed
from vla_entropy_ros.bench.recording import Recording, save
from vla_entropy_ros.bench.ticks import Sample
from vla_entropy_ros.cli import main
from vla_entropy_ros.engine import ActionError, DeviceError, Observation, Policy, Timings
from vla_entropy_ros.engine.model.compiled.library import find_all

ONNX, OPENVINO, COMPILE = "ONNX Runtime float32", "OpenVINO float32", "torch.compile of transformers"


@pytest.fixture
def sample(tiny: Policy, recordings: list[Recording]) -> Sample:
    """A tick to change parts of."""
    return Generate(tiny).sample(next(recordings[0].observations()), 0)


def row(name: str, milliseconds: list[float], sample: Sample, **values: Any) -> replay.Row:
    """A row whose ticks took so long."""
    made = replay.Row(name, lambda: None, lambda *_: sample, **values)
    made.samples = [
        replace(sample, timings=Timings(0.001, 0.002, 0.0, 0.003, 0.004, total * 1e-3)) for total in milliseconds
    ]
    return made


@pytest.fixture
def content(sample: Sample) -> dict[str, Any]:
    """Figures of four rows, made up; the last but one says something else in half of its ticks."""
    rows = [
        row(BASELINE, [40.0, 40.0], sample, backend="torch"),
        row("default", [20.0, 20.0], sample),
        row("slow peer", [30.0, 30.0], sample, seconds=1.5),
        row("fast peer", [25.0, 25.0], sample, seconds=60.0),
    ]
    rows[1].samples[1] = replace(rows[1].samples[1], fresh=1)
    rows[2].samples[1] = replace(rows[2].samples[1], tokens=tuple(token - 1 for token in sample.tokens))
    made = report.figures(rows, [kinds.Missing("absent peer", "it is not installed")])
    return {**made, "images": 2, "threads": 1, "processor": "a processor", "packages": {"torch": "1.2.3"}}


def test_numbers_next_to_zero_are_zero_for_peers_alone() -> None:
    small = torch.tensor(1e-39)
    with flushed():
        assert float(small * 0.5) == 0.0
    assert float(small * 0.5) > 0.0


def test_every_image_goes_through_all_rows_before_the_next_one_does(
    sample: Sample, recordings: list[Recording]
) -> None:
    seen: list[tuple[str, Any]] = []

    def logged(name: str) -> replay.Row:
        def tick(observation: Observation, number: int) -> Sample:
            seen.append((name, number))
            return replace(sample, tick=number)

        return replay.Row(name, lambda: seen.append((name, "begin")), tick)

    turns: list[None] = []
    rows = [logged(name) for name in "abc"]
    parts = [recordings[0].part(range(2)), recordings[1].part(range(3))]
    replay.replay(rows, parts, lambda: turns.append(None))
    begun = [(name, "begin") for name in "abc"]
    first = [(name, 0) for name in "abc"] + [(name, 1) for name in "bca"]
    second = [(name, 0) for name in "cab"] + [(name, 1) for name in "abc"] + [(name, 2) for name in "bca"]
    assert seen == begun + first + begun + second
    assert len(turns) == 5
    assert [[sample.tick for sample in row.samples] for row in rows] == 3 * [[0, 1, 0, 1, 2]]


def test_a_tick_without_an_action_is_left_out_of_all_rows(sample: Sample, recordings: list[Recording]) -> None:
    def faulty(_: Observation, number: int) -> Sample:
        if number == 1:
            raise ActionError("no action")
        return replace(sample, tick=number)

    rows = [replay.Row("good", lambda: None, lambda _, number: replace(sample, tick=number))]
    rows.append(replay.Row("bad", lambda: None, faulty))
    replay.replay(rows, [recordings[0].part(range(3))])
    assert [[sample.tick for sample in row.samples] for row in rows] == 2 * [[0, 2]]
    assert [row.faults for row in rows] == [0, 1]
    with pytest.raises(ActionError, match="in every row"):
        replay.replay(rows, [])


def test_factors_are_against_our_plain_path_and_the_fastest_peer(content: dict[str, Any]) -> None:
    base, default, slow, _ = content["rows"]
    assert [record["over_full"] for record in content["rows"]] == [1.0, 2.0, 1.333, 1.6]
    assert [record["over_fastest_peer"] for record in content["rows"]] == [0.625, 1.25, 0.833, 1.0]
    assert content["fastest_peer"] == "fast peer"
    assert content["headline"] == (
        "default: 20.0 ms a tick, 2.00 times as fast as ours with full, plain decoding (40.0 ms), 1.25 times as fast "
        "as the fastest peer of those here (1 left out), which recomputes everything (fast peer, 25.0 ms, 100.0% equal "
        "ticks)"
    )
    assert [record["equal_share"] for record in content["rows"]] == [1.0, 1.0, 0.5, 1.0]
    assert default["stage_ms"] == {"see": 3.0, "select": 0.0, "prefill": 3.0, "decode": 4.0}
    assert (default["jitter"]["reusing"], base["jitter"]["reusing"]) == (1.0, None)
    assert [record["prepare_s"] for record in content["rows"]] == [None, None, 1.5, 60.0]
    assert (slow["peer"], base["peer"], base["backend"], default["backend"]) == (True, False, "torch", None)


def test_without_a_peer_the_headline_says_so(sample: Sample) -> None:
    made = report.figures([row(BASELINE, [40.0], sample), row("default", [20.0], sample)], [])
    assert made["headline"].endswith("(40.0 ms); no peer could be had")
    assert [record["over_fastest_peer"] for record in made["rows"]] == [None, None]


def test_figures_are_written_as_json_table_and_picture(content: dict[str, Any], tmp_path: Path) -> None:
    assert json.loads(json.dumps(content)) == content
    lines = report.markdown(content).splitlines()
    assert lines[0] == content["headline"]
    assert {line.count("|") for line in lines if line.startswith("|")} == {len(report.COLUMNS) + 1}
    assert (
        "| fast peer | 25.0 | 25.0 | 1.00 | - | 3.0 + 0.0 + 3.0 + 4.0 | 7.00 | 100.0% | 1.60 | 1.00 | 60.0 |" in lines
    )
    assert "2 images, a processor, threads: 1; torch 1.2.3" in lines
    assert lines[-1] == "* left out: absent peer: it is not installed"
    shown = report.table(content)
    assert [column.header for column in shown.columns][-1] == "ready after \\[s]"  # escaped: no style of rich's
    narrow = Console(width=80, file=StringIO(), record=True)
    narrow.print(report.table(content, narrow.width))
    assert "│ fast peer" in (text := narrow.export_text())
    assert all(name in text for name in report.SHORT)
    picture.plot(content, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_what_figures_were_made_with_is_told() -> None:
    made = report.made_with()
    assert made["processor"]
    assert made["packages"]["torch"] == torch.__version__


def test_rows_of_ours_are_policies_of_their_own(checkpoint: Path) -> None:
    made, missing = ours.ours(checkpoint, 1)
    names = [name for name, _, backend in ours.ROWS if backend != "compiled" or find_all()]
    assert [one.name for one in made] == names
    assert names[0] == BASELINE
    assert "default" in names
    assert len(missing) == len(ours.ROWS) - len(names)
    assert len({id(one.policy) for one in made}) == len(names)
    assert (made[0].policy.tunables.mode, made[0].policy.tunables.drafts) == ("full", "off")


def test_a_backend_that_cannot_be_had_is_a_line(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Policy.load

    def chosen(folder: Path, *, backend: str | None = None) -> Policy:
        if backend != "torch":
            raise DeviceError("no such backend")
        return load(folder)

    monkeypatch.setattr(Policy, "load", chosen)
    made, missing = ours.ours(checkpoint, 1)
    there = [name for name, _, backend in ours.ROWS if backend == "torch"]
    assert [(one.name, one.backend) for one in made] == [(name, "torch") for name in there]
    assert missing == [kinds.Missing(name, "no such backend") for name, _, _ in ours.ROWS if name not in there]


def command(recordings: list[Recording], folder: Path, *options: str) -> Result:
    """The command over the recordings."""
    files = []
    for number, recording in enumerate(recordings):
        save(recording, folder / f"episode-{number}.npz")
        files += ["--episode", str(folder / f"episode-{number}.npz")]
    return CliRunner().invoke(main, ["bench", "--peers", *files, "--output", str(folder / "out"), *options])


def test_peers_that_are_there_are_compared_and_others_are_named(
    checkpoint: Path, recordings: list[Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    for module in ("onnx", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, module, None)
    done = command(recordings, tmp_path, "--checkpoint", str(checkpoint), "--json", "--quick")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made == json.loads((tmp_path / "out" / "peers.json").read_text())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"peers.json", "peers.md", "peers.png"}
    names = [name for name, _, backend in ours.ROWS if backend != "compiled" or find_all()]
    rows = {record["name"]: record for record in made["rows"]}
    assert [record["name"] for record in made["rows"] if not record["peer"]] == names
    assert [record["name"] for record in made["rows"] if record["peer"]] == ["transformers generate"]
    base, default, peer = rows[BASELINE], rows["default"], rows["transformers generate"]
    assert (base["equal_share"], peer["equal_share"]) == (1.0, 1.0)
    assert (base["passes"], peer["passes"], peer["fresh_share"]) == (7.0, 7.0, 1.0)
    assert default["fresh_share"] < 1.0
    absent = [name for name, _, _ in ours.ROWS if name not in names]
    assert [one["name"] for one in made["missing"]] == [*absent, COMPILE, ONNX, OPENVINO, "OpenVINO bfloat16"]
    assert "of those here (4 left out)" in made["headline"]
    assert (made["threads"], made["seed"], made["images"]) == (1, None, sum(map(len, recordings)))
    told = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert len(told) == 4 + len(absent)
    assert "Traceback" not in done.output


def test_a_policy_that_no_peer_can_run_is_refused(
    toy: Path, toy_family: None, recordings: list[Recording], tmp_path: Path
) -> None:
    done = command(recordings[:1], tmp_path, "--checkpoint", str(toy))
    assert done.exit_code == 2
    assert done.output.splitlines()[-1].startswith("Error: --peers needs a causal decoder of tokens")


@pytest.mark.parametrize("other", [("--tune",), ("--knobs",), ("--device", "cpu")])
def test_peers_are_a_measurement_of_their_own(other: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["bench", "--peers", *other])
    assert done.exit_code == 2
    assert "without --tune and without --device" in done.output


def test_what_peers_need_is_imported_for_them_alone() -> None:
    modules = ("cli.bench", "cli.bench_peers", "bench.peers.kinds", "bench.peers.replay", "bench.peers.report")
    code = "import sys\n" + "".join(f"import vla_entropy_ros.{name}\n" for name in modules)
    code += "assert not {'onnx', 'onnxruntime', 'openvino', 'transformers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_libraries_are_told_to_use_one_thread_before_they_are_loaded() -> None:
    code = (
        "import os, sys\nimport vla_entropy_ros.cli.bench\nfrom vla_entropy_ros.cli.bench_peers import one_thread\n"
        "assert not {'numpy', 'torch'} & set(sys.modules)\none_thread()\n"
        "assert os.environ['OPENBLAS_NUM_THREADS'] == os.environ['MKL_NUM_THREADS'] == '1'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
