"""Pictures of what the policy looks at: tokens over the camera image, heat maps, text, video files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

SIZE = 448  # pixels of a drawn camera image
DIM = 0.45  # brightness of a reused token
LINE = 2  # pixels of a fresh token's frame
THIN = 1  # of one that is fresh since its turn has come, not since it matters now
TINT = 0.14  # share of its colour in a fresh token
COLOURS = {  # RGB, by selection code; apart for colour-blind eyes, too, by hue or by brightness
    1: (45, 180, 255), 2: (30, 130, 80), 3: (230, 95, 20), 4: (255, 222, 35), 5: (240, 135, 180), 6: (215, 245, 200),
}  # fmt: skip
KEPT = np.array([DIM, *(1 - TINT for _ in COLOURS)], np.float32)  # by code: the share that is left of the picture
ADDED = np.array([(0, 0, 0), *COLOURS.values()], np.float32) * np.float32(TINT)  # by code: what its colour adds
REUSED = (70, 76, 84)  # of code 0 in a legend; in the picture such a token is dimmed
QUIET = (5, 6)  # codes whose frames are thin
NAMES = {1: "changed", 2: "visual", 3: "attention", 4: "both", 5: "old", 6: "filled", 0: "reused"}
STATIC = (63, 200, 100)  # frame of a patch that looks as before
INK, FAINT, GOOD, BACK = (235, 238, 242), (150, 158, 168), (90, 210, 120), (20, 24, 30)


def overlay(image: Picture, selection: NDArray[np.uint8], size: int = SIZE) -> Picture:
    """Camera image [size, size, 3] with its tokens drawn: fresh ones tinted by reason, reused ones dimmed."""
    picture = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    picture *= _spread(KEPT[selection], size)[:, :, None]  # a sixth of the time of a mask for each colour
    picture += _spread(ADDED[selection], size)
    drawn = picture.astype(np.uint8)
    for code, colour in COLOURS.items():
        frame_patches(drawn, selection == code, colour, THIN if code in QUIET else LINE)
    return drawn


def _spread(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Values of tokens [rows, columns, ...] as those of pixels [size, size, ...]."""
    return cv2.resize(values, (size, size), interpolation=cv2.INTER_NEAREST).astype(np.float32, copy=False)


def frame_patches(picture: Picture, mask: NDArray[np.bool_], colour: tuple[int, int, int], line: int) -> None:
    """Draw a frame `line` pixels wide inside each patch of `mask` [rows, columns]."""
    (rows, columns), size = mask.shape, len(picture)
    for row, column in np.argwhere(mask):
        (left, top), (right, bottom) = (
            (round(size * (column + d) / columns), round(size * (row + d) / rows)) for d in (0, 1)
        )
        cv2.rectangle(picture, (left + 1, top + 1), (right - 2, bottom - 2), colour, line)


def legend(picture: Picture, left: int, base: int) -> None:
    """Name the selection's colours in one line; `left`, `base`: where it begins."""
    for code, name in NAMES.items():
        cv2.rectangle(picture, (left, base - 9), (left + 9, base), COLOURS.get(code, REUSED), -1)
        write(picture, name, (left + 14, base), FAINT, 0.38)
        left += 24 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)[0][0]


def write(
    picture: Picture, text: str, at: tuple[int, int], colour: tuple[int, int, int] = INK, scale: float = 0.45
) -> None:
    """Put one line of text into a picture; `at`: left end of its base line."""
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def heat(values: NDArray[np.float64], low: float, high: float, size: int = SIZE) -> Picture:
    """Values [rows, columns] as a heat map [size, size, 3]: `low` is dark, `high` bright."""
    level = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0) * 255
    spread = cv2.resize(level.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
    return cv2.cvtColor(cv2.applyColorMap(spread, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB).astype(np.uint8)


def save_picture(picture: Picture, path: Path) -> None:
    """Write one picture as PNG."""
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def save_video(frames: Iterable[Picture], path: Path, rate: float) -> int:
    """Write an H.264 video of `rate` frames per second; returns their number, and writes nothing if there are none."""
    import imageio.v2 as imageio  # brings the encoder

    count = 0
    writer = None
    try:
        for picture in frames:
            if writer is None:
                writer = imageio.get_writer(
                    str(path), fps=rate, codec="libx264", quality=8, pixelformat="yuv420p", macro_block_size=2
                )
            writer.append_data(picture)
            count += 1
    finally:
        if writer is not None:
            writer.close()
    return count
