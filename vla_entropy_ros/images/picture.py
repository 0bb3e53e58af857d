"""What an image message is decoded to, and what none may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 7680 * 4320  # 8K: decoded, some 100 MB
SHOWN = 60  # letters of a name in a line
DRIVER = "check the camera's driver"
COLOUR_TOPIC = "give the topic of the camera's colour image (image:=..., ros2 topic list -t)"
MAYBE_DEPTH = f"images come as 16UC1, which is taken for grey (65535: white); if they are of depth, {COLOUR_TOPIC}"


class ImageError(ValueError):
    """An image message that can't be read; the message is one line."""


@dataclass(frozen=True)
class Picture:
    """A decoded image: RGB [H, W, 3]; doubt: why its colours may not be what the camera saw, None where they are."""

    pixels: NDArray[np.uint8]
    doubt: str | None = None


def quoted(text: str) -> str:
    """What a message calls itself, as a part of one line: line breaks as codes, not without end."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def check_size(width: int, height: int) -> None:
    """Raise ImageError unless an image has pixels, and no more than can be a camera's."""
    if height <= 0 or width <= 0:
        raise ImageError(f"image of zero size: {width} x {height}, expected at least 1 x 1: {DRIVER}")
    if width * height > MAX_PIXELS:
        raise ImageError(f"image of absurd size: {width} x {height}, expected at most {MAX_PIXELS} pixels: {DRIVER}")


def check_picture(encoding: str) -> None:
    """Raise ImageError where an encoding is of measurements or of anything else that is not looked at."""
    if re.fullmatch(r"(8|16|32|64)[USF](C\d*)?", encoding):
        raise ImageError(
            f"image of encoding {quoted(encoding)} is no picture but numbers, such as depth or disparity: "
            f"{COLOUR_TOPIC}"
        )
