"""The matrix of Pythons and builds of torch: what is found, what is run, and that it goes on where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import matrix

HERE = matrix.Interpreter("3.11.7", sys.executable)
Write = Callable[[str], matrix.Matrix]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A checkout with the given Makefile, as a matrix; its other targets write their name to tmp_path/ran."""
    root = tmp_path / "checkout"
    root.mkdir()
    monkeypatch.setattr(matrix, "ROOT", root)
    monkeypatch.setattr(matrix, "torch_version", lambda checkout: "2.13.0+cpu")
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    monkeypatch.setenv("ARGS", "--torch cpu")  # as `make matrix ARGS=...` leaves it

    def made(makefile: str) -> matrix.Matrix:
        lines = ["%: ; @echo $@ $(TORCH) $(ARGS) >> $(RAN)", makefile, "Makefile: ;"]
        (root / "Makefile").write_text("\n".join(lines) + "\n")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "a commit"]):
            named = ["-c", "user.name=a", "-c", "user.email=a@invalid"]
            subprocess.run(["git", *named, *words], cwd=root, check=True)
        return matrix.Matrix(tmp_path / "output", matrix.git("rev-parse", "HEAD"), "", keep=False)

    return made


def steps(made: matrix.Matrix, name: str = "3.11 cpu") -> dict[str, str]:
    """Status of every step of a combination, from the file."""
    cells = json.loads(made.file.read_text())["cells"]
    return {step: result["status"] for step, result in cells[name]["steps"].items()}


def reopened(made: matrix.Matrix) -> matrix.Matrix:
    """The same matrix in another process."""
    return matrix.Matrix(made.folder.parent, made.commit, made.tests, made.keep)


def test_every_step_runs_in_a_fresh_clone_and_is_not_run_twice(write: Write, tmp_path: Path) -> None:
    made = write("")
    made.run(HERE, "cpu", again=False)
    reopened(made).run(HERE, "cpu", again=False)
    assert (tmp_path / "ran").read_text().splitlines() == ["setup cpu", "demo cpu", "test cpu"]
    assert steps(made) == dict.fromkeys(("setup", "demo", "test"), "passed")
    assert "| 3.11.7 | 2.13.0+cpu (cpu) | passed, 0 s |" in made.table()
    assert not (made.folder / "3.11-cpu" / "checkout").exists()


def test_a_step_that_was_interrupted_is_run_again_and_those_before_it_are_not(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write("")
    run = matrix.watched

    def interrupted(title: str, *rest: object) -> int | None:
        if "demo" in title:
            raise KeyboardInterrupt
        return run(title, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(matrix, "watched", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.run(HERE, "cpu", again=False)
    monkeypatch.setattr(matrix, "watched", run)
    reopened(made).run(HERE, "cpu", again=False)
    assert (tmp_path / "ran").read_text().splitlines() == ["setup cpu", "demo cpu", "test cpu"]


def test_a_failure_is_told_with_its_log_and_stands_until_it_is_run_again(write: Write, tmp_path: Path) -> None:
    made = write("test: ; @echo 3 failed; exit 1")
    made.run(HERE, "cpu", again=False)
    assert steps(made) == {"setup": "passed", "demo": "passed", "test": "failed"}
    (failure,) = made.failures()
    assert failure == f"3.11 cpu: make test failed: 3 failed ({made.folder}/3.11-cpu/test.log)"
    reopened(made).run(HERE, "cpu", again=False)
    assert len((tmp_path / "ran").read_text().splitlines()) == 2
    reopened(made).run(HERE, "cpu", again=True)
    assert len((tmp_path / "ran").read_text().splitlines()) == 4


def test_a_build_that_no_index_has_is_no_failure(write: Write) -> None:
    made = write('setup: ; @echo "set-up: Installing torch (CPU build) failed: no connection" >&2; exit 1')
    made.run(HERE, "cpu", again=False)
    assert steps(made) == {"setup": "not to be had here"}
    assert made.failures() == []


def test_a_step_that_hangs_is_ended_with_what_it_started(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write("demo: ; @sleep 300 & sleep 300")
    monkeypatch.setitem(matrix.LIMITS, "demo", 0.5)
    made.run(HERE, "cpu", again=False)
    assert steps(made) == {"setup": "passed", "demo": "failed", "test": "passed"}
    assert made.cells["3.11 cpu"]["steps"]["demo"]["said"].startswith("more than 0 s")


def test_pythons_are_found_by_name_and_among_pyenvs_and_a_shim_without_one_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def python(path: Path, said: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{said}\n")
        path.chmod(0o755)

    python(tmp_path / "bin" / "python3.10", "echo 3.10.2 /there/python3")
    python(tmp_path / "bin" / "python3.12", "echo 'pyenv: command not found' >&2; exit 127")
    python(tmp_path / "pyenv/versions/3.12.9/bin/python3", "echo 3.12.9 /older")
    python(tmp_path / "pyenv/versions/3.12.11/bin/python3", "echo 3.12.11 /newer")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    found, missing = matrix.find_pythons()
    assert found == [matrix.Interpreter("3.10.2", "/there/python3"), matrix.Interpreter("3.12.11", "/newer")]
    assert missing == ["3.11", "3.13"]
