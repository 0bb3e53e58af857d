"""What is planned, remembered and summed up of episodes; what is drawn of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np

from vla_entropy_ros.draw import COLOURS, overlay
from vla_entropy_ros.evaluation.records import EpisodeRecord, TickRecord, ages
from vla_entropy_ros.evaluation.video import write_sheet, write_video


def test_age_counts_the_ticks_since_a_token_was_computed() -> None:
    def tick(*codes: int) -> TickRecord:
        return TickRecord(0.0, {}, np.array([codes], np.uint8), 1, np.zeros(3))

    assert ages([tick(1, 1), tick(0, 2), tick(0, 0), tick(3, 0)]).tolist() == [[0, 0], [1, 0], [2, 1], [0, 2]]
    assert ages([]).size == 0


def test_fresh_tokens_are_framed_in_the_colour_of_their_reason_and_reused_ones_dimmed() -> None:
    drawn = overlay(np.full((32, 32, 3), 200, np.uint8), np.array([[0, 2], [3, 0]], np.uint8), size=64)
    assert tuple(drawn[1, 40]) == COLOURS[2]
    assert tuple(drawn[40, 1]) == COLOURS[3]
    assert (drawn[16, 16] < 100).all()


def test_video_and_sheet_hold_every_tick(tmp_path: Path, episode: Callable[..., EpisodeRecord]) -> None:
    done = [episode(True), episode(False, ticks=3)]
    count = write_video(done, tmp_path / "demo.mp4")
    assert count == imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "demo.mp4"))[0] == 5 + 3 + 2 * 8
    assert write_sheet(done, tmp_path / "demo.png")
    sheet = imageio.imread(tmp_path / "demo.png")
    assert sheet.shape == (2 * (448 + 96), 4 * 448, 3)
    assert sheet.std() > 10
    assert not write_video([], tmp_path / "empty.mp4")
    done[0].ticks.clear()  # an emergency stop from its beginning on
    assert write_video(done[:1], tmp_path / "none.mp4") == 0
    assert not (tmp_path / "empty.mp4").exists()
