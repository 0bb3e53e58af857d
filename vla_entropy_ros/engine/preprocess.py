"""Image -> pixel values, and the raw patches that selection looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..settings import SETTING
from .backbones import TowerKind
from .crop import centre_crop, lanczos
from .errors import ObservationError


@dataclass(frozen=True)
class Observation:
    """One camera image per camera, each [H, W, 3] uint8 RGB; what to do; when it was seen [s]."""

    images: tuple[NDArray[np.uint8], ...]
    instruction: str
    stamp: float


def check_observation(observation: Observation, cameras: int) -> None:
    """Raise ObservationError unless images, instruction and stamp can be used."""
    images = observation.images
    if not isinstance(images, (tuple, list)) or len(images) != cameras:
        given = f"{len(images)} images" if isinstance(images, (tuple, list)) else f"a {type(images).__name__}"
        raise ObservationError(f"expected a tuple of {cameras} camera image(s), got {given}")
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            given = str(image.dtype) if isinstance(image, np.ndarray) else type(image).__name__
            raise ObservationError(f"image {number}: expected an array of uint8, got {given}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ObservationError(f"image {number}: expected [height, width, 3] pixels, got {list(image.shape)}")
    if not isinstance(observation.instruction, str) or not observation.instruction.strip():
        raise ObservationError("the instruction is empty")
    if not np.isfinite(observation.stamp):
        raise ObservationError(f"the stamp {observation.stamp} is no time in seconds")


class Preprocessor:
    """Brings a camera image to the policy's size and normalises it once per tower.

    kind: "resize" for OpenVLA's bicubic resize, "centre_crop" for what LIBERO fine-tunes were evaluated with.
    """

    def __init__(
        self, size: int, towers: tuple[TowerKind, ...], kind: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.size = size
        self._crop = SETTING["preprocess"].check(kind) == "centre_crop"
        self._device, self._dtype = device, dtype
        values = [[kind.mean for kind in towers], [kind.std for kind in towers]]
        self._mean, self._std = torch.tensor(values, device=device).view(2, -1, 1, 1)  # [3 * towers, 1, 1]
        self._towers = len(towers)

    def frame(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Image [H, W, 3] as [S, S, 3]; the aspect ratio is not kept ("resize-naive")."""
        if self._crop:
            return centre_crop(lanczos(image, self.size))
        picture = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BICUBIC)
        return np.array(picture)

    def pixels(self, frame: NDArray[np.uint8]) -> Tensor:
        """Pixel values [1, 3 * towers, S, S] of a frame [S, S, 3]."""
        x = torch.from_numpy(frame).to(self._device).permute(2, 0, 1).to(torch.float32) / 255
        return ((x.repeat(self._towers, 1, 1) - self._mean) / self._std)[None].to(self._dtype)


def grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey levels [S, S] of a frame [S, S, 3] (ITU-R 601 luma)."""
    return np.asarray(Image.fromarray(frame).convert("L"))


def patches(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut a frame [S, S] or [S, S, C] into patches [N, size * size * C] in raster order."""
    side = frame.shape[0] // size
    cut = frame.reshape(side, size, side, size, -1).swapaxes(1, 2)  # [side, side, size, size, C]
    return cut.reshape(side * side, -1)
