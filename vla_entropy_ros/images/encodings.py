"""What the encodings of raw images are: how their rows lie in memory, and how they become RGB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[Any]"  # of uint8 or uint16
Converter: TypeAlias = Callable[[Samples, str], NDArray[np.uint8]]
SCALE = 255 / 65535  # of 16 bits to 8, as cv_bridge has it: black and white stay black and white


@dataclass(frozen=True)
class Encoding:
    """An encoding's rows, and what makes them RGB.

    samples: numbers in a row per pixel; conversion: cv2's code, None where they are RGB; depth: bytes of a number;
    rows: for every two of the picture; width, height: what a whole number of them must be, least: the least of both;
    padded: whether rows may be followed by padding.
    """

    samples: int
    conversion: int | None
    depth: int = 1
    rows: int = 2
    width: int = 1
    height: int = 1
    least: int = 1
    padded: bool = True


def _packed(name: str, samples: int, conversion: int | None) -> dict[str, Encoding]:
    """Pixels of whole numbers, in 8 and in 16 bits."""
    return {f"{name}8": Encoding(samples, conversion), f"{name}16": Encoding(samples, conversion, depth=2)}


def _bayer(pattern: str, conversion: int) -> dict[str, Encoding]:
    """A sensor's mosaic, its first two rows read as `pattern`; cv2 makes nothing of less than 3 x 3."""
    name = f"bayer_{pattern}"
    eight, sixteen = (Encoding(1, conversion, depth, least=3) for depth in (1, 2))
    return {f"{name}8": eight, f"{name}16": sixteen}


ENCODINGS: dict[str, Encoding] = {
    **_packed("rgb", 3, None),
    **_packed("bgr", 3, cv2.COLOR_BGR2RGB),
    **_packed("rgba", 4, cv2.COLOR_RGBA2RGB),
    **_packed("bgra", 4, cv2.COLOR_BGRA2RGB),
    **_packed("mono", 1, cv2.COLOR_GRAY2RGB),
    "yuv422": Encoding(2, cv2.COLOR_YUV2RGB_UYVY, width=2),
    "yuv422_yuy2": Encoding(2, cv2.COLOR_YUV2RGB_YUY2, width=2),
    "nv12": Encoding(1, cv2.COLOR_YUV2RGB_NV12, rows=3, width=2, height=2),
    "nv21": Encoding(1, cv2.COLOR_YUV2RGB_NV21, rows=3, width=2, height=2),
    "nv24": Encoding(1, cv2.COLOR_YUV2RGB_UYVY, rows=6, padded=False),
    # cv2 names a mosaic by its second row, from the second pixel on; these are its names by the first.
    **_bayer("rggb", cv2.COLOR_BayerRGGB2RGB),
    **_bayer("bggr", cv2.COLOR_BayerBGGR2RGB),
    **_bayer("gbrg", cv2.COLOR_BayerGBRG2RGB),
    **_bayer("grbg", cv2.COLOR_BayerGRBG2RGB),
}
ALIASES = {
    "uyvy": "yuv422",
    "yuyv": "yuv422_yuy2",
    # without an order of colours: as cv_bridge and cv2 have them
    "8UC1": "mono8",
    "8UC3": "bgr8",
    "8UC4": "bgra8",
    "16UC1": "mono16",
    "16UC3": "bgr16",
    "16UC4": "bgra16",
}
PLANAR = ("nv12", "nv21", "nv24")
NAMES = (*ENCODINGS, *ALIASES)


def known(encoding: str) -> str:
    """The name in ENCODINGS of an encoding, itself where it has no other."""
    return ALIASES.get(encoding, encoding)


def is_coloured(encoding: str) -> bool:
    """Whether an encoding's pixels have a colour."""
    name = known(encoding)
    return name in ENCODINGS and not name.startswith("mono")


def to_rgb(samples: Samples, encoding: str) -> NDArray[np.uint8]:
    """RGB [H, W, 3] of the numbers in an image's rows, by cv2; encoding: one of ENCODINGS.

    samples: [rows, W, numbers per pixel], or [rows, W] where that is one, in this machine's byte order. Colour images
    of 16 bits become 8 last.
    """
    conversion = ENCODINGS[encoding].conversion
    if encoding == "nv24":
        samples = _doubled(samples)
    rgb: Any = samples if conversion is None else cv2.cvtColor(samples, conversion)
    if encoding == "nv24":
        rgb = rgb[:, ::2]
    if rgb.dtype == np.uint16:
        rgb = cv2.convertScaleAbs(rgb, alpha=SCALE)
    return np.ascontiguousarray(rgb)


def _doubled(samples: Samples) -> NDArray[np.uint8]:
    """UYVY [H, 2 W, 2] with each pixel of nv24 [3 H, W] twice, since every pixel has a colour; cv2 knows no nv24."""
    height, width = len(samples) // 3, samples.shape[1]
    brightness, colours = samples[:height], samples[height:].reshape(height, width, 2)
    pairs = np.stack([colours[..., 0], brightness, colours[..., 1], brightness], -1)
    return np.asarray(pairs.reshape(height, 2 * width, 2), np.uint8)
