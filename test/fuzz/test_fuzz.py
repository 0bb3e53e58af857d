"""A few spoiled files of each kind are refused, or taken for what others take them for; `make fuzz` spoils more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.fuzz.kinds import KINDS

ROOT = Path(__file__).parents[2]
COUNT = 20


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """In a process of its own, which has one thread and can be forked."""
    words = [sys.executable, "-m", "tools.fuzz", "--count", str(COUNT), "--json"]
    output = tmp_path_factory.mktemp("fuzz") / "fuzz.jsonl"
    done = subprocess.run([*words, "--output", str(output)], cwd=ROOT, capture_output=True, text=True, check=False)
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("kind", KINDS)
def test_spoiled_files_are_refused_or_taken_as_others_take_them(outcomes: list[dict[str, Any]], kind: str) -> None:
    mine = [outcome for outcome in outcomes if outcome["kind"] == kind]
    assert [one["seed"] for one in mine if one["seed"] is not None] == list(range(COUNT))
    assert [f"{one['again']}: {one['cause']}" for one in mine if one["verdict"] == "finding"] == []
    assert any(one["verdict"] == "refused" for one in mine)
