"""Image -> pixel values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbones import TowerKind
from .crop import centre_crop, lanczos
from .resize import bicubic


class Preprocessor:
    """Brings a camera image to the policy's size and normalises it once per tower.

    kind: "resize" for OpenVLA's bicubic resize, "centre_crop" for what LIBERO fine-tunes were evaluated with.
    """

    def __init__(
        self, size: int, towers: tuple[TowerKind, ...], kind: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.size = size
        self._crop = kind == "centre_crop"
        self._device, self._dtype = device, dtype
        self.normalisation = [(np.array(kind.mean, np.float32), np.array(kind.std, np.float32)) for kind in towers]
        values = [[kind.mean for kind in towers], [kind.std for kind in towers]]
        self._mean, self._std = torch.tensor(values, device=device).view(2, -1, 1, 1)  # [3 * towers, 1, 1]
        self._towers = len(towers)

    def frames(self, images: Sequence[NDArray[np.uint8]], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Camera images [H, W, 3] as [C, S, S, 3]; the aspect ratio is not kept ("resize-naive").

        out: where they are written; None: to new memory.
        """
        made = np.empty((len(images), self.size, self.size, 3), np.uint8) if out is None else out
        for number, image in enumerate(images):
            made[number] = self._frame(image)
        return made

    def _frame(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return centre_crop(lanczos(image, self.size)) if self._crop else bicubic(image, self.size)

    def pixels(self, frames: NDArray[np.uint8]) -> Tensor:
        """Pixel values [C, 3 * towers, S, S] of frames [C, S, S, 3]."""
        return self.normalise(torch.from_numpy(frames).to(self._device))

    def normalise(self, frames: Tensor) -> Tensor:
        """Pixel values [C, 3 * towers, S, S] of frames [C, S, S, 3] that are on the device already."""
        x = frames.permute(0, 3, 1, 2).to(torch.float32).div_(255)
        if self._towers > 1:
            x = x.repeat(1, self._towers, 1, 1)
        return x.sub_(self._mean).div_(self._std).to(self._dtype)
