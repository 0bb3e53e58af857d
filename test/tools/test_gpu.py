"""The one command for a machine with a GPU, on one without: what it must not call a success."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tools import gpu

TOOL = Path(gpu.__file__)
COUNTERFEIT = """
import torch
torch.cuda.is_available = lambda: False
torch.cuda.device_count = lambda: 0
"""


@pytest.fixture
def no_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from here have a torch that finds no CUDA, whatever the machine has."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(COUNTERFEIT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


def test_the_benchmark_alone_runs_anywhere(tmp_path: Path) -> None:
    chosen = ["--device", "cpu", "--shape", "tiny", "--ticks", "2", "--output", str(tmp_path), "--no-tests"]
    done = subprocess.run([sys.executable, str(TOOL), *chosen], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "== benchmark: exit status 0 after" in done.stdout
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert (content["about"]["shape"], content["complete"]) == ("tiny", True)


def test_an_output_that_is_a_file_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").write_text("kept")
    with pytest.raises(SystemExit):
        gpu.main(["--output", str(tmp_path / "there")])
    assert "there: a file is there, expected a folder or nothing" in capsys.readouterr().err
    assert (tmp_path / "there").read_text() == "kept"


@pytest.mark.usefixtures("no_cuda")
def test_tests_that_skip_for_want_of_cuda_are_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.run_tests(tmp_path) == 1
    told = json.loads((tmp_path / "tests.json").read_text())
    assert told["status"] == 1
    assert (told["passed"], told["failed"]) == ([], [])
    assert any("needs CUDA" in name for name in told["skipped"])
    assert "skipped, which is a failure here: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inside", "status", "kind"),
    [
        ("", 0, "passed"),
        ('<skipped message="needs CUDA"/>', 1, "skipped"),
        ('<failure message="not equal"/>', 1, "failed"),
        (None, 1, None),
    ],
)
def test_what_the_report_says_decides(
    inside: str | None, status: int, kind: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(title: str, command: list[str], limit: float) -> int:
        if inside is not None:
            case = f'<testcase name="test_one">{inside}</testcase>'
            (tmp_path / "tests.xml").write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>")
        return int(kind == "failed")

    monkeypatch.setattr(gpu, "run_step", report)
    (tmp_path / "tests.xml").write_text("<testsuites/>")  # of a run before: it must not count
    assert gpu.run_tests(tmp_path) == status
    found = json.loads((tmp_path / "tests.json").read_text())
    assert {name for name in ("passed", "skipped", "failed") if found[name]} == ({kind} if kind else set())


def test_a_step_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(mark)!r}).touch()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert gpu.run_step("slow", [sys.executable, "-c", parent], 1.0) == 124
    time.sleep(3.5)
    assert not mark.exists()


def test_training_leaves_the_newest_policy_in_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = tmp_path / "run", tmp_path / "output"
    output.mkdir()
    asked: list[list[str]] = []

    def trained(title: str, command: list[str], limit: float) -> int:
        asked.append(command)
        for number in (0, 2, 10):
            (folder / f"policy-{number}").mkdir(parents=True, exist_ok=True)
            (folder / f"policy-{number}" / "config.json").write_text(str(number))
        (folder / "data-0").mkdir(exist_ok=True)
        return 124

    monkeypatch.setattr(gpu, "RUN", folder)
    monkeypatch.setattr(gpu, "run_step", trained)
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert gpu.main(["--train", "--output", str(output)]) == 124
    assert (output / "checkpoint" / "config.json").read_text() == "10"
    assert sorted(path.name for path in output.iterdir()) == ["checkpoint"]  # not the demonstrations
    assert " ".join(asked[0][3:]) == f"train --device cuda --processes 16 --output {folder}"
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "config.json").write_text("whole")
    gpu.train("cuda", output)
    assert (output / "checkpoint" / "config.json").read_text() == "whole"


def test_everything_runs_though_a_step_failed_and_the_worst_status_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    statuses: dict[str, int] = {"check": 1, "tests": 0, "benchmark": -9}

    def step(title: str, *_: Any) -> int:
        steps.append(title)
        return statuses[title]

    monkeypatch.setattr(gpu, "run_step", step)
    assert gpu.main(["--output", str(tmp_path)]) == 9
    assert steps == ["check", "tests", "benchmark"]
