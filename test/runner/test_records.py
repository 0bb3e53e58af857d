"""What is planned, remembered and summed up of episodes; what is drawn of them."""

from __future__ import annotations

from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import pytest

from vla_entropy_ros.draw import COLOURS, overlay
from vla_entropy_ros.runner.plan import plan
from vla_entropy_ros.runner.records import STAGES, Episode, Tick, summary, wilson
from vla_entropy_ros.runner.video import write_sheet, write_video


def episode(success: bool, mode: str = "full", ticks: int = 5) -> Episode:
    """An episode of a policy that computes half of four tokens afresh."""
    random = np.random.default_rng(0)
    made = Episode(mode, "pick_red", 7, "pick up the red cube", success, 0.1 * ticks)
    for number in range(ticks):
        latency = {stage: float(number + 1) for stage in STAGES}
        image = random.integers(0, 256, (32, 32, 3), np.uint8)
        made.ticks.append(Tick(0.1 * number, latency, np.array([[0, 2], [3, 0]], np.uint8), image))
    return made


def test_every_mode_gets_the_same_episodes() -> None:
    trials = plan(["full", "info_entropy"], ["pick_red", "pick_blue"], 3, 100)
    seen = {mode: [(t.task, t.seed) for t in trials if t.mode == mode] for mode in ("full", "info_entropy")}
    assert seen["full"] == seen["info_entropy"] == [("pick_red", 100), ("pick_blue", 101), ("pick_red", 102)]


def test_wilson_interval_against_published_values() -> None:
    assert wilson(89, 100) == pytest.approx((0.8137, 0.9375), abs=1e-3)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_summary_counts_successes_latencies_and_fresh_tokens() -> None:
    figures = summary([episode(True), episode(False), episode(True, "info_entropy")])
    record = figures["modes"]["full"]
    assert (record["successes"], record["episodes"], record["ticks"]) == (1, 2, 10)
    assert record["latency_ms"]["total"] == {"p50": 3.0, "p95": 5.0, "max": 5.0}
    assert record["fresh_share"] == 0.5
    assert figures["modes"]["info_entropy"]["success_rate"] == 1.0
    assert len(figures["episodes"]) == 3


def test_fresh_tokens_are_framed_in_the_colour_of_their_reason_and_reused_ones_dimmed() -> None:
    drawn = overlay(np.full((32, 32, 3), 200, np.uint8), np.array([[0, 2], [3, 0]], np.uint8), size=64)
    assert tuple(drawn[1, 40]) == COLOURS[2]
    assert tuple(drawn[40, 1]) == COLOURS[3]
    assert (drawn[16, 16] < 100).all()


def test_video_and_sheet_hold_every_tick(tmp_path: Path) -> None:
    done = [episode(True), episode(False, ticks=3)]
    count = write_video(done, tmp_path / "demo.mp4")
    assert count == imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "demo.mp4"))[0] == 5 + 3 + 2 * 8
    assert write_sheet(done, tmp_path / "demo.png")
    sheet = imageio.imread(tmp_path / "demo.png")
    assert sheet.shape == (2 * (448 + 96), 4 * 448, 3)
    assert sheet.std() > 10
    assert not write_video([], tmp_path / "empty.mp4")
    assert not (tmp_path / "empty.mp4").exists()
