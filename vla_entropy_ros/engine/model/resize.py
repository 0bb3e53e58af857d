"""OpenVLA's bicubic resize: Pillow's, and for large images torch's, which is the same to within one grey level."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

LARGE = 512 * 512  # pixels: a smaller image costs Pillow less than 3 ms, and stays as it is to the bit
# torch's kernels for uint8 are written for AVX; elsewhere they are slower than Pillow.
QUICK = torch.backends.cpu.get_cpu_capability().startswith("AVX")


def bicubic(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize [H, W, 3] to [size, size, 3] as Pillow does: to the bit, large images to within 1 of 255.

    Where Pillow weighs with 22 bits and torch with 15, some 3 of 1000 values of a camera's image round apart; of a grid
    of hard edges more do, single ones by 2. An image of that size is returned itself.
    """
    height, width = image.shape[:2]
    if height == width == size:
        return image
    if height * width <= LARGE or min(height, width) < size or not QUICK:
        return np.array(_pillow(Image.fromarray(image), size, size))
    pixels = torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)[None]
    if _vertical_first(height, width, size):
        pixels = _torch(pixels, size, width)
    resized: NDArray[np.uint8] = _torch(pixels, size, size)[0].permute(1, 2, 0).numpy()
    return resized


@lru_cache(maxsize=16)
def _vertical_first(height: int, width: int, size: int) -> bool:
    """Whether Pillow begins such an image with its columns, by trying it: since version 13 it does with some tall ones.

    Each pass is rounded to whole grey levels, so the order shows: by up to 28 of them.
    """
    if width >= height:
        return False
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    return _pillow(noise, size, size).tobytes() != _pillow(_pillow(noise, height, size), size, size).tobytes()


def _pillow(image: Image.Image, height: int, width: int) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _torch(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return interpolate(pixels, (height, width), mode="bicubic", antialias=True)
