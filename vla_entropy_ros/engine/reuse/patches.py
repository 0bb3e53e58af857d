"""Raw image patches, one per visual token: what the static test compares and image entropy looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
LUMA = np.array([19595, 38470, 7471], np.float32)  # 2^16 times the shares of red, green and blue


@dataclass(frozen=True)
class Patches:
    """Raw pixels of patches [N, P], 0..255, and the squared length [N] of each, so that it is computed once."""

    pixels: NDArray[np.float32]
    lengths: NDArray[np.float32]

    @classmethod
    def of(cls, raw: NDArray[np.uint8]) -> Patches:
        """Take in raw patches [N, P]."""
        pixels = raw.astype(np.float32)
        return cls(pixels, rows_product(pixels, pixels))

    def copy_rows(self, source: Patches, rows: Mask) -> None:
        """Take over those `rows` [N] from `source`."""
        self.pixels[rows], self.lengths[rows] = source.pixels[rows], source.lengths[rows]


def rows_product(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scalar product [N] of the rows of two arrays [N, P]."""
    return np.einsum("np,np->n", a, b)


def cut(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut frames [C, S, S, c] into raw patches [N, size * size * c]: camera after camera, in raster order."""
    cameras, side = len(frames), frames.shape[1] // size
    parts = frames.reshape(cameras, side, size, side, size, -1).swapaxes(2, 3)  # [C, side, side, size, size, c]
    return parts.reshape(cameras * side * side, -1)


def grey(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels [N, P] of RGB pixels 0..255 of patches [N, 3 * P]: ITU-R 601 luma, rounded as Pillow does."""
    level = pixels[:, 0::3] * LUMA[0]
    level += pixels[:, 1::3] * LUMA[1]
    level += pixels[:, 2::3] * LUMA[2]
    level += np.float32(2**15)  # whole numbers below 2^24 all along: exact
    level *= np.float32(2**-16)
    return level.astype(np.uint8)
