"""What has changed in the picture, whatever the camera does to it: brightness and noise are estimated, not tuned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .patches import Mask
from .scores import GREY_LEVELS, Counting, Scores, image_entropy

Cells = NDArray[np.float32]
CELLS = 2  # along a side of a patch: a mean over 49 of 196 pixels has a seventh of their noise
VALUES = 3 * CELLS**2  # of a patch: its cells in three colours
MEAN = np.full(VALUES, 1 / VALUES, np.float32)
LEAST = 4.0  # grey levels that a patch must differ by to count as changed
NOISY = 3.0  # times the noise floor that it must differ by
NOISE_MOST = 4.0  # grey levels between cells that may be noise; more is a picture that has changed
QUIET = 4  # one of so many patches differs by noise alone, whatever happens in the others
GAIN_MOST, OFFSET_MOST = 1.25, 25.0  # from one picture to the next; more is light that was switched
DARK, BRIGHT = 16.0, 240.0  # between them, brightness is proportional to light
SPREAD = 25.0  # variance of the cells [grey levels squared] from which gain and offset can be told apart
MEAN_OF_NOISE = 2 / math.sqrt(math.pi)  # mean absolute difference of two normal numbers of deviation 1


@dataclass(frozen=True)
class Light:
    """How bright pictures of cameras [C, 1, 1] are against the episode's first, level = gain * level there + offset."""

    gain: Cells
    offset: Cells

    def undo(self, cells: Cells, out: Cells) -> None:
        """Write into `out` cells [C, N, n] as they would be in the first light."""
        np.subtract(cells, self.offset, out=out)
        out /= self.gain


@dataclass(frozen=True)
class Seen:
    """Patches [N] that look as when their token was computed, so far as is known; what the camera does.

    noise: of a pixel [grey levels]; exposure: gain against the episode's first picture; means of the cameras, None
    where they are not estimated.
    """

    static: Mask
    noise: float | None = None
    exposure: float | None = None


