"""Image messages as drivers send them, with rows built by hand."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

RED, BLUE = (200, 40, 60), (30, 90, 220)


def sent(encoding: str, rows: NDArray[Any], height: int, width: int, padding: int = 0, big: bool = False) -> Image:
    """Message of `rows` [rows, ...] as they are, each followed by `padding` bytes of noise."""
    data = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    padded = np.full((len(data), data.shape[1] + padding), 171, np.uint8)
    padded[:, : data.shape[1]] = data
    message = Image(height=height, width=width, encoding=encoding, step=padded.shape[1], is_bigendian=int(big))
    message.data = array.array("B", padded.tobytes())
    return message


def scene(height: int, width: int) -> NDArray[np.uint8]:
    """Left half red, right half blue [H, W, 3]."""
    picture = np.full((height, width, 3), RED, np.uint8)
    picture[:, width // 2 :] = BLUE
    return picture


def yuv(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Y, U and V [H, W, 3] of RGB by ITU-R BT.601, as cameras send them: 16 is black, 235 white."""
    red, green, blue = (picture[..., channel] / 255.0 for channel in range(3))
    y = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    u = 128 - 37.797 * red - 74.203 * green + 112.0 * blue
    v = 128 + 112.0 * red - 93.786 * green - 18.214 * blue
    return np.round(np.stack([y, u, v], -1)).astype(np.uint8)


def packed(picture: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """Rows of 4:2:2, two pixels in the four bytes `order`, such as yuyv."""
    y, u, v = np.moveaxis(yuv(picture), -1, 0)
    parts = {"u": [u[:, ::2]], "v": [v[:, ::2]], "y": [y[:, ::2], y[:, 1::2]]}
    return np.stack([parts[letter].pop(0) for letter in order], -1).reshape(len(picture), -1)


def planar(picture: NDArray[np.uint8], order: str, every: int = 2) -> NDArray[np.uint8]:
    """Rows of brightness, then of colours in `order`, one for `every` x `every` pixels."""
    y, u, v = np.moveaxis(yuv(picture), -1, 0)
    colours = np.stack([{"u": u, "v": v}[letter][::every, ::every] for letter in order], -1)
    return np.concatenate([y, colours.reshape(-1, picture.shape[1])])


def mosaic(picture: NDArray[Any], pattern: str) -> NDArray[Any]:
    """What a sensor sees of `picture` behind colour filters [H, W], the first two rows read as `pattern`."""
    seen = np.empty(picture.shape[:2], picture.dtype)
    for number, letter in enumerate(pattern):
        row, column = divmod(number, 2)
        seen[row::2, column::2] = picture[row::2, column::2, "rgb".index(letter)]
    return seen


def file(pixels: NDArray[Any], kind: str, format_: str) -> CompressedImage:
    """Compressed message of `pixels`, grey or BGR as cv2 has it."""
    return CompressedImage(format=format_, data=array.array("B", cv2.imencode(f".{kind}", pixels)[1].tobytes()))
