"""How long an answer takes is what was asked for: a constant, values measured, stages, a device."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vla_entropy_ros.evaluation.latency import DEVICES, Latency, Work, latencies
from vla_entropy_ros.evaluation.timing import Timing
from vla_entropy_ros.settings import SettingError

EPISODE = 8.0  # seconds
PLAIN, FULL, OURS = Work(0.033, 1.0, 7, True), Work(0.025, 1.0, 1, False), Work(0.018, 80 / 256, 2, False)


def one(text: str) -> Latency:
    (made,) = latencies([text], EPISODE)
    return made


def milliseconds(latency: Latency, work: Work = OURS) -> float:
    return 1e3 * latency.seconds(work, np.random.default_rng(0))


def test_its_own_is_what_was_measured() -> None:
    assert milliseconds(one("own")) == pytest.approx(18.0)


@pytest.mark.parametrize("text", ["250", "250ms", "2.5e2"])
def test_a_constant_is_the_same_whatever_was_done(text: str) -> None:
    assert {milliseconds(one(text), work) for work in (PLAIN, FULL, OURS)} == {250.0}
    assert one(text).label == "250 ms"


def test_stages_follow_rows_and_passes() -> None:
    stages = one("67+175")
    assert milliseconds(stages, PLAIN) == pytest.approx(67 + 175)
    assert milliseconds(stages, FULL) == pytest.approx(67)
    rows = (284.5 - 256 + 80) / 284.5
    assert milliseconds(stages, OURS) == pytest.approx(max(67 * rows, 175 / 6) + 175 / 6)
    assert milliseconds(stages, Work(0.0, 0.0, 1, False)) == pytest.approx(175 / 6)  # a pass reads all weights


def test_devices_answer_as_predicted() -> None:
    """The roofline's predictions for OpenVLA-7B (docs/evaluation.md): plain, static, partial, with drafts."""
    device = DEVICES["rtx4090"]
    partial = 100 / 256
    assert milliseconds(device, PLAIN) == pytest.approx(250)
    assert milliseconds(device, Work(0.0, 1.0, 7, False)) == pytest.approx(123, abs=3)
    assert milliseconds(device, Work(0.0, partial, 7, False)) == pytest.approx(110, abs=3)
    assert milliseconds(device, Work(0.0, partial, 1, False)) == pytest.approx(20, abs=1)
    drafts = [milliseconds(device, Work(0.0, partial, passes, False)) for passes in (2, 3)]
    assert 0.3 * drafts[0] + 0.7 * drafts[1] == pytest.approx(46, abs=2)  # 2.7 passes


@pytest.mark.parametrize("form", ["{}", "json"])
def test_values_of_a_file_are_drawn_as_often_as_they_are_there(tmp_path: Path, form: str) -> None:
    values = [40.0, 40.0, 40.0, 90.0]
    path = tmp_path / "measured"
    path.write_text(json.dumps(values) if form == "json" else "\n".join(map(str, values)))
    latency, rng = one(str(path)), np.random.default_rng(0)
    drawn = np.array([latency.seconds(OURS, rng) for _ in range(400)])
    assert set(drawn) == {0.04, 0.09}
    assert 0.15 < (drawn == 0.09).mean() < 0.35
    assert latency.label.startswith("measured (4 values, ")
    path.write_text("40\n91\n")
    assert one(str(path)).label != latency.label  # a run does not go on under other values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-1", "-1 is no time"),
        ("67+-5", "-5 is no time"),
        ("nan", "nan is no time"),
        ("inf", "inf is no time"),
        ("8000", "8000 ms is longer than an episode"),
        ("4000+4000", "8000 ms is longer than an episode"),
        ("1+2+3", "3 stages"),
        ("rtx5090", "no number, no device, no file"),
        ("", "no number, no device, no file"),
    ],
)
def test_another_profile_is_refused_in_one_line_with_the_valid_ones(text: str, said: str) -> None:
    with pytest.raises(SettingError) as error:
        latencies([text], EPISODE)
    assert str(error.value) == (
        f"latency profile '{text}': {said}; valid are own, rtx4090, h100, milliseconds from 0 to 8000 such as 250 or "
        "67+175 (prefill, decoding), or a file with milliseconds"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected numbers of milliseconds"),
        (b"40\nfast\n", "expected numbers of milliseconds"),
        (b"[40, 50", "unreadable"),
        (b"40\n-3\n", "-3 is no time"),
        (b"[NaN]", "nan is no time"),
        (b"[[40]]", "expected numbers of milliseconds"),
        (b"\xff\xfe\x00", "unreadable"),
        (b"40\n9000\n", "9000 ms is longer than an episode"),
        (b"[" + 6000 * b"1" + b"]", "unreadable"),
        (2000 * b"[", "unreadable"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "values.txt"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=said) as error:
        latencies([str(path)], EPISODE)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_each_profile_is_read_once_and_a_timing_says_what_it_is() -> None:
    assert [made.label for made in latencies(["own", "250", "250ms", "rtx4090"], EPISODE)] == [
        "own",
        "250 ms",
        "rtx4090",
    ]
    timing = Timing(one("250"), 30.0, 0.02, 0.3)
    assert timing.label == "live 250 ms, 30 Hz, 20 ms on the way, actions of 0.3 s"
