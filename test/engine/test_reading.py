"""Folders are read by transformers in a process of its own: the same as here; what happens to it is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vla_entropy_ros.engine import CheckpointError
from vla_entropy_ros.engine.model import reading

from .folders import change_json, change_text

ALONE = """
import sys
from vla_entropy_ros.engine import Policy
Policy.load(sys.argv[1]).self_test()
print(sorted(name for name in ("transformers", "torch.distributed.tensor") if name in sys.modules))
"""


REFUSED = """
import resource, sys
from vla_entropy_ros.engine import CheckpointError, Policy
try:
    Policy.load(sys.argv[1])
except CheckpointError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported transformers; nothing is remembered."""
    monkeypatch.delitem(sys.modules, "transformers")
    reading._begun.cache_clear()


def test_what_is_read_apart_is_what_is_read_here(apart: None, broken_folder: Path) -> None:
    change_text(broken_folder, rope_parameters={"rope_theta": 3.0}, eos_token_id=[2, 3])
    read = reading.read(broken_folder)
    assert read == reading.here(broken_folder)
    assert (read.text["rope_parameters"]["rope_theta"], read.text["eos_token_id"]) == (3.0, [2, 3])
    change_text(broken_folder, hidden_size="wide")
    assert "hidden_size" in reading.read(broken_folder).text_refused  # a changed file is read again
    assert reading.read(broken_folder) == reading.here(broken_folder)


def test_a_process_with_a_policy_has_not_imported_transformers(small_folder: Path) -> None:
    command = [sys.executable, "-c", ALONE, str(small_folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_nothing_is_imported_from_the_folder_it_is_called_in(
    apart: None, broken_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("transformers", "json", "tokenizers", "yaml"):
        (broken_folder / f"{name}.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(broken_folder)
    assert reading.read(broken_folder).tokenizer


def doubling(folder: Path) -> None:
    """Let each of 40 steps of the normalizer double the text: no memory holds that."""
    steps = [{"type": "Replace", "pattern": {"String": "e"}, "content": "ee"}] * 40
    change_json(
        folder / "tokenizer.json", lambda told: told.update(normalizer={"type": "Sequence", "normalizers": steps})
    )


def test_a_tokenizer_that_takes_all_time_or_memory_is_refused_within_bounds(broken_folder: Path) -> None:
    doubling(broken_folder)
    command = [sys.executable, "-c", REFUSED, str(broken_folder)]
    line, most = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "tokenizer" in line
    assert int(most) < 1_000_000  # kilobytes, the libraries included


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("import time; time.sleep(60)", "was not read within 1 s: is it damaged?"),
        ("import os; os.abort()", "cannot be read: status -6"),
        ("raise MemoryError('too much')", "cannot be read: "),
        ("print('hello')", "cannot be read: "),
    ],
)
def test_whatever_happens_to_that_process_is_one_line(
    apart: None, broken_folder: Path, monkeypatch: pytest.MonkeyPatch, start: str, said: str
) -> None:
    monkeypatch.setattr(reading, "START", start)
    monkeypatch.setattr(reading, "PATIENCE", 1.0)
    with pytest.raises(CheckpointError) as caught:
        reading.read(broken_folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
