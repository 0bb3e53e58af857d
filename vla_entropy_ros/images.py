"""Image messages to arrays, whoever read them: a node, or a bag on a machine without ROS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# encoding -> bytes per pixel, conversion to RGB (None: it is RGB)
ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
}
JPEG_QUALITY = 90
DRIVER = "check the camera's driver"
JPEG_FORMAT = "rgb8; jpeg compressed bgr8"  # as image_transport writes it


class ImageError(ValueError):
    """An image message that can't be read; the message is one line."""


def decode_image(message: Any) -> NDArray[np.uint8]:
    """RGB image [H, W, 3] of a raw image message; padding at the end of rows is skipped. Raises ImageError."""
    if message.encoding not in ENCODINGS:
        raise ImageError(
            f"image of unknown encoding '{message.encoding}': valid are {', '.join(ENCODINGS)}; set the camera's "
            "driver to one of them, or convert (image_proc)"
        )
    size, conversion = ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise ImageError(f"image of zero size: {width} x {height}, expected at least 1 x 1: {DRIVER}")
    if step < width * size:
        wanted = f"{width} pixels of {message.encoding} need {width * size}"
        raise ImageError(f"image with rows of {step} bytes (step): {wanted}; {DRIVER}")
    needed = step * (height - 1) + width * size
    data = np.frombuffer(message.data, np.uint8)
    if len(data) < needed:
        raise ImageError(
            f"image with {len(data)} bytes: {width} x {height} {message.encoding} needs {needed}; {DRIVER}"
        )
    pixels = np.lib.stride_tricks.as_strided(data, (height, width, size), (step, size, 1), writeable=False)
    return np.ascontiguousarray(pixels if conversion is None else cv2.cvtColor(pixels, conversion))


def decode_compressed(message: Any) -> NDArray[np.uint8]:
    """RGB image [H, W, 3] of a compressed message (JPEG or PNG). Raises ImageError."""
    data = np.frombuffer(message.data, np.uint8)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ImageError(
            f"compressed image of format '{message.format}' can't be decoded ({len(data)} bytes), expected a whole "
            f"JPEG or PNG: {DRIVER}"
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def decode(message: Any) -> NDArray[np.uint8]:
    """RGB image [H, W, 3] of either kind of message. Raises ImageError."""
    return decode_image(message) if hasattr(message, "encoding") else decode_compressed(message)


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """JPEG of `pixels` [H, W, 3], RGB."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return bytes(data.tobytes())
