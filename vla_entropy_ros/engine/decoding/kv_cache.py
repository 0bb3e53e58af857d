"""The persistent key/value slots, one per position of the sequence, and what each visual slot was computed from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import Upload
from ..model.llama import LlamaConfig
from ..reuse.selection import Mask, Patches

ALIGNMENT = 8  # of the buffers' length: fast attention under a mask asks for it
NEVER = -1  # epoch of a slot that was not written yet


class Slots:
    """Buffers [layers, Hkv, slots, hd] for `BOS | visual | text | actions`; slot number = position.

    A visual slot is valid while it carries the current epoch; `invalidate` begins a new one. Age [ticks],
    reference pixels and embeddings tell when, and from what, each visual slot was computed in the first layers;
    deep_age and deep_embeddings in the last ones.
    """

    def __init__(
        self, config: LlamaConfig, visual: int, others: int, patch: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.visual, self.count, self.layers = visual, visual + others, config.num_hidden_layers
        self.length = -(-(self.count + 1) // ALIGNMENT) * ALIGNMENT  # slot number `count` is scratch
        shape = (self.layers, config.num_key_value_heads, self.length, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.embeddings = torch.zeros(visual, config.hidden_size, device=device, dtype=dtype)
        self.deep_embeddings = torch.zeros_like(self.embeddings)
        self.age: NDArray[np.int64] = np.zeros(visual, np.int64)
        self.deep_age: NDArray[np.int64] = np.zeros(visual, np.int64)
        self.reference = Patches.of(np.zeros((visual, patch), np.uint8))
        self.previous = self.reference
        self.measured: Tensor | None = None  # `change` of the newest visual tokens, where it was measured already
        self._fresh = Upload((2, visual), torch.bool, device)
        self._epoch = 0
        self._epochs: NDArray[np.int64] = np.full(visual, NEVER, np.int64)
        self._start_epoch = NEVER

    @property
    def valid(self) -> Mask:
        """Visual slots [N] of the current epoch."""
        return self._epochs == self._epoch

    @property
    def start_valid(self) -> bool:
        """Whether the slot of BOS is of the current epoch."""
        return self._start_epoch == self._epoch

    def invalidate(self) -> None:
        """Begin a new epoch: nothing stored so far may be reused."""
        self._epoch += 1
        self.age[:] = self.deep_age[:] = 0

    def clear(self) -> None:
        """Forget all contents, too: after a failure there may be values that are not finite, which no mask hides."""
        self.invalidate()
        self.keys.zero_()
        self.values.zero_()

    def change(self, visual: Tensor) -> Tensor:
        """Squared relative change [N] of the visual tokens `visual` [N, D] since their slots were computed, float32."""
        return _change(visual, self.embeddings)

    def drift(self, visual: Tensor) -> NDArray[np.float64]:
        """`change` on the host; waits for the device."""
        change = self.change(visual) if self.measured is None else self.measured
        self.measured = None
        return _on_host(change)

    def deep_drift(self, visual: Tensor) -> NDArray[np.float64]:
        """`drift` since the slots' last layers were computed."""
        return _on_host(_change(visual, self.deep_embeddings))

    def commit(self, fresh: Mask, patches: Patches, visual: Tensor, deep: Mask | None = None) -> None:
        """Note that a pass has written BOS and the `fresh` visual slots [N], in the last layers the `deep` ones.

        They come from a frame with those `patches` [N] and embeddings `visual` [N, D]. deep: None for all the fresh.
        """
        deep = fresh if deep is None else deep
        self._fresh.host[0], self._fresh.host[1] = fresh, deep
        self._fresh.send(2)
        stores = ((self.embeddings, self.age, fresh), (self.deep_embeddings, self.deep_age, deep))
        for written, (embeddings, age, rows) in zip(self._fresh.device, stores, strict=True):
            torch.where(written[:, None], visual, embeddings, out=embeddings)
            age += 1
            age[rows] = 0
        self.reference.copy_rows(patches, fresh)
        self.previous = patches
        self._epochs[fresh] = self._epoch
        self._start_epoch = self._epoch


def _change(visual: Tensor, stored: Tensor) -> Tensor:
    """Squared relative difference [N] of rows [N, D], float32."""
    now = visual.float()
    apart = now - stored.float()
    return torch.linalg.vecdot(apart, apart) / torch.linalg.vecdot(now, now).clamp_min(1e-12)


def _on_host(change: Tensor) -> NDArray[np.float64]:
    return change.cpu().numpy().astype(np.float64)
