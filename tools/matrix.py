"""Set-up, demo and all tests on every supported Python, with torch's CPU build and its CUDA build.

Each combination runs in a fresh clone of this checkout's last commit, with `make setup`, `make demo` and `make test`.
matrix.json in the output folder has what came of each step, the logs lie beside it. A step that has ended stands: the
same command goes on where it was interrupted. Needs nothing but Python, git and make; a combination takes 6 GB while
it runs and half an hour or more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bootstrap import BUILDS, CUDA_SIZE, PYTHONS

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"setup": 3600.0, "demo": 900.0, "test": 7200.0}  # seconds each step may take
HEARTBEAT = 60.0  # seconds between lines about a step that goes on
GRACE = 20.0  # seconds in which a step that is stopped may end in order
ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.executable)"
FROM_OUTSIDE = ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "PYTHON", "PYTHONPATH", "TORCH", "VIRTUAL_ENV")
UNAVAILABLE = "set-up: Installing torch ("  # how the set-up begins its line where no index has the build
PASSED, FAILED, NOT_HAD = "passed", "failed", "not to be had here"


@dataclass(frozen=True)
class Interpreter:
    """A Python: its version, as '3.12.1', and where it lies."""

    version: str
    path: str

    @property
    def minor(self) -> str:
        """As '3.12'."""
        return self.version.rpartition(".")[0]


def ask(command: str) -> Interpreter | None:
    """The interpreter behind a name or a path; None where there is none, or only a shim without one."""
    try:
        said = subprocess.run([command, "-c", ASK], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, path = said.strip().partition(" ")
    return Interpreter(version, path)


def candidates(minor: str) -> Iterator[str]:
    """Where a Python of this minor version may be: on PATH by its name, or among pyenv's, newest first."""
    yield f"python{minor}"
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [path for path in versions.glob(f"{minor}.*") if path.name.rpartition(".")[2].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name.rpartition(".")[2]), reverse=True):
        yield str(path / "bin" / "python3")


def find_pythons() -> tuple[list[Interpreter], list[str]]:
    """Return one interpreter of each supported minor version, and the versions that were not found."""
    (major, low), (_, high) = PYTHONS
    found, missing = [], []
    for minor in (f"{major}.{number}" for number in range(low, high + 1)):
        asked = (ask(candidate) for candidate in candidates(minor))
        interpreter = next((one for one in asked if one is not None and one.minor == minor), None)
        if interpreter is None:
            missing.append(minor)
        else:
            found.append(interpreter)
    return found, missing


class Matrix:
    """The combinations of one commit, and what came of them; `folder` takes the results, logs and clones."""

    def __init__(self, folder: Path, commit: str, tests: str, keep: bool) -> None:
        self.folder = folder / (commit[:12] + ("-part" if tests else ""))
        self.commit = commit
        self.tests = tests
        self.keep = keep
        self.file = self.folder / "matrix.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.cells: dict[str, dict[str, Any]] = before["cells"] if before.get("tests") == tests else {}

    def run(self, python: Interpreter, build: str, again: bool) -> None:
        """Run what has not been run of one combination; with `again` also what failed."""
        name = f"{python.minor} {build}"
        cell = self.cells.setdefault(name, {"python": python.version, "torch": build, "steps": {}})
        steps = cell["steps"]
        if again and any(step["status"] != PASSED for step in steps.values()):
            steps.clear()
        if not left(steps):
            return
        place = self.folder / name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        checkout = place / "checkout"
        if "setup" not in steps or not checkout.exists():
            steps.clear()  # their environment is gone
            clone(self.commit, checkout)
        while todo := left(steps):
            step = todo[0]
            steps[step] = self._step(name, step, python, build, place)
            if step == "setup" and steps[step]["status"] == PASSED:
                cell["torch"] = torch_version(checkout)
            self._save()
        if not self.keep:
            shutil.rmtree(checkout, ignore_errors=True)

    def _step(self, name: str, step: str, python: Interpreter, build: str, place: Path) -> dict[str, Any]:
        """Run one step; returns its status, seconds and what it said last."""
        command = ["make", step, f"PYTHON={python.path}", f"TORCH={build}"]
        if step == "test" and self.tests:
            command.append(f"ARGS={self.tests}")
        log = place / f"{step}.log"
        began = time.monotonic()
        code = watched(f"{name}: make {step}", command, place / "checkout", log, LIMITS[step])
        seconds = round(time.monotonic() - began)
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        said = [line for line in lines if not line.startswith("make")]
        status = PASSED if code == 0 else FAILED
        if step == "setup" and code != 0 and any(line.startswith(UNAVAILABLE) for line in said):
            status = NOT_HAD
        reason = f"more than {LIMITS[step]:.0f} s" if code is None else (said or ["nothing"])[-1]
        print(f"{name}: make {step} {status} after {seconds} s: {reason}", flush=True)
        return {"status": status, "seconds": seconds, "said": reason, "log": str(log.relative_to(self.folder))}

    def _save(self) -> None:
        """Write the results; whole, whatever happens meanwhile."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"commit": self.commit, "tests": self.tests, "cells": self.cells}, indent=1) + "\n")
        new.replace(self.file)

    def table(self) -> str:
        """What came of every step, as a Markdown table."""
        lines = ["| Python | torch | " + " | ".join(LIMITS) + " |", "|---" * (2 + len(LIMITS)) + "|"]
        for name, cell in sorted(self.cells.items(), key=lambda item: (int(item[0].split()[0][2:]), item[0])):
            steps = [cell["steps"].get(step) for step in LIMITS]
            shown = ["" if step is None else f"{step['status']}, {step['seconds']} s" for step in steps]
            build = cell["torch"] if cell["torch"] == name.split()[1] else f"{cell['torch']} ({name.split()[1]})"
            lines.append(f"| {cell['python']} | {build} | " + " | ".join(shown) + " |")
        return "\n".join(lines)

    def failures(self) -> list[str]:
        """A line for each step that failed."""
        return [
            f"{name}: make {step} failed: {result['said']} ({self.folder / result['log']})"
            for name, cell in self.cells.items()
            for step, result in cell["steps"].items()
            if result["status"] == FAILED
        ]


def left(steps: dict[str, dict[str, Any]]) -> list[str]:
    """Steps that are still to be run; none after a set-up that did not pass."""
    if steps.get("setup", {"status": PASSED})["status"] != PASSED:
        return []
    return [step for step in LIMITS if step not in steps]


def clone(commit: str, place: Path) -> None:
    """A fresh clone of this checkout at `commit`."""
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(place)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=place, check=True)


def torch_version(checkout: Path) -> str:
    """The version of torch in a clone's environment, its build with it."""
    code = "import torch; print(torch.__version__)"
    return subprocess.run(
        [".venv/bin/python", "-c", code], cwd=checkout, capture_output=True, text=True, check=False
    ).stdout.strip()


