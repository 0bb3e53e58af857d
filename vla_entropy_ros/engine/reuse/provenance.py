"""What the keys and values of each visual token were computed from, and how long ago."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import Upload
from .patches import Mask

NEVER = -1  # epoch of a token that was not computed yet


class Provenance:
    """Per visual token [N]: age [ticks], and embedding of the tick that computed its first layers.

    deep_age and the embeddings behind `deep_drift` belong to the last layers, which may have been computed longer ago.
    A token is valid while it carries the current epoch; `invalidate` begins a new one.
    """

    def __init__(self, tokens: int, width: int, device: torch.device, dtype: torch.dtype) -> None:
        self.age: NDArray[np.int64] = np.zeros(tokens, np.int64)
        self.deep_age: NDArray[np.int64] = np.zeros(tokens, np.int64)
        self.embeddings = torch.zeros(tokens, width, device=device, dtype=dtype)
        self.deep_embeddings = torch.zeros_like(self.embeddings)
        self._fresh = Upload((2, tokens), torch.bool, device)
        self._epoch = 0
        self._epochs: NDArray[np.int64] = np.full(tokens, NEVER, np.int64)
        self._start_epoch = NEVER

    @property
    def valid(self) -> Mask:
        """Visual tokens [N] of the current epoch."""
        return self._epochs == self._epoch

    @property
    def start_valid(self) -> bool:
        """Whether the start rows are of the current epoch."""
        return self._start_epoch == self._epoch

    def invalidate(self) -> None:
        """Begin a new epoch: nothing computed so far may be reused."""
        self._epoch += 1
        self.age[:] = self.deep_age[:] = 0

    def drift(self, visual: Tensor) -> Tensor:
        """Squared relative change [N] of visual tokens [N, D] since their first layers were computed, float32."""
        return self._change(visual, self.embeddings)

    def deep_drift(self, visual: Tensor) -> Tensor:
        """`drift` since the last layers were computed."""
        return self._change(visual, self.deep_embeddings)

    def grow(self, fresh: Mask, deep: Mask) -> None:
        """Note that a tick is over: every token is older, but for the `fresh` [N], in the last layers the `deep`."""
        for age, rows in ((self.age, fresh), (self.deep_age, deep)):
            age += 1
            age[rows] = 0

    def commit(self, fresh: Mask, deep: Mask, visual: Tensor) -> None:
        """Note that a pass has computed the start rows and the `fresh` tokens [N], in the last layers the `deep` ones.

        visual [N, D]: embeddings they come from.
        """
        self._keep(fresh, deep, visual)
        self._epochs[fresh] = self._epoch
        self._start_epoch = self._epoch

    def _change(self, visual: Tensor, stored: Tensor) -> Tensor:
        """Squared relative difference [N] of rows [N, D], float32."""
        now = visual.float()
        apart = now - stored.float()
        return torch.linalg.vecdot(apart, apart) / torch.linalg.vecdot(now, now).clamp_min(1e-12)

    def _keep(self, fresh: Mask, deep: Mask, visual: Tensor) -> None:
        """Store the embeddings [N, D] of the `fresh` tokens [N], and of the `deep` ones."""
        self._fresh.host[0], self._fresh.host[1] = fresh, deep
        self._fresh.send(2)
        for written, embeddings in zip(self._fresh.device, (self.embeddings, self.deep_embeddings), strict=True):
            torch.where(written[:, None], visual, embeddings, out=embeddings)
