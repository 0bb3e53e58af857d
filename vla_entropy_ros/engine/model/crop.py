"""The image preparation of LIBERO fine-tunes: Lanczos resize and centre crop, as TensorFlow computes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AREA = 0.9  # share of the image that the crop keeps: the mean of the random crops in fine-tuning


def lanczos(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize [H, W, 3] to [size, size, 3] by Lanczos in floating point, rounded once (PIL rounds after each axis)."""
    planes = [
        Image.fromarray(image[..., channel].astype(np.float32)).resize((size, size), Image.Resampling.LANCZOS)
        for channel in range(3)
    ]
    return np.clip(np.round(np.stack([np.asarray(plane) for plane in planes], -1)), 0, 255).astype(np.uint8)


def centre_crop(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut the centre of area 0.9 out of [S, S, 3] and scale it back, bilinear between the corner pixels' centres.

    TensorFlow's crop_and_resize between uint8 images, to the bit: float32 throughout, floor(255.5 x) at the end.
    """
    size = len(image)
    side = np.sqrt(np.float32(AREA))
    start = (1 - side) / np.float32(2)
    last = np.float32(size - 1)
    at = start * last + np.arange(size, dtype=np.float32) * (((start + side) - start) * last / last)
    low, high = np.floor(at).astype(np.int64), np.ceil(at).astype(np.int64)
    weight = (at - low).astype(np.float32)
    x = image.astype(np.float32) * np.float32(1 / 255)
    rows, columns = weight[:, None, None], weight[None, :, None]
    upper, lower = x[low], x[high]
    upper = upper[:, low] + (upper[:, high] - upper[:, low]) * columns
    lower = lower[:, low] + (lower[:, high] - lower[:, low]) * columns
    value = np.clip(upper + (lower - upper) * rows, 0, 1)
    return np.floor(value * np.float32(255.5)).astype(np.uint8)
