"""Raw image messages: where the pixels lie in their bytes, and whether they do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encodings import ENCODINGS, NAMES, Converter, Samples, known
from .picture import DRIVER, MAYBE_DEPTH, ImageError, Picture, check_picture, check_size, quoted


def decode_raw(message: Any, convert: Converter) -> Picture:
    """The picture in a raw image message, by `convert`; padding at the end of rows is skipped. Raises ImageError."""
    name = known(message.encoding)
    if name not in ENCODINGS:
        check_picture(message.encoding)
        raise ImageError(
            f"image of unknown encoding {quoted(message.encoding)}: valid are {', '.join(NAMES)}; set the camera's "
            "driver to one of them, or convert (image_proc)"
        )
    samples = _samples(_rows(message, name), name, bool(message.is_bigendian))
    return Picture(convert(samples, name), MAYBE_DEPTH if message.encoding == "16UC1" else None)


def _rows(message: Any, name: str) -> NDArray[np.uint8]:
    """The bytes [rows, bytes of a row] of an image without padding, not copied. Raises ImageError where any lack."""
    encoding, height, width, step = ENCODINGS[name], message.height, message.width, message.step
    check_size(width, height)
    if width % encoding.width or height % encoding.height:
        even = "width and height" if encoding.height > 1 else "a width"
        raise ImageError(f"image of {width} x {height}: {message.encoding} needs {even} that can be halved: {DRIVER}")
    if min(width, height) < encoding.least:
        least = f"{encoding.least} x {encoding.least}"
        raise ImageError(f"image of {width} x {height}: {message.encoding} needs at least {least}: {DRIVER}")
    size = width * encoding.samples * encoding.depth
    if step < size or (step > size and not encoding.padded):
        wanted = f"{width} pixels of {message.encoding} need {size}"
        raise ImageError(f"image with rows of {step} bytes (step): {wanted}; {DRIVER}")
    rows = height * encoding.rows // 2
    needed = step * (rows - 1) + size
    data = np.frombuffer(message.data, np.uint8)
    if len(data) < needed:
        raise ImageError(
            f"image with {len(data)} bytes: {width} x {height} {message.encoding} needs {needed}; {DRIVER}"
        )
    # As writable as the data is: torch takes no other array without a warning or a copy.
    return np.lib.stride_tricks.as_strided(data, (rows, size), (step, 1), writeable=data.flags.writeable)


def _samples(rows: NDArray[np.uint8], name: str, big_endian: bool) -> Samples:
    """The numbers in `rows`: [rows, W, numbers per pixel], or [rows, W] where that is one."""
    encoding = ENCODINGS[name]
    samples: Samples = rows
    if encoding.depth == 2:
        samples = np.ascontiguousarray(rows).view(">u2" if big_endian else "<u2").astype(np.uint16, copy=False)
    if encoding.samples == 1:
        return samples
    return samples.reshape(len(rows), -1, encoding.samples)  # without a copy, padding or not
