"""OpenVLA's bicubic resize: Pillow's, and for large images torch's, which is the same to within one grey level.

On a GPU it is two products with Pillow's own coefficients, whole numbers that float64 holds: the same to the bit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from ..device import Upload

LARGE = 512 * 512  # pixels: a smaller image costs Pillow less than 3 ms, and stays as it is to the bit
# torch's kernels for uint8 are written for AVX; elsewhere they are slower than Pillow.
SHAPES = 4  # of images that are kept ready for: one for each of a policy's cameras
PRECISION = 22  # bits of Pillow's weights
QUICK = torch.backends.cpu.get_cpu_capability().startswith("AVX")


def bicubic(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize [H, W, 3] to [size, size, 3] as Pillow does: to the bit, large images to within 1 of 255.

    Where Pillow weighs with 22 bits and torch with 15, some 3 of 1000 values of a camera's image round apart; of a grid
    of hard edges more do, single ones by 2.
    """
    height, width = image.shape[:2]
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


class DeviceResize:
    """Pillow's bicubic resize to [size, size], on `device`."""

    def __init__(self, size: int, device: torch.device) -> None:
        self._size = size
        self._upload = lru_cache(maxsize=SHAPES)(lambda shape: Upload(shape, torch.uint8, device))
        self._weights = lru_cache(maxsize=2 * SHAPES)(
            lambda count: torch.from_numpy(_coefficients(count, size)).to(device)
        )

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize [H, W, 3] to [size, size, 3]; waits for the device."""
        height, width = image.shape[:2]
        upload = self._upload(image.shape)
        upload.host[...] = image
        upload.send(height)
        pixels = upload.device.permute(2, 0, 1).double()
        down, across = self._weights(height), self._weights(width)
        if _vertical_first(height, width, self._size):
            pixels = _whole(_whole(down @ pixels) @ across.T)
        else:
            pixels = _whole(down @ _whole(pixels @ across.T))
        resized: NDArray[np.uint8] = pixels.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
        return resized


def _coefficients(count: int, size: int) -> NDArray[np.float64]:
    """What each of `count` pixels weighs in each of `size` [size, count]: Pillow's whole numbers, of 2 ** PRECISION."""
    scale = count / size
    reach = max(scale, 1.0)
    weights = np.zeros((size, count))
    for row in range(size):
        centre = (row + 0.5) * scale
        first, last = max(int(centre - 2 * reach + 0.5), 0), min(int(centre + 2 * reach + 0.5), count)
        x = np.abs(np.arange(first, last) - centre + 0.5) / reach
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2  # a = -0.5
        each = np.where(x < 1, near, np.where(x < 2, far, 0.0))
        each = each / each.sum() * 2**PRECISION
        weights[row, first:last] = np.trunc(each + np.copysign(0.5, each))
    return weights


def _whole(sums: torch.Tensor) -> torch.Tensor:
    """Grey levels of sums of products with 2 ** PRECISION, rounded as Pillow does."""
    return ((sums + 2 ** (PRECISION - 1)) / 2**PRECISION).floor_().clamp_(0, 255)


def _pillow(image: Image.Image, height: int, width: int) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _torch(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return interpolate(pixels, (height, width), mode="bicubic", antialias=True)
