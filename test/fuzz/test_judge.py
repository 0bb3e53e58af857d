"""Who judges spoiled files finds what is planted: tracebacks, hangs, memory, refusals that nobody can read."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tools.fuzz import __main__ as command
from tools.fuzz import trial
from tools.fuzz.kinds import KINDS, Kind
from tools.fuzz.trial import Bench, Outcome
from vla_entropy_ros.engine import CheckpointError
from vla_entropy_ros.settings import default_settings

GOOD = "config.json: hidden_size 'x': expected a number above 0"


def planted(look: Callable[[Path], Any], tmp_path: Path, patience: float = 20.0) -> Outcome:
    """What comes of a trial of one file when that stands in for the product."""

    def sound(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "file").write_text("sound")
        return folder

    def spoil(folder: Path, random: Random) -> str:
        (folder / "file").write_text("spoiled")
        return "spoiled"

    def unless_sound(folder: Path) -> Any:
        return "sound" if (folder / "file").read_text() == "sound" else look(folder)

    kind = Kind({"one": sound}, spoil, unless_sound, ("CheckpointError",), lambda *_: iter(()))
    return Bench("planted", kind, tmp_path).trial(3, patience)


def refuse(text: str, before: Callable[[], object] = lambda: None) -> Callable[[Path], Any]:
    def look(folder: Path) -> Any:
        before()
        error = CheckpointError(text)
        error.args = (text,)  # as it came: the engine's own lines are printable
        raise error

    return look


class Same(str):
    """What was seen; the same as an equal one."""

    def same(self, other: str) -> bool:
        return self == other


def test_a_refusal_in_one_line_is_one(tmp_path: Path) -> None:
    outcome = planted(refuse(GOOD), tmp_path)
    assert (outcome.verdict, outcome.said, outcome.cause) == ("refused", GOOD, "")


@pytest.mark.parametrize(("seen", "verdict"), [("sound", "equal"), ("other", "different")])
def test_what_is_taken_is_equal_or_different(tmp_path: Path, seen: str, verdict: str) -> None:
    assert planted(lambda folder: Same(seen), tmp_path).verdict == verdict


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (f"{GOOD}\nand more", "several lines"),
        (f"{GOOD}\x00", "control characters"),
        (GOOD * 100, "longer than"),
        ("5", "says nothing"),
        ("", "says nothing"),
    ],
)
def test_a_refusal_nobody_can_read_is_found(tmp_path: Path, text: str, cause: str) -> None:
    outcome = planted(refuse(text), tmp_path)
    assert outcome.verdict == "finding"
    assert cause in outcome.cause


def test_a_traceback_is_found_with_its_place_in_the_package(tmp_path: Path) -> None:
    def look(folder: Path) -> Any:
        return default_settings("policy", folder / "file")

    outcome = planted(look, tmp_path)
    assert outcome.verdict == "finding"
    assert outcome.cause == "traceback: AttributeError in settings.py, all_default_settings"


def test_a_panic_of_a_library_which_is_no_exception_is_found(tmp_path: Path) -> None:
    class PanicException(BaseException):
        pass

    def look(folder: Path) -> Any:
        raise PanicException("retry-limit-in-match over")

    assert planted(look, tmp_path).cause == "traceback: PanicException outside"


def test_a_hang_is_ended_and_found(tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = planted(lambda folder: time.sleep(60), tmp_path, patience=0.5)
    assert outcome.cause == "hangs: nothing after 0.5 s"
    assert time.monotonic() - began < 20


def test_the_death_of_the_process_is_found(tmp_path: Path) -> None:
    def die(folder: Path) -> None:
        faulthandler.disable()  # pytest's, which would tell of it
        os.abort()

    assert planted(die, tmp_path / "a").cause == "the process died: abort"
    assert planted(lambda folder: os._exit(3), tmp_path / "b").cause == "the process died: exit 3"


def test_a_refusal_that_eats_memory_or_time_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        planted(refuse(GOOD, lambda: np.ones(240 * 2**17)), tmp_path / "a").cause
        == "the refusal takes more than 200 MB"
    )
    assert planted(refuse(GOOD, lambda: np.ones(100 * 2**17)), tmp_path / "b").verdict == "refused"
    monkeypatch.setattr(trial, "SLOW", 0.1)
    busy = refuse(GOOD, lambda: [None for _ in iter(lambda: time.process_time() % 0.5 < 0.4, False)])
    assert planted(busy, tmp_path / "c").cause == "the refusal takes more than 0.1 s"


def test_memory_without_end_is_found_before_the_machine_has_none(tmp_path: Path) -> None:
    outcome = planted(lambda folder: np.ones(2**40), tmp_path)
    assert outcome.verdict == "finding"
    assert "MemoryError" in outcome.cause


@pytest.mark.parametrize("name", KINDS)
def test_files_are_spoiled_as_their_seed_has_it(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    subject, write = next(iter(kind.subjects.items()))
    sound = write(tmp_path / subject)
    done = []
    for turn in ("one", "two"):
        for seed in range(12):
            copy = Path(shutil.copytree(sound, tmp_path / turn / str(seed)))
            done.append(kind.spoil(copy, Random(f"{name} {seed}")).replace(str(copy.parent), ""))
    assert done[:12] == done[12:]
    assert len(set(done)) > 8


def test_findings_are_written_with_the_command_that_shows_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sound(folder: Path) -> Path:
        folder.mkdir(parents=True)
        return folder

    def off(folder: Path, seen: Any, reference: Any, said: str) -> Iterator[str]:
        return iter(["off"] if said else [])

    wrong = Kind({"one": sound}, lambda folder, random: "nothing", lambda folder: Same(), (), off)
    right = replace(wrong, judge=lambda *_: iter(()))
    monkeypatch.setattr(command, "environment", lambda domain: {})
    monkeypatch.setattr(command, "KINDS", {"wrong": wrong, "right": right})
    output = tmp_path / "out" / "fuzz.jsonl"
    for name, status in (("right", 0), ("wrong", 1)):
        words = ["fuzz", "--kind", name, "--seed", "7", "--count", "2", "--output", str(output)]
        monkeypatch.setattr(sys, "argv", words)
        assert command.main() == status
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["again"] for line in lines] == [
        f"python -m tools.fuzz --kind wrong --seed {n} --count 1" for n in (7, 8)
    ]
    said = capsys.readouterr().out
    assert "right: 2 files, 0 refused, 2 equal, 0 different, 0 finding" in said
    assert "  2 x off\n" in said
