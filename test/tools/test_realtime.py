"""The table of what real-time habits bring: every habit, quiet and busy, and nothing stays behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tools import realtime
from vla_entropy_ros.nodes.common.realtime import RefusedError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="affinity and SCHED_FIFO are Linux's")


class Replay:
    """A policy that always takes as long."""

    def block(self, ticks: int) -> list[float]:
        return [0.02] * ticks


def test_every_habit_is_measured_and_one_that_is_refused_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: object) -> str:
        raise RefusedError("not here")

    before, file = os.sched_getaffinity(0), tmp_path / "found.json"
    monkeypatch.setattr(realtime, "Replay", Replay)
    monkeypatch.setattr(realtime.realtime, "prioritise", refuse)
    monkeypatch.setattr(realtime.realtime, "lock_memory", lambda: "")
    monkeypatch.setattr("sys.argv", ["realtime", "--ticks", "100", "--output", str(file)])
    realtime.main()
    said = capsys.readouterr().out
    assert said.count("priority is left out: not here") == 4  # with cores and without, quiet and busy
    cells = json.loads(file.read_text())["cells"]
    assert [cell["habits"] for cell in cells] == ["nothing", "cores", "lock_memory"] * 2
    assert {cell["ticks"] for cell in cells} == {100}
    assert "| quiet | cores | 100 | 20.0 | 20.0 | 20.0 | 20.0 | 20.0 |" in said
    assert os.sched_getaffinity(0) == before
