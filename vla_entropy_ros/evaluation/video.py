"""What the policy looked at, as pictures: its image, each visual token in the colour of why it was computed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..draw import BACK, FAINT, GOOD, INK, SIZE, Picture, legend, overlay, save_picture, save_video, write
from .records import EpisodeRecord, TickRecord

STRIP = 96  # pixels of text below it
RATE = 10  # frames per second: one per tick of a usual control period
HOLD = 8  # frames that the last picture of an episode stays
SHEET_COLUMNS, SHEET_ROWS = 4, 3


def strip(episode: EpisodeRecord, tick: TickRecord, elapsed: float, done: bool) -> Picture:
    """Text below the image [STRIP, SIZE, 3]: task, tick time, token counts, legend."""
    panel = np.full((STRIP, SIZE, 3), BACK, np.uint8)
    write(panel, episode.instruction, (10, 20), scale=0.55)
    write(panel, "done" if done else f"{elapsed:4.1f} s", (SIZE - 58, 20), GOOD if done else INK)
    stages = "  ".join(f"{stage} {tick.latency[stage]:.0f}" for stage in ("vision", "prefill", "decode"))
    write(panel, f"tick {tick.latency['total']:.0f} ms   ({stages})", (10, 43), FAINT)
    live = f"live {episode.timing.latency.label}" if episode.timing else None
    named = "   ".join(filter(None, (episode.configuration, episode.disturbance, live)))
    write(panel, f"{named}   fresh {tick.fresh}   reused {tick.reused}", (10, 64), FAINT)
    legend(panel, 10, 86)
    return panel


def frame(episode: EpisodeRecord, tick: TickRecord) -> Picture:
    """One frame of the video [SIZE + STRIP, SIZE, 3]."""
    assert tick.image is not None
    elapsed = tick.stamp - episode.ticks[0].stamp
    done = episode.success and elapsed >= episode.duration - 1.0 / RATE
    return np.concatenate((overlay(tick.image, tick.selection), strip(episode, tick, elapsed, done)))


def frames(episodes: Sequence[EpisodeRecord]) -> Iterator[Picture]:
    """All frames, the last one of each episode held for a moment."""
    for episode in episodes:
        picture = None
        stamps = [tick.stamp for tick in episode.ticks]
        lasting = [round((b - a) * RATE) for a, b in itertools.pairwise(stamps)] + [1] * bool(stamps)
        for tick, count in zip(episode.ticks, lasting, strict=True):
            if tick.image is not None:
                picture = frame(episode, tick)
                yield from [picture] * max(count, 1)
        if picture is not None:
            yield from [picture] * HOLD


def write_video(episodes: Sequence[EpisodeRecord], path: Path) -> int:
    """Write an H.264 video; returns the number of frames, and writes nothing when there are none."""
    return save_video(frames(episodes), path, RATE)


def write_sheet(episodes: Sequence[EpisodeRecord], path: Path) -> bool:
    """Write a contact sheet: a row per episode, pictures from its beginning to its end; False when there are none."""
    rows: list[Picture] = []
    for episode in episodes:
        seen = [tick for tick in episode.ticks if tick.image is not None]
        if seen and len(rows) < SHEET_ROWS:
            chosen = np.linspace(0, len(seen) - 1, SHEET_COLUMNS).round().astype(int)
            rows.append(np.concatenate([frame(episode, seen[index]) for index in chosen], axis=1))
    if not rows:
        return False
    save_picture(np.concatenate(rows), path)
    return True
