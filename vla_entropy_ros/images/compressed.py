"""Compressed image messages: JPEG, PNG, TIFF or WebP, and what their format says of the image before."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .encodings import ENCODINGS, is_coloured, known, to_rgb
from .picture import COLOUR_TOPIC, DRIVER, MAYBE_DEPTH, ImageError, Picture, check_picture, check_size, quoted

JPEG_QUALITY = 90
JPEG_FORMAT = "rgb8; jpeg compressed bgr8"  # as image_transport writes it
FILES = ("JPEG", "PNG", "TIFF", "WEBP")
DEPTHS = {"uint8": 8, "uint16": 16}  # bits


def decode_compressed(message: Any) -> Picture:
    """The picture in a compressed image message; grey where its colours were lost. Raises ImageError."""
    before, _, after = (part.strip() for part in message.format.partition(";"))
    if "compresseddepth" in message.format.lower().replace("_", ""):
        raise ImageError(f"{_named(message)} is a depth image (compressedDepth), no picture: {COLOUR_TOPIC}")
    if known(before) not in ENCODINGS:
        check_picture(before)
    pixels = _decoded(message)
    if pixels.dtype.name not in DEPTHS:
        raise ImageError(f"{_named(message)} holds numbers of {pixels.dtype}, no picture: {COLOUR_TOPIC}")
    encoding = _encoding(pixels, known(before), after)
    return Picture(to_rgb(pixels, encoding), _doubt(message.format, before, encoding))


def _decoded(message: Any) -> NDArray[Any]:
    """What is in the file: [H, W] grey or [H, W, 3] BGR. Raises ImageError, before memory is spent on a huge one."""
    try:
        with Image.open(io.BytesIO(message.data), formats=FILES) as file:  # looks at the file's head only
            width, height = file.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"compressed image of absurd size: {error}: {DRIVER}") from None
    except Exception:  # noqa: BLE001  (whatever Pillow makes of such bytes)
        raise _broken(message) from None
    check_size(width, height)
    try:
        pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _broken(message)
    return np.asarray(pixels)


def _broken(message: Any) -> ImageError:
    return ImageError(
        f"{_named(message)} can't be decoded ({len(message.data)} bytes), expected a whole JPEG or PNG: {DRIVER}"
    )


def _named(message: Any) -> str:
    return f"compressed image of format {quoted(message.format)}"


def _encoding(pixels: NDArray[Any], before: str, after: str) -> str:
    """What `pixels` are, encoded `before` as the format says, and `after` compressed as what.

    image_transport converts to BGR or grey and names that last; where it names nothing, the file holds the image's own
    numbers, whatever they mean. That is so with all TIFF, and with PNG of one number per pixel.
    """
    codec, _, target = (part.strip() for part in after.partition("compressed"))
    bits, exact = DEPTHS[pixels.dtype.name], codec in ("png", "tiff")
    if pixels.ndim == 2:
        whole = before in ENCODINGS and ENCODINGS[before].samples == 1 and before.endswith(str(bits))
        return before if exact and whole and known(target) in ("", before) else f"mono{bits}"
    return f"rgb{bits}" if not target and codec == "tiff" and before.startswith("rgb") else f"bgr{bits}"


def _doubt(format_: str, before: str, encoding: str) -> str | None:
    """Why the colours are not what the camera saw; None where they are."""
    if before == "16UC1":
        return MAYBE_DEPTH
    if is_coloured(encoding) or not is_coloured(before):
        return None
    return (
        f"compressed images of format {quoted(format_)} have lost their colours, the policy sees grey: use the raw "
        "topic, or set the camera's driver to rgb8 or bgr8, which keep theirs"
    )


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """JPEG of `pixels` [H, W, 3], RGB."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return bytes(data.tobytes())
