"""Image messages to arrays, whoever read them: a node, or a bag on a machine without ROS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bridge import find_converter
from .compressed import JPEG_FORMAT, decode_compressed, encode_jpeg
from .encodings import ENCODINGS, Converter, to_rgb
from .picture import ImageError, Picture
from .raw import decode_raw

__all__ = [
    "ENCODINGS",
    "JPEG_FORMAT",
    "Converter",
    "ImageError",
    "Picture",
    "decode",
    "decode_image",
    "encode_jpeg",
    "find_converter",
    "read",
    "to_rgb",
]


def read(message: Any, convert: Converter = to_rgb) -> Picture:
    """The picture in either kind of message, raw ones by `convert`. Raises ImageError."""
    return decode_raw(message, convert) if hasattr(message, "encoding") else decode_compressed(message)


def decode(message: Any) -> NDArray[np.uint8]:
    """RGB image [H, W, 3] of either kind of message. Raises ImageError."""
    return read(message).pixels


def decode_image(message: Any) -> NDArray[np.uint8]:
    """RGB image [H, W, 3] of a raw image message. Raises ImageError."""
    return decode_raw(message, to_rgb).pixels
