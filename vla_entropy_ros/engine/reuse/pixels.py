"""The published static test: raw pixels of every patch against those that its token was computed from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..tunables import Tunables
from .patches import Mask, Patches, cut, grey
from .scene import Seen
from .scores import GREY_LEVELS, Scores, image_entropy
from .selection import static_patches


class Pixels:
    """Raw pixels of every patch when its token was computed, and in the picture before."""

    def __init__(self, tokens: int, patch: int) -> None:
        """patch: pixels along a side."""
        self._patch = patch
        self._reference = Patches.of(np.zeros((tokens, 3 * patch**2), np.uint8))
        self._previous = self._now = self._reference

    def compare(self, frames: NDArray[np.uint8], tunables: Tunables) -> Seen:
        """Which patches of frames [C, S, S, 3] pass the static test of `tunables`."""
        now = self._now = Patches.of(cut(frames, self._patch))
        reference = self._reference if tunables.static_reference == "anchor" else self._previous
        similarity, difference = tunables.static_similarity, tunables.static_difference
        return Seen(static_patches(now, reference, similarity, difference, tunables.static_top_k))

    def image_entropy(self) -> Scores:
        """The paper's image entropy [N] of the picture that was compared last."""
        return image_entropy(grey(self._now.pixels), GREY_LEVELS)

    def commit(self, fresh: Mask) -> None:
        """The `fresh` tokens [N] were computed from the picture that was compared last."""
        self._reference.copy_rows(self._now, fresh)
        self._previous = self._now