def watched(title: str, command: list[str], place: Path, log: Path, limit: float) -> int | None:
    """Run `command` in `place` with its output in `log`; returns its exit status, None where it took too long."""
    environment = {name: value for name, value in os.environ.items() if name not in FROM_OUTSIDE}
    began = spoken = time.monotonic()
    print(f"{title} ...", flush=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=place, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while process.poll() is None and time.monotonic() - began < limit:
                time.sleep(0.2)
                if time.monotonic() - spoken > HEARTBEAT:
                    spoken = time.monotonic()
                    print(f"{title} ... {spoken - began:.0f} s", flush=True)
            return process.returncode
        finally:
            if process.poll() is None:
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and the group: in order within GRACE, else at once."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def git(*words: str) -> str:
    """What git says about this checkout."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="make matrix ARGS=...", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", action="append", help="name or path; may be repeated (default: all that are found)")
    parser.add_argument(
        "--torch", action="append", choices=["auto", *BUILDS], help="build; may be repeated (default: cpu and cuda)"
    )
    parser.add_argument("--tests", default="", help="arguments of pytest, instead of all tests")
    parser.add_argument("--again", action="store_true", help="run combinations anew in which a step failed")
    parser.add_argument("--keep", action="store_true", help="keep the clones with their environments")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "output" / "matrix", help="folder (default: output/matrix)"
    )
    return parser.parse_args()


def chosen_pythons(names: list[str] | None) -> list[Interpreter]:
    """The interpreters to run on; says which are missing."""
    if not names:
        found, missing = find_pythons()
        for minor in missing:
            print(f"no Python {minor} found on PATH or among pyenv's: give its path with --python", flush=True)
        return found
    asked = {name: ask(name) for name in names}
    for name, python in asked.items():
        if python is None:
            print(f"--python {name} is no Python that runs", file=sys.stderr, flush=True)
    return [python for python in asked.values() if python is not None]


def main() -> int:
    """Run the matrix; returns 1 where a step failed, 2 where nothing could be run, 130 after an interruption."""
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pythons = chosen_pythons(chosen.python)
    if not pythons or (chosen.python and len(pythons) < len(chosen.python)):
        return 2
    if git("status", "--porcelain", "--untracked-files=no"):
        print("what is not committed is left out", flush=True)
    matrix = Matrix(chosen.output.resolve(), git("rev-parse", "HEAD"), chosen.tests, chosen.keep)
    status = 0
    try:
        for build in chosen.torch or BUILDS:
            for python in pythons:
                if (free := shutil.disk_usage(matrix.folder).free / 1e9) < CUDA_SIZE + 1:
                    print(f"{free:.1f} GB are free, {CUDA_SIZE + 1:.1f} needed: make room, then go on", file=sys.stderr)
                    return 2
                matrix.run(python, build, chosen.again)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", flush=True)
        status = 130
    print(matrix.table(), *matrix.failures(), f"figures: {matrix.file}", sep="\n", flush=True)
    return status or int(bool(matrix.failures()))


if __name__ == "__main__":
    sys.exit(main())
