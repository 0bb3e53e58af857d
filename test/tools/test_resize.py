"""The table of what resizing costs: both ways on the same images."""

from __future__ import annotations

import pytest

from tools import resize


def test_the_table_has_both_costs_and_how_far_the_two_are_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resize, "SIZES", ((64, 64), (800, 600)))
    monkeypatch.setattr("sys.argv", ["resize", "--repeats", "2", "--size", "56"])
    resize.main()
    small, large = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:])
    assert (small[0], small[4], small[5]) == ("64 x 64", "0", "0.00%")
    assert large[0] == "800 x 600"
    assert int(large[4]) <= 1
    assert min(float(cell) for cell in large[1:4]) > 0