class Scene:
    """Remembers what every patch looked like when its token was computed, in the light of the episode's beginning."""

    def __init__(self, cameras: int, grid: int) -> None:
        """grid: patches along a side of a camera's picture."""
        self._cameras, self._grid = cameras, grid
        self._reference, self._undone, self._spare, self._apart = np.zeros((4, cameras, grid**2, VALUES), np.float32)
        self._sums, self._rows = np.zeros((0, 0), np.uint16), np.zeros((0, 0), np.float32)  # of pixels above each other
        self._counting = Counting()
        self.forget()

    def forget(self) -> None:
        """Begin an episode: the next picture is the first."""
        self._cells: Cells | None = None  # of the picture that was compared last
        self._levels: Cells | None = None  # means of its patches [C, N / C]
        self._frames: NDArray[np.uint8] | None = None
        each = self._cameras, 1, 1
        self._light = Light(np.ones(each, np.float32), np.zeros(each, np.float32))

    def compare(self, frames: NDArray[np.uint8]) -> Seen:
        """What has changed in frames [C, S, S, 3] since each token was computed."""
        self._frames, last, levels, cells = frames, self._cells, self._levels, self._spare
        for frame, out in zip(frames, cells, strict=True):
            self._means(frame, out)
        self._spare = np.empty_like(cells) if last is None else last
        self._cells, self._levels = cells, cells @ MEAN
        if last is None or levels is None:
            self._light.undo(cells, self._undone)
            return Seen(np.zeros(self._levels.size, np.bool_))
        steps = [relight(before, now) for before, now in zip(levels, self._levels, strict=True)]
        gain, offset = np.array(steps, np.float32).T[:, :, None, None]
        light = self._light = Light(self._light.gain * gain, self._light.offset * gain + offset)
        np.multiply(last, gain, out=last)  # nobody asks for it again
        last += offset
        since = self._difference(cells, last)
        quiet = since.shape[1] // QUIET
        since.partition(quiet)
        floor = since[:, quiet]  # [C]
        light.undo(cells, self._undone)
        apart = self._difference(self._undone, self._reference) * light.gain[:, 0]
        static = apart <= np.maximum(LEAST, NOISY * np.minimum(floor, NOISE_MOST))[:, None]
        side = frames.shape[1] / self._grid / CELLS  # of a cell [pixels]
        return Seen(static.ravel(), float(_mean(floor) / MEAN_OF_NOISE * side), float(_mean(light.gain.ravel())))

    def _difference(self, cells: Cells, others: Cells) -> Cells:
        """Mean absolute difference of patches [C, N / C] between two pictures' cells [C, N / C, n]."""
        apart = np.subtract(cells, others, out=self._apart)
        return np.abs(apart, out=apart) @ MEAN

    def commit(self, fresh: Mask) -> None:
        """The `fresh` tokens [N] were computed from the picture that was compared last."""
        np.copyto(self._reference, self._undone, where=fresh.reshape(*self._reference.shape[:2], 1))

    def image_entropy(self, patches: NDArray[np.int64]) -> Scores:
        """The paper's image entropy [n] of some patches, by number, of the picture that was compared last."""
        assert self._frames is not None
        grid, size = self._grid, self._frames.shape[1] // self._grid
        parts = self._frames.reshape(-1, size, grid, size, 3)  # rows of patches, of all cameras
        pixels = parts[patches // grid, :, patches % grid].reshape(size, -1, 3)  # of these patches alone, in wide rows
        levels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        return image_entropy(levels.reshape(len(patches), -1), GREY_LEVELS, self._counting)

    def _means(self, frame: NDArray[np.uint8], out: Cells) -> None:
        """Write into `out` [N, n] the means of the cells of each patch of a frame [S, S, 3]."""
        grid, side = self._grid, CELLS * self._grid
        high, odd = divmod(len(frame), side)
        if odd:
            rows = frame.astype(np.float32)
        else:  # sums are exact, and a seventh of the picture is all that becomes floats
            parts = frame.reshape(side, high, -1)
            if self._sums.shape != (side, parts.shape[2]):
                self._sums = np.empty((side, parts.shape[2]), np.uint16)
                self._rows = np.empty(self._sums.shape, np.float32)
            np.add.reduce(parts, axis=1, dtype=np.uint16, out=self._sums)
            rows = np.divide(self._sums, np.float32(high), out=self._rows, dtype=np.float32).reshape(side, -1, 3)
        small = cv2.resize(rows, (side, side), interpolation=cv2.INTER_AREA)
        np.copyto(out.reshape(grid, grid, CELLS, CELLS, 3), small.reshape(grid, CELLS, grid, CELLS, 3).swapaxes(1, 2))


def relight(x: Cells, y: Cells) -> tuple[float, float]:
    """Gain and offset [grey levels] by which most patches' means x [N] become those of the next picture, y [N].

    y = gain * x + offset. Patches that something moved through count for nothing. (1, 0) where no plausible change of
    exposure explains it: what it leaves is a change.
    """
    lit = (np.minimum(x, y) > DARK) & (np.maximum(x, y) < BRIGHT)
    if np.count_nonzero(lit) < max(1, len(lit) // 10):
        return 1.0, 0.0
    a, b = x[lit].astype(np.float64), y[lit].astype(np.float64)
    gain, offset = _middle(b / a), 0.0
    for _ in range(2):
        off = np.abs(b - (gain * a + offset))
        close = off <= 2.5 * _middle(off) + 0.5
        near, then = a[close], b[close]
        mean_a, mean_b = (float(np.add.reduce(values)) / len(values) for values in (near, then))
        spread_a, spread_b = float(near @ near) / len(near) - mean_a**2, float(then @ then) / len(then) - mean_b**2
        if min(spread_a, spread_b) < SPREAD:
            break
        gain = math.sqrt(spread_b / spread_a)  # both are as noisy: regression would find too little, again and again
        offset = mean_b - gain * mean_a
    if not (1 / GAIN_MOST <= gain <= GAIN_MOST and abs(offset) <= OFFSET_MOST):
        return 1.0, 0.0
    return gain, offset


def _mean(values: Cells) -> np.float32:
    """Mean of values [n], as their own method has it, which takes five times as long for a few."""
    return np.float32(np.add.reduce(values) / np.float32(len(values)))


def _middle(values: NDArray[np.float64]) -> float:
    """One of the median values."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])
