"""What the policy looked at, as pictures: its image, each visual token in the colour of why it was computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray

from .records import Episode, Tick

Picture = NDArray[np.uint8]

SIZE = 448  # pixels of the camera image in the video
STRIP = 96  # pixels of text below it
RATE = 10  # frames per second: one per tick
HOLD = 8  # frames that the last picture of an episode stays
DIM = 0.45  # brightness of a reused token
LINE = 2  # pixels of a fresh token's frame
TINT = 0.14  # share of its colour in a fresh token
COLOURS = {1: (88, 166, 255), 2: (63, 200, 100), 3: (255, 90, 80), 4: (255, 190, 40)}  # RGB, by selection code
NAMES = {1: "changed / old", 2: "image entropy", 3: "attention", 4: "both", 0: "reused"}
INK, FAINT, GOOD, BACK = (235, 238, 242), (150, 158, 168), (90, 210, 120), (20, 24, 30)
SHEET_COLUMNS, SHEET_ROWS = 4, 3


def overlay(image: Picture, selection: NDArray[np.uint8], size: int = SIZE) -> Picture:
    """Camera image [size, size, 3] with its tokens drawn: fresh ones tinted by reason, reused ones dimmed."""
    picture = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    rows, columns = selection.shape
    spread = cv2.resize(selection, (size, size), interpolation=cv2.INTER_NEAREST)
    picture[spread == 0] *= DIM
    for code, colour in COLOURS.items():
        mask = spread == code
        picture[mask] = (1 - TINT) * picture[mask] + TINT * np.asarray(colour, np.float32)
    drawn = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
    for row, column in np.argwhere(selection > 0):
        (left, top), (right, bottom) = (
            (round(size * (column + d) / columns), round(size * (row + d) / rows)) for d in (0, 1)
        )
        colour = COLOURS[int(selection[row, column])]
        cv2.rectangle(drawn, (left + 1, top + 1), (right - 2, bottom - 2), colour, LINE)
    return drawn


def write(
    picture: Picture, text: str, at: tuple[int, int], colour: tuple[int, int, int] = INK, scale: float = 0.45
) -> None:
    """Put one line of text into a picture; `at`: left end of its base line."""
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def strip(episode: Episode, tick: Tick, elapsed: float, done: bool) -> Picture:
    """Text below the image [STRIP, SIZE, 3]: task, tick time, token counts, legend."""
    panel = np.full((STRIP, SIZE, 3), BACK, np.uint8)
    write(panel, episode.instruction, (10, 20), scale=0.55)
    write(panel, "done" if done else f"{elapsed:4.1f} s", (SIZE - 58, 20), GOOD if done else INK)
    stages = "  ".join(f"{stage} {tick.latency[stage]:.0f}" for stage in ("vision", "prefill", "decode"))
    write(panel, f"tick {tick.latency['total']:.0f} ms   ({stages})", (10, 43), FAINT)
    write(panel, f"mode {episode.mode}   fresh {tick.fresh}   reused {tick.reused}", (10, 64), FAINT)
    at = 10
    for code, name in NAMES.items():
        colour = COLOURS.get(code, (70, 76, 84))
        cv2.rectangle(panel, (at, 77), (at + 9, 86), colour, -1)
        write(panel, name, (at + 14, 86), FAINT, 0.38)
        at += 24 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)[0][0]
    return panel


def frame(episode: Episode, tick: Tick) -> Picture:
    """One frame of the video [SIZE + STRIP, SIZE, 3]."""
    assert tick.image is not None
    elapsed = tick.stamp - episode.ticks[0].stamp
    done = episode.success and elapsed >= episode.duration - 1.0 / RATE
    return np.concatenate((overlay(tick.image, tick.selection), strip(episode, tick, elapsed, done)))


def frames(episodes: Sequence[Episode]) -> Iterator[Picture]:
    """All frames, the last one of each episode held for a moment."""
    for episode in episodes:
        picture = None
        for tick in episode.ticks:
            if tick.image is not None:
                picture = frame(episode, tick)
                yield picture
        if picture is not None:
            yield from [picture] * HOLD


def write_video(episodes: Sequence[Episode], path: Path) -> int:
    """Write an H.264 video; returns the number of frames, and writes nothing when there are none."""
    count = 0
    writer = None
    try:
        for picture in frames(episodes):
            if writer is None:
                writer = imageio.get_writer(
                    str(path), fps=RATE, codec="libx264", quality=8, pixelformat="yuv420p", macro_block_size=2
                )
            writer.append_data(picture)
            count += 1
    finally:
        if writer is not None:
            writer.close()
    return count


def write_sheet(episodes: Sequence[Episode], path: Path) -> bool:
    """Write a contact sheet: a row per episode, pictures from its beginning to its end; False when there are none."""
    rows: list[Picture] = []
    for episode in episodes:
        seen = [tick for tick in episode.ticks if tick.image is not None]
        if seen and len(rows) < SHEET_ROWS:
            chosen = np.linspace(0, len(seen) - 1, SHEET_COLUMNS).round().astype(int)
            rows.append(np.concatenate([frame(episode, seen[index]) for index in chosen], axis=1))
    if not rows:
        return False
    sheet = np.concatenate(rows)
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return True
